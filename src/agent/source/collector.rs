//! Collectors as data: the TOML format in which a node declares what may be read and run.
//!
//! A collector is one file `NAME.toml` in a folder for collectors: `/usr/lib/sheaf/collectors.d` for those of packages, `/etc/sheaf/collectors.d`
//! for those of the node. A file replaces a collector of its name that is compiled in or stands in an earlier folder.
//!
//! ```toml
//! name = "web"                     # also the file's name, web.toml
//! version = "1"
//! why = "Requests around the fault."
//! default = true                   # on when a request names no collectors
//! roots = ["/var/log/nginx", "/etc/nginx"]  # nothing outside is opened, wherever links lead
//! inventory = false                # node.json stands in every bundle anyway
//! vitals = false                   # vitals/now.json
//! priority = 5                     # 9 to 0: what a budget keeps first, whatever its age
//! when = { path_exists = "/etc/nginx" }     # all of it must hold, or the whole collector is skipped with the reason
//! pack = { name = "web", version = "1.4.0" }   # what it was installed with, if anything
//! granted_by = "/usr/share/web/sheaf-access.conf"  # settings of the agent's unit that give what its commands need; told where they lack it
//!
//! [properties.site]                # a deployment may set it; see `property`
//! pattern = "[a-z0-9][a-z0-9.-]{0,63}"
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
//! when = { path_exists = "/etc/nginx", command_exists = "nginx", unit_active = "nginx.service" }  # or socket_listens = ["/run/x.sock"]
//! needs = []                       # capabilities that it keeps, such as "CAP_SYSLOG", or "root"; skipped with the reason where the agent has them not
//! capabilities = []                # capabilities that it keeps where the agent has them
//!
//! [[commands]]
//! name = "nginx-worker"            # commands/nginx-worker/NAME.txt, for each
//! argv = ["nginx-status", "--worker", "{{each}}"]  # one argument, or part of one, and no option
//! each = { names_in = "/etc/nginx/workers", pattern = "[a-z0-9]+", most = 64 }
//!                                  # or lines_of = ["nginx-status", "--list"]; a name that the pattern does not take whole is left out
//!
//! [[http]]
//! name = "nginx-status"            # http/nginx-status.txt
//! at = "127.0.0.1:8080"            # or "[::1]:8080", or "unix:/run/nginx.sock"; never another machine
//! path = "/status?full"            # by GET; redirects are not followed
//! timeout = "5s"
//! max_bytes = "1MiB"
//! statuses = [200]                 # status codes that count as success
//! token_file = "/etc/nginx/token"  # below one of the roots; sent as a bearer token
//! when = { unit_active = "nginx.service" }
//!
//! [[journal]]
//! name = "nginx"                   # journal/nginx.export
//! units = ["nginx.service"]        # or transports = ["kernel", "audit"]; all where neither is given
//! priority = "info"                # and worse
//! window = true                    # false takes entries from any time, whatever the request says
//! since = "2d"                     # how far back then
//! boot = "all"                     # current, previous, all, or a number of boots back: -2
//! max_bytes = "64MiB"
//! timeout = "60s"
//! ```
//!
//! It comes from files of the node or from those compiled in, and goes out as checked values. An order can name a collector, and a deployment
//! the values of its properties; nothing else. Nothing here opens a file.

mod address;
mod blocks;
mod code;
mod each;
mod lines;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::Deserialize;

use super::glob::Pattern;
use super::measure::{self, TextError};
use super::property::Property;
use super::template::{self, Template};
use crate::id::CollectorName;

pub use address::Address;
pub use blocks::{Boot, Command, Files, Http, Journal, Priority, Transport, When};
pub use each::{Each, Names};
pub(super) use rules::fail;
pub use rules::{Fault, Place};

