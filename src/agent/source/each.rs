//! A command for each of several things: which they are, and what is run for one of them.
//!
//! Names come from a folder of the host or from the lines of a program that the collector's own file names; each goes into an argument only
//! where the file's pattern takes it whole. How many are taken is bounded, and so is the time to list them. No shell sees a name, and none
//! becomes a path or an option.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::sync::PoisonError;

use rustix::fs::OFlags;
use tokio_util::sync::CancellationToken;

use super::Content as _;
use super::collector::Each;
use super::command::{self, Output, Program};
use super::condition::Conditions;
use super::template;
use crate::report;

/// Names of a folder that are looked at.
const LOOKED_AT: usize = 10_000;
/// Bytes of a list.
const LIST: u64 = 256 << 10;

/// What a command is run for, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Picked {
    /// Those that are taken.
    pub names: Vec<String>,
    /// What is left out, for people.
    pub left_out: Option<String>,
}

/// The names in a folder that the pattern takes.
///
/// # Errors
/// When the folder cannot be read.
pub(super) fn names_in(folder: &Path, each: &Each, conditions: &Conditions<'_>) -> Result<Picked, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let real = conditions.resolve(folder).map_err(failed)?;
    let host = conditions.host.clone();
    let list = {
        let real = real.clone();
        move || {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let entries = rustix::fs::Dir::new(host.open_plain(&real, flags)?)?;
            let names = entries.take(LOOKED_AT).filter_map(Result::ok).map(|entry| entry.file_name().to_owned());
            Ok(names.filter_map(|name| name.into_string().ok()).collect::<Vec<_>>())
        }
    };
    let names = conditions.mounts.patiently(&real, list).map_err(failed)?;
    let names: BTreeSet<String> = names.into_iter().filter(|name| each.takes(name)).collect();
    if names.is_empty() {
        return Err(format!("nothing in {} is what it is run for", folder.display()));
    }
    Ok(pick(names.into_iter(), each.most, 0))
}

/// The lines of a list that the pattern takes. The list is run with the bounds and rights of `like`.
///
/// # Errors
/// When it cannot be run, or fails.
pub(super) fn lines_of(
    argv: &[String],
    each: &Each,
    like: &Program,
    conditions: &Conditions<'_>,
    stop: &CancellationToken,
) -> Result<Picked, String> {
    let (program, arguments) = argv.split_first().ok_or("names no program")?;
    let file = command::find(conditions.path, program).ok_or_else(|| format!("`{program}` is not installed"))?;
    let arguments = arguments.to_vec();
    let list = Program { file, arguments, bytes: LIST, exits: [0].into(), ..like.clone() };
    let mut output = Output::new(list, conditions.path.to_vec(), stop.clone());
    let mut text = Vec::new();
    let read = output.open().and_then(|()| output.read_to_end(&mut text));
    let ending = output.ending().lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some((_, reason)) = ending.trouble {
        let said = report::brief(String::from_utf8_lossy(&ending.stderr).trim(), 300);
        return Err(format!(
            "its list `{}`: {reason}{}{said}",
            argv.join(" "),
            if said.is_empty() { "" } else { ": " }
        ));
    }
    read.map_err(|error| format!("its list `{}`: {error}", argv.join(" ")))?;
    Ok(taken(&String::from_utf8_lossy(&text), each))
}

/// Lines that the pattern takes, each once.
fn taken(text: &str, each: &Each) -> Picked {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let (mut seen, mut names, mut odd) = (BTreeSet::new(), Vec::new(), 0);
    for line in lines {
        match each.takes(line) {
            true if seen.insert(line) => names.push(line.to_owned()),
            true => {}
            false => odd += 1,
        }
    }
    pick(names.into_iter(), each.most, odd)
}

fn pick(names: impl Iterator<Item = String>, most: usize, odd: usize) -> Picked {
    let mut all: Vec<String> = names.collect();
    let count = all.len();
    all.truncate(most);
    let mut said = Vec::new();
    if count > most {
        said.push(format!("only the first {most} of {count} are asked for"));
    }
    if odd > 0 {
        let lines = report::counted(odd, "line");
        let are = if odd == 1 { "is" } else { "are" };
        said.push(format!("{lines} of the list {are} not what the pattern takes"));
    }
    Picked { names: all, left_out: (!said.is_empty()).then(|| said.join("; ")) }
}

/// The program for one name.
///
/// # Errors
/// When the name cannot stand in one of its arguments.
pub(super) fn program_for(program: &Program, name: &str) -> Result<Program, String> {
    let arguments = program.arguments.iter().map(|argument| template::fill_each(argument, name));
    Ok(Program { arguments: arguments.collect::<Result<_, _>>()?, ..program.clone() })
}

