//! Collectors as data: the TOML format in which a node declares what may be read and run.
//!
//! ```toml
//! name = "web"                     # also the file's name, web.toml
//! version = "1"
//! why = "Requests around the fault."
//! default = true                   # on when a request names no collectors
//! roots = ["/var/log/nginx"]       # nothing outside is opened, wherever links lead
//! inventory = false                # node.json stands in every bundle anyway
//! vitals = false                   # vitals/now.json
//! when = { path = "/etc/nginx" }   # or the whole collector is skipped; also `command`
//! pack = { name = "web", version = "1.4.0" }   # what it was installed with, if anything
//!
//! [properties.site]                # a deployment may set it; see `property`
//! pattern = "[a-z0-9.-]{1,64}"
//! default = "main"
//! description = "Whose logs."
//!
//! [[files]]
//! paths = ["/var/log/nginx/*.log"] # globs; `**` is any depth. One block stands for one thing: alternatives go together.
//!                                  # paths, exclude, arguments and units may hold a property: "/var/log/{{site}}/*.log"
//! exclude = ["/var/log/nginx/debug*"]
//! rotated = true                   # also x.log.1, x.log.2.gz, x.log-20260101.xz …
//! binary = false                   # true passes what is no text as it is, unredacted
//! max_bytes = "1GiB"               # of one file
//! window = true                    # only lines from the request's time; unless said, true for logs and false for all else
//! depth = 16                       # folders below a `**`
//!
//! [[commands]]
//! name = "nginx-config"            # commands/nginx-config.txt
//! argv = ["nginx", "-T"]           # no shell; the first is looked up in a fixed PATH
//! timeout = "10s"
//! max_bytes = "4MiB"
//! exits = [0]                      # exit codes that count as success
//! when = { path = "/etc/nginx", command = "nginx" }
//! capabilities = []                # ambient capabilities to keep, such as "CAP_SYSLOG"
//!
//! [[journal]]
//! name = "nginx"                   # journal/nginx.export
//! units = ["nginx.service"]
//! priority = "info"                # and worse
//! since = "2d"                   # how far back where a request goes as far back as there is anything
//! window = true                  # false takes entries from any time, whatever the request says
//! boot = "all"                     # current, previous or all
//! max_bytes = "64MiB"
//! timeout = "60s"
//! ```
//!
//! It comes from files of the node or from those compiled in, and goes out as checked values. An order can name a collector, and a deployment
//! the values of its properties; nothing else. Nothing here opens a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::glob::Pattern;
use super::measure::{self, TextError};
use super::property::Property;
use super::template::{self, Template};
use crate::id::CollectorName;
use crate::report;

/// A file without a collector in it.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// No TOML, or not these keys.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A value that cannot be meant.
    #[error("{place}: {problem}")]
    Value {
        /// Where it stands.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A named set of sources, filled in and ready to be read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collector<P = Pattern> {
    /// Its name; requests use it.
    pub name: CollectorName,
    /// Its version, free text.
    pub version: String,
    /// Why anyone would want it.
    pub why: String,
    /// Whether it runs when a request names none.
    #[serde(default = "yes", deserialize_with = "measure::de_switch")]
    pub default: bool,
    /// What must exist, or all of it is skipped.
    #[serde(default)]
    pub when: When,
    /// What it was installed with.
    #[serde(default)]
    pub pack: Option<PackName>,
    /// What a deployment may set.
    #[serde(default)]
    pub properties: BTreeMap<String, Property>,
    /// Folders that its files may lie in.
    #[serde(default)]
    pub roots: Vec<PathBuf>,
    /// Takes vitals/now.json.
    #[serde(default)]
    pub vitals: bool,
    /// Documents that node.json is wanted; it stands in every bundle.
    #[serde(default)]
    pub inventory: bool,
    /// Files.
    #[serde(default = "Vec::new")]
    pub files: Vec<Files<P>>,
    /// Commands.
    #[serde(default)]
    pub commands: Vec<Command>,
    /// Exports of the journal.
    #[serde(default)]
    pub journal: Vec<Journal>,
}

/// A collector as its file declares it, with places for properties.
pub type Declared = Collector<Template>;

/// A pack of collectors, as their files name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackName {
    /// Its name.
    pub name: CollectorName,
    /// Its version, as far as `1.4.0-rc.1+build.7` is one.
    pub version: String,
}