/// A file without a collector in it.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// No TOML, or not these keys.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A value that cannot be meant.
    #[error(transparent)]
    Value(#[from] Fault),
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
    /// What must hold, or all of it is skipped.
    #[serde(default)]
    pub when: When,
    /// What it was installed with.
    #[serde(default)]
    pub pack: Option<PackName>,
    /// A file of settings for the agent's unit that give it what the commands need, for whoever reads that they lack it.
    #[serde(default)]
    pub granted_by: Option<PathBuf>,
    /// What a deployment may set.
    #[serde(default)]
    pub properties: BTreeMap<String, Property>,
    /// Folders that its files may lie in.
    #[serde(default)]
    pub roots: Vec<PathBuf>,
    /// Takes vitals/now.json.
    #[serde(default)]
    pub vitals: bool,
    /// What a budget keeps rather than what other collectors have: 9 first, 0 last.
    #[serde(default = "middle")]
    pub priority: u8,
    /// Documents that node.json is wanted; it stands in every bundle.
    #[serde(default)]
    pub inventory: bool,
    /// Files.
    #[serde(default = "Vec::new")]
    pub files: Vec<Files<P>>,
    /// Commands.
    #[serde(default)]
    pub commands: Vec<Command>,
    /// Requests on loopback.
    #[serde(default)]
    pub http: Vec<Http>,
    /// Exports of the journal.
    #[serde(default)]
    pub journal: Vec<Journal>,
}

impl Collector {
    /// The systemd units whose journal it reads, which are those that it is about; none where it reads all.
    ///
    /// # Errors
    /// When a name is no pattern.
    pub fn units(&self) -> Result<GlobSet, globset::Error> {
        let mut set = GlobSetBuilder::new();
        for unit in self.journal.iter().flat_map(|journal| &journal.units) {
            // As journalctl takes them: a name without its kind is a service's.
            let name = if unit.contains('.') { unit.clone() } else { format!("{unit}.service") };
            set.add(Glob::new(&name)?);
        }
        set.build()
    }
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

fn middle() -> u8 {
    5
}
fn yes() -> bool {
    true
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
        first(rules::Faults::of(self))
    }
}

fn first(faults: rules::Faults) -> Result<(), CollectorError> {
    faults.0.into_iter().next().map_or(Ok(()), |fault| Err(fault.into()))
}

impl Declared {
    /// Reads and checks a collector file.
    ///
    /// # Errors
    /// For unknown keys, and for values that cannot be meant; the sentence says where.
    pub fn read(text: &str) -> Result<Self, CollectorError> {
        let declared: Self = measure::parse(text)?;
        first(rules::Faults::of_declared(&declared))?;
        // Whatever is wrong with a place shows with any value in it.
        let samples = declared.properties.iter().map(|(name, property)| (name.clone(), property.sample())).collect();
        declared.filled(&samples)?.check()?;
        Ok(declared)
    }

    /// As [`Declared::read`], with every fault and its line in the text, where that is known; the collector, if the text is one at all.
    pub fn faults(text: &str) -> (Option<Self>, Vec<(Option<usize>, String)>) {
        let declared: Self = match measure::parse(text) {
            Ok(declared) => declared,
            Err(error) => {
                let (line, message) = error.parts();
                return (None, vec![(line, message.to_owned())]);
            }
        };
        let mut faults = rules::Faults::of_declared(&declared).0;
        let samples = declared.properties.iter().map(|(name, property)| (name.clone(), property.sample())).collect();
        match declared.filled(&samples) {
            Ok(filled) => faults.extend(rules::Faults::of(&filled).0),
            Err(CollectorError::Value(fault)) => faults.push(fault),
            Err(CollectorError::Text(error)) => return (Some(declared), vec![(None, error.to_string())]),
        }
        let faults = faults.into_iter().map(|fault| (declared.line(text, &fault), fault.to_string())).collect();
        (Some(declared), faults)
    }

    /// The line of this collector's text that a fault is about, where it can be found.
    pub fn line(&self, text: &str, fault: &Fault) -> Option<usize> {
        lines::line(text, fault)
    }

