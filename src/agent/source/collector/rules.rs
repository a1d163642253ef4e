//! What a collector must be beyond its keys: roots that hold its globs, programs that can be named, names that differ.
//!
//! Collectors come in as their text gave them; what goes out is every fault, with its place, so that whoever wrote the file sees all at
//! once. Nothing here opens a file.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::blocks::{Command, Files, Http, Journal, When};
use super::{Collector, CollectorError, Declared, Each, Names, code};
use crate::agent::source::{command, condition, template};
use crate::report;

/// Folders that a `**` may go down at most.
const MOST_DEPTH: usize = 64;
/// Bytes of what a request asks for.
const HTTP_PATH: usize = 1000;
/// Bytes of a socket's path, as the system takes them.
pub(super) const SOCKET: usize = 107;

/// Where in a file a fault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A key of the collector.
    Key(&'static str),
    /// A property, by name.
    Property(String),
    /// A block of files, by number.
    Files(usize),
    /// A block of another kind, by its name: `commands`, `http` or `journal`.
    Block(&'static str, String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.write_str(key),
            Self::Property(name) => write!(f, "property `{name}`"),
            Self::Files(number) => write!(f, "files[{number}]"),
            Self::Block(kind, name) => write!(f, "{kind} `{name}`"),
        }
    }
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Fault {
    /// Where it stands.
    pub place: Place,
    /// What is wrong with it.
    pub problem: String,
}

/// A fault as the end of a function.
pub(in crate::agent::source) fn fail<T>(place: Place, problem: impl Into<String>) -> Result<T, CollectorError> {
    Err(Fault { place, problem: problem.into() }.into())
}

/// All faults of one collector.
#[derive(Default)]
pub(super) struct Faults(pub(super) Vec<Fault>);

impl Faults {
    fn put(&mut self, place: &Place, problem: impl Into<String>) {
        self.0.push(Fault { place: place.clone(), problem: problem.into() });
    }

    /// What holds for a collector once its places are filled in.
    pub(super) fn of(collector: &Collector) -> Self {
        let mut faults = Self::default();
        if collector.why.trim().is_empty() {
            faults.put(&Place::Key("why"), "must say why anyone would want it");
        }
        if collector.priority > 9 {
            faults.put(&Place::Key("priority"), "must be 0 to 9, which is what a budget keeps first");
        }
        if collector.granted_by.as_ref().is_some_and(|file| !is_plain(file)) {
            faults.put(&Place::Key("granted_by"), "must be absolute and without `..`");
        }
        faults.roots(&Place::Key("roots"), &collector.roots);
        faults.when(&Place::Key("when"), &collector.when);
        for (number, files) in collector.files.iter().enumerate() {
            faults.files(&Place::Files(number), collector, files);
        }
        for command in &collector.commands {
            let place = Place::Block("commands", command.name.to_string());
            faults.command(&place, command);
            if let Some(each) = &command.each {
                faults.each(&place, &collector.roots, &command.argv, each);
            }
        }
        for http in &collector.http {
            faults.http(&Place::Block("http", http.name.to_string()), &collector.roots, http);
        }
        for journal in &collector.journal {
            faults.journal(&Place::Block("journal", journal.name.to_string()), journal);
        }
        faults
    }

    /// What holds for a collector as it is declared.
    pub(super) fn of_declared(declared: &Declared) -> Self {
        let mut faults = Self::default();
        if declared.pack.as_ref().is_some_and(|pack| !is_version(&pack.version)) {
            faults.put(&Place::Key("pack"), "its version must be like 1.4.0, 1.4.0-rc.1 or 1.4.0+build.7");
        }
        for bad in declared.properties.keys().filter(|name| !template::is_name(name)) {
            let bad = report::brief(bad, 80);
            faults.put(&Place::Key("properties"), format!("`{bad}` must match [A-Za-z][A-Za-z0-9._-]{{0,62}}"));
        }
        faults.twice("commands", declared.commands.iter().map(|command| command.name.as_str()));
        faults.twice("http", declared.http.iter().map(|http| http.name.as_str()));
        faults.twice("journal", declared.journal.iter().map(|journal| journal.name.as_str()));
        for command in &declared.commands {
            let place = Place::Block("commands", command.name.to_string());
            if command.argv.first().is_some_and(|program| template::names(program).count() > 0) {
                faults.put(&place, "the program must not come from a property");
            }
            if let Some(problem) = code::fault(command) {
                faults.put(&place, problem);
            }
            if command.each.is_some() && declared.properties.contains_key(template::EACH) {
                faults.put(&place, "each is what it is run for; the property needs another name");
            }
            if let Some(Names::Lines(argv)) = command.each.as_ref().map(|each| &each.of)
                && argv.iter().any(|argument| template::names(argument).count() > 0)
            {
                faults.put(&place, "each.lines_of takes no property");
            }
        }
        for http in &declared.http {
            if template::names(&http.path).count() > 0 {
                faults.put(&Place::Block("http", http.name.to_string()), "what is asked for takes no property");
            }
        }
        faults
    }