/// What a name is called in a bundle: nothing that could be a path.
pub(super) fn file_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-:@+".contains(c) { c } else { '_' };
    name.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::thread::CapabilitySet;

    use super::super::mounts::Mounts;
    use super::*;
    use crate::agent::host::Host;
    use crate::bundle::path::EntryPath;

    fn each(toml: &str) -> Each {
        toml::from_str(toml).expect(toml)
    }

    fn program(arguments: &[&str]) -> Program {
        Program {
            file: "/bin/x".into(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            time: Duration::from_secs(60),
            bytes: 1 << 20,
            exits: [0].into(),
            capabilities: CapabilitySet::empty(),
        }
    }

    fn with<T>(root: &Path, work: impl FnOnce(&Conditions<'_>) -> T) -> T {
        let host = Host::open(root).expect("opened");
        let mounts = Mounts::of(&host, false, Duration::from_secs(5));
        work(&Conditions { host: &host, mounts: &mounts, path: &command::path() })
    }

    #[test]
    fn names_of_a_folder_are_those_that_the_pattern_takes() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let folder = root.path().join("sys/block");
        std::fs::create_dir_all(&folder).expect("a folder");
        for name in ["sdb", "sda", "sdaa", "dm-0", "loop0", "sda; reboot", "-sd"] {
            std::fs::write(folder.join(name), "").expect("written");
        }
        let disks = each("names_in = \"/sys/block\"\npattern = \"sd[a-z]+\"\nmost = 2");
        let names_of = |path: &str| with(root.path(), |conditions| names_in(Path::new(path), &disks, conditions));
        let picked = names_of("/sys/block").expect("names");
        assert_eq!(picked.names, ["sda", "sdaa"]);
        assert_eq!(picked.left_out.as_deref(), Some("only the first 2 of 3 are asked for"));
        std::fs::create_dir(root.path().join("sys/none")).expect("a folder");
        assert_eq!(names_of("/sys/none"), Err("nothing in /sys/none is what it is run for".to_owned()));
        let wide = each("names_in = \"/sys/block\"\npattern = \"[a-z.]+\"");
        let picked = with(root.path(), |conditions| names_in(Path::new("/sys/block"), &wide, conditions));
        assert_eq!(picked.expect("names").names, ["sda", "sdaa", "sdb"], "neither the folder nor the one above it");
        assert_eq!(taken("..\nweb\n.\n", &wide).names, ["web"]);
        assert!(names_of("/sys/absent").expect_err("not there").starts_with("/sys/absent: "));
    }

    #[test]
    fn lines_of_a_program_are_taken_or_counted() {
        let ids = each("lines_of = [\"x\"]\npattern = \"[0-9a-f]{4}\"");
        let list = |argv: &[&str]| {
            let argv: Vec<String> = argv.iter().map(|&argument| argument.to_owned()).collect();
            let stop = CancellationToken::new();
            with(Path::new("/"), |conditions| lines_of(&argv, &ids, &program(&[]), conditions, &stop))
        };
        let picked = list(&["printf", "00ff\\n abcd \\n00ff\\n\\n$(reboot)\\n--all\\n"]).expect("a list");
        assert_eq!(picked.names, ["00ff", "abcd"]);
        assert_eq!(picked.left_out.as_deref(), Some("2 lines of the list are not what the pattern takes"));
        assert_eq!(list(&["printf", ""]), Ok(Picked::default()));
        let failed = list(&["cat", "/nonexistent/x"]).expect_err("failed");
        assert!(failed.starts_with("its list `cat /nonexistent/x`: exit status 1: "), "{failed}");
        assert!(failed.contains("cat: /nonexistent/x"), "{failed}");
        assert_eq!(list(&["sheaf-no-such-program"]), Err("`sheaf-no-such-program` is not installed".to_owned()));
    }

    proptest::proptest! {
        /// A pattern that takes everything: what still holds is what no file can give away.
        #[test]
        fn whatever_stands_in_a_list_it_stays_one_argument(text in "(?s).{0,200}|([a-z]{0,3}|-|/|\\.|\n|\\{\\{each\\}\\}| ){0,30}") {
            let all = each("lines_of = [\"x\"]\npattern = \"(?s).*\"\nmost = 5");
            let picked = taken(&text, &all);
            proptest::prop_assert!(picked.names.len() <= 5);
            let program = program(&["--id={{each}}", "{{each}}", "{{other}}"]);
            for name in &picked.names {
                proptest::prop_assert!(text.contains(name.as_str()) && !name.chars().any(char::is_control));
                let path = format!("commands/x/{}.txt.err", file_name(name));
                proptest::prop_assert_eq!(path.matches('/').count(), 2);
                proptest::prop_assert!(EntryPath::parse(&path).is_ok(), "{}", path);
                proptest::prop_assert!(!matches!(name.as_str(), "." | ".."));
                match program_for(&program, name) {
                    Ok(one) => {
                        let expected = [format!("--id={name}"), name.clone(), "{{other}}".to_owned()];
                        proptest::prop_assert_eq!(&one.arguments, &expected);
                        proptest::prop_assert!(!name.starts_with('-'));
                    }
                    Err(_) => proptest::prop_assert!(name.starts_with('-')),
                }
            }
        }
    }
}