/// Files by glob.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files<P = Pattern> {
    /// Absolute globs, each below one of the roots.
    pub paths: Vec<P>,
    /// Absolute globs of what to leave out.
    #[serde(default = "Vec::new")]
    pub exclude: Vec<P>,
    /// Further roots, for these alone.
    #[serde(default)]
    pub roots: Vec<PathBuf>,
    /// Takes rotated and compressed siblings too.
    #[serde(default = "yes")]
    pub rotated: bool,
    /// Passes what is no text as it is.
    #[serde(default)]
    pub binary: bool,
    /// Bytes of one file at most.
    #[serde(default, deserialize_with = "measure::de_some_size")]
    pub max_bytes: Option<u64>,
    /// Whether only lines from the request's time are taken; unless said, it depends on each file's path.
    #[serde(default)]
    pub window: Option<bool>,
    /// Folders below `**` at most.
    #[serde(default = "depth")]
    pub depth: usize,
}

/// A command.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Name of its output.
    pub name: CollectorName,
    /// Program and arguments; never seen by a shell.
    pub argv: Vec<String>,
    /// Its time.
    #[serde(default, deserialize_with = "measure::de_some_wait")]
    pub timeout: Option<Duration>,
    /// Bytes of output at most.
    #[serde(default, deserialize_with = "measure::de_some_size")]
    pub max_bytes: Option<u64>,
    /// Exit codes that count as success.
    #[serde(default = "success")]
    pub exits: Vec<i32>,
    /// What must exist, or it is skipped.
    #[serde(default)]
    pub when: When,
    /// Ambient capabilities that it keeps.
    #[serde(default)]
    pub capabilities: Vec<String>,
}

/// What must exist.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// A path of the host.
    pub path: Option<PathBuf>,
    /// A program in the fixed PATH.
    pub command: Option<String>,
}

/// An export of the journal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Name of its output.
    pub name: CollectorName,
    /// Units; all when empty.
    #[serde(default)]
    pub units: Vec<String>,
    /// Least priority.
    #[serde(default)]
    pub priority: Option<Priority>,
    /// How far back, where the request has no beginning.
    #[serde(default, deserialize_with = "measure::de_some_wait")]
    pub since: Option<Duration>,
    /// Whether only entries from the request's time are taken.
    #[serde(default = "yes")]
    pub window: bool,
    /// Which boots.
    #[serde(default)]
    pub boot: Boot,
    /// Bytes at most.
    #[serde(default, deserialize_with = "measure::de_some_size")]
    pub max_bytes: Option<u64>,
    /// Time at most.
    #[serde(default, deserialize_with = "measure::de_some_wait")]
    pub timeout: Option<Duration>,
}

/// Priorities of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "syslog's own words")]
pub enum Priority {
    Emerg,
    Alert,
    Crit,
    Err,
    Warning,
    Notice,
    Info,
    Debug,
}

/// Which boots of the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Boot {
    /// This one.
    Current,
    /// The one before.
    Previous,
    /// All that are kept.
    #[default]
    All,
}

/// Folders that a `**` may go down at most.
const MOST_DEPTH: usize = 64;

fn yes() -> bool {
    true
}
fn depth() -> usize {
    16
}
fn success() -> Vec<i32> {
    vec![0]
}

impl Collector {
    /// Reads and checks a collector file, with the defaults of its properties.
    ///
    /// # Errors
    /// For unknown keys, for values that cannot be meant, and for a property without a default; the sentence says where.
    pub fn parse(text: &str) -> Result<Self, CollectorError> {
        Declared::read(text)?.fill(&BTreeMap::new())
    }

    /// The roots of one block of files: the collector's and the block's own.
    pub fn roots_of<'a>(&'a self, files: &'a Files) -> impl Iterator<Item = &'a Path> {
        self.roots.iter().chain(&files.roots).map(PathBuf::as_path)
    }

    pub(super) fn check(&self) -> Result<(), CollectorError> {
        if self.why.trim().is_empty() {
            return fail("why", "must say why anyone would want it");
        }
        check_roots("roots", &self.roots)?;
        check_when("when", &self.when)?;
        for (number, files) in self.files.iter().enumerate() {
            self.check_files(&format!("files[{number}]"), files)?;
        }
        for command in &self.commands {
            check_command(&format!("commands `{}`", command.name), command)?;
        }
        for journal in &self.journal {
            let plain = |unit: &String| !unit.is_empty() && !unit.starts_with('-');
            if !journal.units.iter().all(plain) {
                return fail(&format!("journal `{}`", journal.name), "a unit must not be empty or start with `-`");
            }
        }
        Ok(())
    }