    /// What people should know of a file that is taken all the same.
    pub fn lints(&self) -> Vec<Fault> {
        let mut lints = Vec::new();
        let used: BTreeSet<&str> = self.texts().flat_map(template::names).collect();
        for (name, property) in &self.properties {
            let mut lint =
                |problem: &str| lints.push(Fault { place: Place::Property(name.clone()), problem: problem.to_owned() });
            if !used.contains(name.as_str()) {
                lint("is declared and used nowhere");
            }
            if property.is_wide() {
                lint("its pattern takes `../x` or `-x`; say more closely what it may be");
            }
            if self.default && property.default().is_none() {
                lint("has no default: the collector runs only in a deployment, though it is on by default");
            }
        }
        for command in self.commands.iter().filter(|command| command.each.as_ref().is_some_and(Each::is_wide)) {
            let place = Place::Block("commands", command.name.to_string());
            let problem = "each.pattern takes `../x` or `-x`; say more closely what it may be".to_owned();
            lints.push(Fault { place, problem });
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        let Collector { files, commands, http, journal, .. } = &collector;
        assert_eq!((files.len(), commands.len(), http.len(), journal.len()), (1, 2, 1, 1));
        assert_eq!(collector.commands[0].timeout, Some(Duration::from_secs(10)));
    }

    #[test]
    fn the_manual_has_every_key_and_its_example_is_a_collector() {
        let page = include_str!("../../../packaging/man/sheaf-collectors.5.md");
        let example = page.split("```").nth(1).expect("an example");
        assert!(Declared::read(example).is_ok_and(|web| web.lints().is_empty()));
        let known = |error: toml::de::Error| error.message().split('`').skip(3).step_by(2).map(str::to_owned).collect();
        let keys: [Vec<String>; 7] = [
            known(toml::from_str::<Declared>("unknown = 1").expect_err("unknown")),
            known(toml::from_str::<Files<Template>>("unknown = 1").expect_err("unknown")),
            known(toml::from_str::<Command>("unknown = 1").expect_err("unknown")),
            known(toml::from_str::<Http>("unknown = 1").expect_err("unknown")),
            known(toml::from_str::<Journal>("unknown = 1").expect_err("unknown")),
            known(toml::from_str::<When>("unknown = 1").expect_err("unknown")),
            known(toml::from_str::<Each>("unknown = 1").expect_err("unknown")),
        ];
        for key in keys.iter().flatten().filter(|key| *key != "inventory") {
            let row = [format!("| `{key}`"), format!(", `{key}`"), format!("[[{key}]]"), format!("[{key}.")];
            let short = ["path", "command"].contains(&key.as_str());
            assert!(short || row.iter().any(|row| page.contains(row)), "sheaf-collectors(5) says nothing of `{key}`");
        }
        assert!(keys.iter().all(|keys| keys.len() > 2), "{keys:?}");
    }

    #[test]
    fn every_fault_has_its_line() {
        let text = r#"
name = "x"
version = "1"
why = " "
roots = ["/var/log"]

[[files]]
paths = ["/var/log/a"]

[[files]]
depth = 100
paths = [
    "/var/log/a",
    "/etc/b",
]

[[commands]]
name = "c"
argv = ["./c"]
needs = ["CAP_X"]

[[commands]]
name = "c"
argv = ["c"]

[[http]]
name = "h"
at = "127.0.0.1:80"
path = "h"
"#;
        let (declared, faults) = Declared::faults(text);
        assert!(declared.is_some());
        let seen: Vec<_> = faults.iter().map(|(line, fault)| format!("{} {fault}", line.unwrap_or(0))).collect();
        for expected in [
            "22 commands `c`: is there twice",
            "4 why: must say",
            "14 files[1]: `/etc/b` lies below none",
            "11 files[1]: depth must be",
            "commands `c`: the program must be a name",
            "commands `c`: `CAP_X` is no capability",
            "29 http `h`: path must begin",
        ] {
            assert!(seen.iter().any(|fault| fault.contains(expected)), "{expected}: {seen:#?}");
        }
        assert_eq!(seen.len(), 7, "{seen:#?}");
        let (declared, faults) = Declared::faults("name = \"x\"\ncomands = []\n");
        assert!(declared.is_none());
        assert_eq!(faults, [(Some(2), "unknown key `comands`; did you mean `commands`?".to_owned())]);
    }

    #[test]
    fn what_a_command_cannot_be_run_for_is_refused() {
        let command = |each: &str, argument: &str| {
            format!(
                "roots = [\"/sys/block\"]\n[[commands]]\nname = \"x\"\nargv = [\"x\", \"{argument}\"]\neach = {{ {each} }}"
            )
        };
        let good = "names_in = \"/sys/block\", pattern = \"sd[a-z]+\"";
        let text = format!("name = \"x\"\nversion = \"1\"\nwhy = \"A test.\"\n{}", command(good, "/dev/{{each}}"));
        assert!(Collector::parse(&text).is_ok());
        let (_, faults) = Declared::faults(&text.replace("/sys/block\", p", "/etc\", p"));
        let place = "commands `x`: each.names_in must be a folder at or below one of the roots";
        assert_eq!(faults, [(Some(8), place.to_owned())]);
        let wide = Declared::read(&text.replace("sd[a-z]+", ".*")).expect("taken");
        assert!(wide.lints()[0].problem.contains("each.pattern takes"), "{:?}", wide.lints());
        for (each, argument, expected) in [
            (good, "/dev/sda", "each stands in none of its arguments"),
            ("pattern = \"a\"", "{{each}}", "needs one of `names_in` and `lines_of`"),
            ("names_in = \"/sys/block\"", "{{each}}", "missing field `pattern`"),
            ("names_in = \"/sys/block\", lines_of = [\"x\"], pattern = \"a\"", "{{each}}", "needs one of"),
            ("names_in = \"/sys/block/..\", pattern = \"a\"", "{{each}}", "must be a folder at or below"),
            ("names_in = \"/sys/block\", pattern = \"(\"", "{{each}}", "`pattern` cannot be used"),
            ("names_in = \"/sys/block\", pattern = \"a\", most = 0", "{{each}}", "each.most must be 1 to"),
            ("lines_of = [], pattern = \"a\"", "{{each}}", "each.lines_of needs a program"),
            ("lines_of = [\"./x\"], pattern = \"a\"", "{{each}}", "each.lines_of needs a program"),
            ("lines_of = [\"x\", \"{{site}}\"], pattern = \"a\"", "{{each}}", "each.lines_of takes no property"),
            ("lines_of = [\"x\"], pattern = \"a\", shell = true", "{{each}}", "unknown key `shell`"),
        ] {
            let error = error(&command(each, argument));
            assert!(error.contains(expected), "{each}: {error}");
        }
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
            ("[[commands]]\nname = \"../x\"\nargv = [\"x\"]", "a command's name must match"),
            ("[[journal]]\nname = \"../x\"", "an export's name must match"),
            ("[[http]]\nname = \"../x\"\nat = \"127.0.0.1:80\"\npath = \"/\"", "a request's name must match"),
            ("[[commands]]\nname = \"x\"\nargv = [\"x\"]\ncapabilities = [\"ALL\"]", "is no capability"),
            ("[[commands]]\nname = \"x\"\nargv = \"x; y\"", "invalid type"),
            ("[[journal]]\nname = \"x\"\nunits = [\"--file=/etc/shadow\"]", "must not be empty or start with `-`"),
            ("[[commands]]\nname = \"x\"\nargv = [\"x\"]\nneeds = [\"SYSLOG\"]", "is no capability"),
            ("[[commands]]\nname = \"x\"\nargv = [\"x\", \"{{each}}\"]", "`{{each}}` names no declared property"),
            ("[[commands]]\nname = \"x\"\nargv = [\"x\"]\ntimeout = 0", "commands `x`: timeout must not be 0"),
            ("when = { path_exist = \"/x\" }", "did you mean `path_exists`?"),
            ("when = { path_exists = \"x\" }", "when: when.path_exists must be absolute"),
            ("when = { command_exists = \"./x\" }", "when: when.command_exists must be a name"),
            ("when = { unit_active = \"--root=/x\" }", "when: when.unit_active must be one unit"),
            ("when = { socket_listens = [\"x.sock\"] }", "when: when.socket_listens must be absolute"),
            ("when = { socket_listens = [] }", "when: when.socket_listens must name"),
            ("granted_by = \"x.conf\"", "granted_by: must be absolute"),
            ("[[http]]\nname = \"x\"\nat = \"10.0.0.1:80\"\npath = \"/\"", "only this node is asked"),
            ("[[http]]\nname = \"x\"\nat = \"127.0.0.1:80\"\npath = \"/ HTTP/1.1\\r\\nX: y\"", "http `x`: path must"),
            ("[[http]]\nname = \"x\"\nat = \"127.0.0.1:80\"\npath = \"/\"\nstatuses = [302]", "redirects are not"),
            (
                "[[http]]\nname = \"x\"\nat = \"127.0.0.1:80\"\npath = \"/\"\ntoken_file = \"/etc/shadow\"",
                "must lie below one of the roots",
            ),
            ("[[journal]]\nname = \"x\"\nboot = 1", "a boot is `current`"),
            ("[[journal]]\nname = \"x\"\nboot = \"last\"", "a boot is `current`"),
            ("[[journal]]\nname = \"x\"\nunits = [\"a\"]\ntransports = [\"kernel\"]", "both units and transports"),
            ("[[journal]]\nname = \"x\"\npriority = \"loud\"", "unknown variant `loud`"),
        ] {
            let error = error(lines);
            assert!(error.contains(expected), "{lines}: {error}");
        }
        assert!(Collector::parse("name = \"x\"\nversion = \"1\"\nwhy = \" \"").is_err(), "why must be said");
    }
}
