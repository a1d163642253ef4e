//! Lints of collector files, for `sheaf agent check`: what makes a file unusable, what is odd about it, what it replaces.
//!
//! It reads the folders of the agent's configuration as [`super::library`] does, and hands out every finding with its file and, where that
//! is known, its line. Nothing is run, and nothing of a file is taken.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::collector::Declared;
use super::command;
use super::library::{Library, files};
use crate::agent::config::AgentConfig;
use crate::report;

/// A command that may take longer holds up all that comes after it.
const LONG: Duration = Duration::from_secs(600);

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Note,
    /// Probably not what was meant.
    Warning,
    /// The file is not taken, and its collector is not there.
    Error,
}

/// Something about a collector file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The collector that the file is for.
    pub collector: String,
    /// The file, or the folder.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: Option<usize>,
    /// What there is to say.
    pub problem: String,
}

/// Reads all collector files of a configuration, and says what is wrong with each.
pub fn lint(config: &AgentConfig) -> Vec<Finding> {
    let mut lint = Lint { config, findings: Vec::new() };
    for folder in &config.collectors_dirs {
        lint.folder(folder);
    }
    let library = Library::of(config);
    lint.refused(&library);
    for (name, file, replaced) in library.replacing() {
        let what = match replaced {
            Some(replaced) => format!("replaces {}", replaced.display()),
            None => "replaces the collector of that name that is compiled in".to_owned(),
        };
        lint.put(Level::Note, name, file, None, what);
    }
    lint.findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    lint.findings
}

struct Lint<'a> {
    config: &'a AgentConfig,
    findings: Vec<Finding>,
}

impl Lint<'_> {
    fn put(&mut self, level: Level, collector: &str, file: &Path, line: Option<usize>, problem: String) {
        let collector = report::brief(collector, 80);
        self.findings.push(Finding { level, collector, file: file.to_owned(), line, problem });
    }

    fn folder(&mut self, folder: &Path) {
        let mut others = Vec::new();
        let files = match files::list(folder, &mut |other| others.push(other)) {
            Ok(files) => files,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return self.put(Level::Error, "", folder, None, format!("cannot be listed: {error}")),
        };
        let found = fs::metadata(folder).map_err(|error| error.to_string());
        if let Err(problem) = found.and_then(|found| files::trusted(&found)) {
            self.put(Level::Error, "", folder, None, format!("{problem}; none of its files is taken"));
        }
        for other in others {
            let problem = "is not read: a collector's file is called NAME.toml".to_owned();
            self.put(Level::Warning, "", &other, None, problem);
        }
        for file in files {
            self.file(&file);
        }
    }

    fn file(&mut self, file: &Path) {
        let name = files::stem(file);
        let text = match files::text(file) {
            Ok(text) => text,
            Err(problem) => return self.put(Level::Error, &name, file, None, problem),
        };
        let (declared, faults) = Declared::faults(&text);
        let is_whole = faults.is_empty();
        for (line, problem) in faults {
            self.put(Level::Error, &name, file, line, problem);
        }
        let Some(declared) = declared else { return };
        if let Err(problem) = files::check_name(&declared, file) {
            self.put(Level::Error, &name, file, line_of(&text, "name"), problem);
        }
        if is_whole {
            self.oddities(&name, file, &text, &declared);
        }
    }

    /// What is taken all the same.
    fn oddities(&mut self, name: &str, file: &Path, text: &str, declared: &Declared) {
        for lint in declared.lints() {
            self.put(Level::Warning, name, file, declared.line(text, &lint), lint.to_string());
        }
        let total = self.config.limits.total_bytes;
        let mut warn = |needle: &str, problem: String| {
            let line = line_with(text, needle);
            self.put(Level::Warning, name, file, line, problem);
        };
        let path = command::path();
        let mut missing = BTreeSet::new();
        for command in &declared.commands {
            let program = &command.argv[0];
            if command::find(&path, program).is_none() && missing.insert(program) {
                let problem = format!("`{program}` is not installed here: `{}` will be skipped", command.name);
                warn(&format!("\"{program}\""), problem);
            }
            if command.timeout.is_some_and(|time| time > LONG) {
                let problem = format!(
                    "commands `{}`: a timeout of more than ten minutes holds up all that is collected after it",
                    command.name
                );
                warn(command.name.as_str(), problem);
            }
        }
        let sizes = declared.files.iter().map(|files| files.max_bytes);
        let sizes = sizes.chain(declared.commands.iter().map(|command| command.max_bytes));
        let sizes = sizes.chain(declared.journal.iter().map(|journal| journal.max_bytes));
        if sizes.flatten().any(|bytes| bytes > total) {
            warn(
                "max_bytes",
                format!("max_bytes is more than the {total} bytes of a whole collection (limits.total_bytes)"),
            );
        }
        if declared.journal.iter().any(|journal| journal.since.is_some() && journal.window) {
            warn(
                "since",
                "since counts where window = false stands beside it; else the request's time does".to_owned(),
            );
        }
        for root in unused(declared) {
            warn(root, format!("root `{root}` holds none of the globs: nothing of it is read"));
        }
        if declared.roots.iter().any(|root| root == Path::new("/")) {
            warn("roots", "the root `/` lets links lead anywhere; name the folders that are meant".to_owned());
        }
        if declared.files.iter().any(|files| files.binary) {
            warn("binary", "passes what is no text as it is, unredacted".to_owned());
        }
    }

    /// What a file alone does not show: packs that do not fit together.
    fn refused(&mut self, library: &Library) {
        for refused in library.refused() {
            let known = |finding: &Finding| finding.level == Level::Error && refused.file.starts_with(&finding.file);
            if !self.findings.iter().any(known) {
                let shown = format!("{}: ", refused.file.display());
                let problem = refused.reason.strip_prefix(&shown).unwrap_or(&refused.reason).to_owned();
                self.put(Level::Error, &refused.name, &refused.file, None, problem);
            }
        }
    }
}