    fn check_files(&self, place: &str, files: &Files) -> Result<(), CollectorError> {
        check_roots(place, &files.roots)?;
        if files.paths.is_empty() {
            return fail(place, "needs at least one path");
        }
        if !(1..=MOST_DEPTH).contains(&files.depth) {
            return fail(place, &format!("depth must be 1 to {MOST_DEPTH}"));
        }
        for pattern in &files.paths {
            if !self.roots_of(files).any(|root| pattern.fixed().starts_with(root)) {
                return fail(place, &format!("`{pattern}` lies below none of the declared roots"));
            }
        }
        Ok(())
    }
}

impl Declared {
    /// Reads and checks a collector file.
    ///
    /// # Errors
    /// For unknown keys, and for values that cannot be meant; the sentence says where.
    pub fn read(text: &str) -> Result<Self, CollectorError> {
        let declared: Self = measure::parse(text)?;
        declared.check_names()?;
        // Whatever is wrong with a place shows with any value in it.
        let samples = declared.properties.iter().map(|(name, property)| (name.clone(), property.sample())).collect();
        declared.filled(&samples)?;
        Ok(declared)
    }

    fn check_names(&self) -> Result<(), CollectorError> {
        if let Some(pack) = &self.pack
            && !is_version(&pack.version)
        {
            return fail("pack", "its version must be like 1.4.0, 1.4.0-rc.1 or 1.4.0+build.7");
        }
        if let Some(bad) = self.properties.keys().find(|name| !template::is_name(name)) {
            let bad = report::brief(bad, 80);
            return fail("properties", &format!("`{bad}` must match [A-Za-z][A-Za-z0-9._-]{{0,62}}"));
        }
        let (mut commands, mut journals) = (BTreeSet::new(), BTreeSet::new());
        if let Some(twice) = self.commands.iter().find(|command| !commands.insert(command.name.as_str())) {
            return fail(&format!("commands `{}`", twice.name), "is there twice: both would write one file");
        }
        if let Some(twice) = self.journal.iter().find(|journal| !journals.insert(journal.name.as_str())) {
            return fail(&format!("journal `{}`", twice.name), "is there twice: both would write one file");
        }
        let mut programs = self.commands.iter().filter_map(|command| command.argv.first());
        if programs.any(|program| template::names(program).count() > 0) {
            return fail("commands", "the program must not come from a property");
        }
        Ok(())
    }

    /// What people should know of a file that is taken all the same.
    pub fn lints(&self) -> Vec<String> {
        let mut lints = Vec::new();
        let used: BTreeSet<&str> = self.texts().flat_map(template::names).collect();
        for (name, property) in &self.properties {
            if !used.contains(name.as_str()) {
                lints.push(format!("property `{name}` is declared and used nowhere"));
            }
            if property.is_wide() {
                let more = "say more closely what it may be";
                lints.push(format!("property `{name}`: its pattern takes `../x` or `-x`; {more}"));
            }
            if self.default && property.default().is_none() {
                let then = "the collector runs only in a deployment, though it is on by default";
                lints.push(format!("property `{name}` has no default: {then}"));
            }
        }
        lints
    }

    /// All texts that may hold a property.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let globs = self.files.iter().flat_map(|files| files.paths.iter().chain(&files.exclude)).map(Template::as_str);
        let arguments = self.commands.iter().flat_map(|command| command.argv.iter().skip(1)).map(String::as_str);
        globs.chain(arguments).chain(self.journal.iter().flat_map(|journal| &journal.units).map(String::as_str))
    }
}

/// Semi-semantic: a release, perhaps a pre-release behind `-`, perhaps a build behind `+`; each of parts between dots.
fn is_version(text: &str) -> bool {
    let parts = |text: &str, also: &[u8]| {
        let good = |b: u8| b.is_ascii_alphanumeric() || also.contains(&b);
        text.split('.').all(|part| !part.is_empty() && part.bytes().all(good))
    };
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (release, pre) = text.split_once('-').map_or((text, None), |(release, pre)| (release, Some(pre)));
    text.len() <= 100
        && parts(release, b"_")
        && pre.is_none_or(|pre| parts(pre, b"_-"))
        && build.is_none_or(|build| build.len() <= 100 && parts(build, b"_-"))
}