    fn twice<'a>(&mut self, kind: &'static str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                self.put(&Place::Block(kind, name.to_owned()), "is there twice: both would write one file");
            }
        }
    }

    fn roots(&mut self, place: &Place, roots: &[PathBuf]) {
        for root in roots.iter().filter(|root| !is_plain(root)) {
            self.put(place, format!("root `{}` must be absolute and without `..`", root.display()));
        }
    }

    fn when(&mut self, place: &Place, when: &When) {
        if when.path_exists.as_ref().is_some_and(|path| !is_plain(path)) {
            self.put(place, "when.path_exists must be absolute and without `..`");
        }
        if when.command_exists.as_ref().is_some_and(|program| !is_program(program)) {
            self.put(place, "when.command_exists must be a name, or an absolute path without `..`");
        }
        if when.unit_active.as_ref().is_some_and(|unit| !is_unit(unit)) {
            self.put(place, "when.unit_active must be one unit, such as docker.service");
        }
        if let Some(sockets) = &when.socket_listens {
            if sockets.is_empty() {
                self.put(place, "when.socket_listens must name a socket");
            }
            if !sockets.iter().all(|socket| is_socket(socket)) {
                self.put(
                    place,
                    format!("when.socket_listens must be absolute, without `..`, and at most {SOCKET} bytes"),
                );
            }
        }
    }

    fn files(&mut self, place: &Place, collector: &Collector, files: &Files) {
        self.roots(place, &files.roots);
        if files.paths.is_empty() {
            self.put(place, "needs at least one path");
        }
        if !(1..=MOST_DEPTH).contains(&files.depth) {
            self.put(place, format!("depth must be 1 to {MOST_DEPTH}"));
        }
        for pattern in &files.paths {
            if !collector.roots_of(files).any(|root| pattern.fixed().starts_with(root)) {
                self.put(place, format!("`{pattern}` lies below none of the declared roots"));
            }
        }
        self.not_nothing(place, "max_bytes", files.max_bytes.map(|bytes| bytes == 0));
    }

    fn command(&mut self, place: &Place, command: &Command) {
        match command.argv.first() {
            None => self.put(place, "argv needs a program"),
            Some(program) if !is_program(program) => {
                self.put(place, "the program must be a name, or an absolute path without `..`");
            }
            Some(_) => {}
        }
        if command.argv.iter().any(|argument| argument.contains('\0')) {
            self.put(place, "an argument must not hold a zero byte");
        }
        self.when(place, &command.when);
        let needs = command.needs.iter().filter(|name| *name != condition::ROOT);
        for unknown in needs.chain(&command.capabilities).filter(|name| command::capability(name).is_none()) {
            self.put(place, format!("`{unknown}` is no capability that a command can keep"));
        }
        self.not_nothing(place, "max_bytes", command.max_bytes.map(|bytes| bytes == 0));
        self.not_nothing(place, "timeout", command.timeout.map(|time| time.is_zero()));
    }

    fn each(&mut self, place: &Place, roots: &[PathBuf], argv: &[String], each: &Each) {
        if !argv.iter().skip(1).flat_map(|argument| template::names(argument)).any(|name| name == template::EACH) {
            self.put(place, "each stands in none of its arguments as {{each}}");
        }
        match &each.of {
            Names::In(folder) if !(is_plain(folder) && roots.iter().any(|root| folder.starts_with(root))) => {
                self.put(place, "each.names_in must be a folder at or below one of the roots");
            }
            Names::Lines(argv) if !argv.first().is_some_and(|program| is_program(program)) => {
                self.put(place, "each.lines_of needs a program: a name, or an absolute path without `..`");
            }
            Names::Lines(argv) if argv.iter().any(|argument| argument.contains('\0')) => {
                self.put(place, "each.lines_of must not hold a zero byte");
            }
            Names::In(_) | Names::Lines(_) => {}
        }
    }

    fn http(&mut self, place: &Place, roots: &[PathBuf], http: &Http) {
        let visible = http.path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if !http.path.starts_with('/') || !visible || http.path.len() > HTTP_PATH {
            self.put(place, format!("path must begin with `/` and be at most {HTTP_PATH} visible ASCII characters"));
        }
        if let Some(file) = &http.token_file
            && !(is_plain(file) && roots.iter().any(|root| file.starts_with(root)))
        {
            self.put(place, format!("token_file `{}` must lie below one of the roots", file.display()));
        }
        if http.statuses.iter().any(|status| !matches!(status, 200..=299 | 400..=599)) {
            self.put(place, "statuses are 200 to 299 and 400 to 599: redirects are not followed");
        }
        self.when(place, &http.when);
        self.not_nothing(place, "max_bytes", http.max_bytes.map(|bytes| bytes == 0));
        self.not_nothing(place, "timeout", http.timeout.map(|time| time.is_zero()));
    }

    fn journal(&mut self, place: &Place, journal: &Journal) {
        if !journal.units.iter().all(|unit| !unit.is_empty() && !unit.starts_with('-')) {
            self.put(place, "a unit must not be empty or start with `-`");
        }
        if !journal.units.is_empty() && !journal.transports.is_empty() {
            self.put(place, "has both units and transports; take one of them, or two blocks");
        }
        self.not_nothing(place, "max_bytes", journal.max_bytes.map(|bytes| bytes == 0));
        self.not_nothing(place, "timeout", journal.timeout.map(|time| time.is_zero()));
    }

    fn not_nothing(&mut self, place: &Place, key: &str, nothing: Option<bool>) {
        if nothing == Some(true) {
            self.put(place, format!("{key} must not be 0"));
        }
    }
}

/// Absolute, without `..`.
pub(super) fn is_plain(path: &Path) -> bool {
    path.is_absolute() && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

/// Whether the system takes it as the name of a socket.
pub(super) fn is_socket(path: &Path) -> bool {
    is_plain(path) && path.as_os_str().len() <= SOCKET
}

fn is_program(program: &str) -> bool {
    !program.is_empty() && !program.contains('\0') && (!program.contains('/') || is_plain(Path::new(program)))
}

fn is_unit(unit: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    (1..=255).contains(&unit.len()) && !unit.starts_with('-') && unit.bytes().all(good)
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