/// Roots that a collector without files declares for nothing. Beside globs a root may be where their links lead.
fn unused(declared: &Declared) -> impl Iterator<Item = &str> {
    let has_files = !declared.files.is_empty();
    let is_used = move |root: &Path| {
        let mut tokens = declared.http.iter().filter_map(|http| http.token_file.as_ref());
        has_files || tokens.any(|file| file.starts_with(root))
    };
    declared.roots.iter().filter(move |root| !is_used(root)).filter_map(|root| root.to_str())
}

fn line_of(text: &str, key: &str) -> Option<usize> {
    let is_key = |line: &str| line.trim().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
    text.lines().position(is_key).map(|at| at + 1)
}

fn line_with(text: &str, needle: &str) -> Option<usize> {
    text.lines().position(|line| !line.trim_start().starts_with('#') && line.contains(needle)).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const HEAD: &str = "version = \"1\"\nwhy = \"A test.\"\n";

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a temporary folder");
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
            Self(folder)
        }

        fn put(&self, name: &str, lines: &str) {
            let path = self.0.path().join(format!("{name}.toml"));
            fs::write(&path, format!("name = \"{name}\"\n{HEAD}{lines}")).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        }

        fn lint(&self) -> Vec<String> {
            let config = AgentConfig { collectors_dirs: vec![self.0.path().into()], ..AgentConfig::default() };
            let shown = |finding: &Finding| {
                let file = finding.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
                format!("{:?} {file}{line} {}", finding.level, finding.problem)
            };
            lint(&config).iter().map(shown).collect()
        }
    }

    #[test]
    fn a_good_file_has_nothing_to_say() {
        let folder = Folder::new();
        folder.put("web", "roots = [\"/var/log\"]\n[[files]]\npaths = [\"/var/log/web/*.log\"]\n[[commands]]\nname = \"x\"\nargv = [\"cat\"]\n");
        assert!(folder.lint().is_empty(), "{:?}", folder.lint());
    }

    #[test]
    fn every_fault_is_found_with_its_file_and_line() {
        let folder = Folder::new();
        folder.put("keys", "comands = []\n");
        folder.put(
            "globs",
            "roots = [\"/etc\"]\n[[files]]\npaths = [\n\"/var/x\",\n]\n[[files]]\npaths = [\"/var/y\"]\n",
        );
        folder.put("programs", "[[commands]]\nname = \"a\"\nargv = [\"sheaf-no-such-program\"]\ntimeout = \"1h\"\n");
        folder.put("wide", "roots = [\"/\"]\n[[files]]\npaths = [\"/var/x\"]\nbinary = true\nmax_bytes = \"900TiB\"\n");
        folder.put("entries", "[[journal]]\nname = \"a\"\nsince = \"2d\"\n");
        folder.put("idle", "roots = [\"/srv\"]\n[properties.site]\npattern = \".*\"\n");
        folder.put("logs", "default = false\n");
        fs::write(folder.0.path().join("web.tml"), "").expect("written");
        fs::write(folder.0.path().join("other.toml"), format!("name = \"web\"\n{HEAD}")).expect("written");
        fs::write(folder.0.path().join("open.toml"), "").expect("written");
        fs::set_permissions(folder.0.path().join("other.toml"), fs::Permissions::from_mode(0o644)).expect("chmod");
        fs::set_permissions(folder.0.path().join("open.toml"), fs::Permissions::from_mode(0o666)).expect("chmod");
        let found = folder.lint();
        let total = AgentConfig::default().limits.total_bytes;
        for expected in [
            "Error keys.toml:4 unknown key `comands`; did you mean `commands`?",
            "Error globs.toml:7 files[0]: `/var/x` lies below none of the declared roots",
            "Error globs.toml:10 files[1]: `/var/y` lies below none of the declared roots",
            "Warning programs.toml:6 `sheaf-no-such-program` is not installed here: `a` will be skipped",
            "Warning wide.toml:4 the root `/` lets links lead anywhere; name the folders that are meant",
            "Warning wide.toml:7 passes what is no text as it is, unredacted",
            &format!(
                "Warning wide.toml:8 max_bytes is more than the {total} bytes of a whole collection (limits.total_bytes)"
            ),
            "Warning entries.toml:6 since counts where window = false stands beside it; else the request's time does",
            "Warning idle.toml:4 root `/srv` holds none of the globs: nothing of it is read",
            "Warning idle.toml:5 property `site`: is declared and used nowhere",
            "Note logs.toml replaces the collector of that name that is compiled in",
            "Warning web.tml is not read: a collector's file is called NAME.toml",
            "Error other.toml:1 says that its name is `web`; the file must be called web.toml",
        ] {
            assert!(found.iter().any(|line| line == expected), "{expected}: {found:#?}");
        }
        let open = "Error open.toml has mode 0666: others than its owner may write it";
        assert!(found.iter().any(|line| line.starts_with(open)), "{found:#?}");
        assert_eq!(found.iter().filter(|line| line.starts_with("Error")).count(), 5, "{found:#?}");
    }

    #[test]
    fn a_folder_that_others_may_write_is_an_error_once() {
        let folder = Folder::new();
        folder.put("web", "");
        fs::set_permissions(folder.0.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
        let found = folder.lint();
        assert!(
            found.len() == 1 && found[0].contains("0777") && found[0].ends_with("none of its files is taken"),
            "{found:?}"
        );
    }

    #[test]
    fn packs_that_do_not_fit_are_found() {
        let folder = Folder::new();
        folder.put("logs", "pack = { name = \"web\", version = \"1\" }\n");
        let found = folder.lint();
        assert!(
            found.iter().any(|line| line.starts_with("Error logs.toml collector `logs` is of the pack")),
            "{found:?}"
        );
    }
}