pub(super) fn fail<T>(place: &str, problem: &str) -> Result<T, CollectorError> {
    Err(CollectorError::Value { place: place.to_owned(), problem: problem.to_owned() })
}

fn is_plain(path: &Path) -> bool {
    path.is_absolute() && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

fn check_roots(place: &str, roots: &[PathBuf]) -> Result<(), CollectorError> {
    match roots.iter().find(|root| !is_plain(root)) {
        Some(root) => fail(place, &format!("root `{}` must be absolute and without `..`", root.display())),
        None => Ok(()),
    }
}

fn check_when(place: &str, when: &When) -> Result<(), CollectorError> {
    if when.path.as_ref().is_some_and(|path| !is_plain(path)) {
        return fail(place, "when.path must be absolute and without `..`");
    }
    Ok(())
}

fn check_command(place: &str, command: &Command) -> Result<(), CollectorError> {
    match command.argv.first() {
        None => return fail(place, "argv needs a program"),
        Some(program) if program.is_empty() || (program.contains('/') && !is_plain(Path::new(program))) => {
            return fail(place, "the program must be a name, or an absolute path without `..`");
        }
        Some(_) => {}
    }
    if command.argv.iter().any(|argument| argument.contains('\0')) {
        return fail(place, "an argument must not hold a zero byte");
    }
    check_when(place, &command.when)?;
    if let Some(unknown) = command.capabilities.iter().find(|name| super::command::capability(name).is_none()) {
        return fail(place, &format!("`{unknown}` is no capability that a command can keep"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(lines: &str) -> String {
        let text = format!("name = \"x\"\nversion = \"1\"\nwhy = \"A test.\"\n{lines}");
        Collector::parse(&text).expect_err(lines).to_string()
    }

    #[test]
    fn the_example_of_the_page_is_a_collector() {
        let page = include_str!("collector.rs");
        let lines = page.lines().skip_while(|line| !line.contains("```toml")).skip(1);
        let lines = lines.take_while(|line| !line.contains("```")).filter_map(|line| line.strip_prefix("//!"));
        let collector = Collector::parse(&lines.collect::<Vec<_>>().join("\n")).expect("the example");
        assert_eq!((collector.files.len(), collector.commands.len(), collector.journal.len()), (1, 1, 1));
        assert_eq!(collector.commands[0].timeout, Some(Duration::from_secs(10)));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        for (lines, expected) in [
            ("comands = []", "unknown key `comands`; did you mean `commands`?"),
            ("[[files]]\npaths = [\"/etc/x\"]", "files[0]: `/etc/x` lies below none of the declared roots"),
            ("roots = [\"/var/log\"]\n[[files]]\npaths = [\"/var/*/x\"]", "lies below none"),
            ("roots = [\"/var/../etc\"]", "without `..`"),
            ("roots = [\"/\"]\n[[files]]\npaths = [\"etc/x\"]", "must be absolute"),
            ("roots = [\"/\"]\n[[files]]\npaths = []", "at least one path"),
            ("roots = [\"/\"]\n[[files]]\npaths = [\"/x\"]\ndepth = 1000", "depth must be"),
            ("[[commands]]\nname = \"x\"\nargv = []", "commands `x`: argv needs a program"),
            ("[[commands]]\nname = \"x\"\nargv = [\"./x\"]", "an absolute path"),
            ("[[commands]]\nname = \"../x\"\nargv = [\"x\"]", "must match"),
            ("[[commands]]\nname = \"x\"\nargv = [\"x\"]\ncapabilities = [\"ALL\"]", "is no capability"),
            ("[[commands]]\nname = \"x\"\nargv = \"x; y\"", "invalid type"),
            ("[[journal]]\nname = \"x\"\nunits = [\"--file=/etc/shadow\"]", "must not be empty or start with `-`"),
            ("[[journal]]\nname = \"x\"\npriority = \"loud\"", "unknown variant `loud`"),
        ] {
            let error = error(lines);
            assert!(error.contains(expected), "{lines}: {error}");
        }
        assert!(Collector::parse("name = \"x\"\nversion = \"1\"\nwhy = \" \"").is_err(), "why must be said");
    }
}
