//! Programs that take code: no property and no name of an `each` may stand in what such a program is given.
//!
//! A template is filled in as one argument, which is enough for a program that takes it as data. A shell, `awk` or `python3` takes it as
//! text of its own language, where a value of `$(id)` is run. Which programs those are is a short list; the check looks at words and opens
//! nothing. What it cannot know is a program of the node's own that hands its arguments to a shell.

use super::Command;
use crate::agent::source::template;

/// Shells: wherever such a word stands in an argv, it is taken for the program that is run in the end.
const SHELLS: [&str; 12] =
    ["sh", "bash", "rbash", "dash", "ash", "zsh", "ksh", "mksh", "ksh93", "yash", "fish", "tcsh"];

/// What else takes code, as the program or behind one of [`RUNNERS`]; versions such as `python3.13` are these too.
const LANGUAGES: [&str; 26] = [
    "csh",
    "python",
    "pypy",
    "perl",
    "ruby",
    "node",
    "nodejs",
    "php",
    "lua",
    "luajit",
    "tclsh",
    "expect",
    "awk",
    "gawk",
    "mawk",
    "nawk",
    "sed",
    "gdb",
    "ssh",
    "su",
    "runuser",
    "watch",
    "script",
    "eval",
    "parallel",
    "systemd-run",
];

/// What runs the program that it is given: nothing of that comes from a template.
const RUNNERS: [&str; 22] = [
    "env", "nice", "ionice", "timeout", "nsenter", "unshare", "chroot", "sudo", "doas", "setsid", "setpriv", "stdbuf",
    "nohup", "xargs", "chrt", "taskset", "flock", "busybox", "toybox", "strace", "time", "command",
];

/// Words by which find(1) runs programs.
const FIND: [&str; 4] = ["-exec", "-execdir", "-ok", "-okdir"];

/// Why a command's templates would become code, if one would.
pub(super) fn fault(command: &Command) -> Option<String> {
    let (program, arguments) = command.argv.split_first()?;
    let argument = arguments.iter().find(|argument| template::names(argument).next().is_some())?;
    let what = taker(program, arguments)?;
    Some(format!(
        "argv has `{argument}`, which {what} would run as code: a value may hold `$(...)`. Name the program that is meant itself, with \
         {{{{NAME}}}} as an argument of its own, or call a script of the node's own that takes it as `$1`"
    ))
}

/// The program that takes what stands in the arguments as code.
fn taker(program: &str, arguments: &[String]) -> Option<String> {
    let first = name(program);
    if is_code(first) {
        return Some(format!("`{first}`"));
    }
    let runs =
        RUNNERS.contains(&first) || (first == "find" && arguments.iter().any(|word| FIND.contains(&word.as_str())));
    if let Some(word) =
        arguments.iter().map(|word| name(word)).find(|word| SHELLS.contains(word) || (runs && is_code(word)))
    {
        return Some(format!("`{word}`"));
    }
    // Which of its words is the program is for each of them another question: `env {{x}}` has it come from the value.
    runs.then(|| format!("`{first}`, which runs other programs,"))
}

fn is_code(name: &str) -> bool {
    SHELLS.contains(&name) || LANGUAGES.contains(&name)
}

/// A program's name without its folder and its version.
fn name(word: &str) -> &str {
    let name = word.rsplit('/').next().unwrap_or(word);
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    if SHELLS.contains(&name) { name } else { bare }
}

#[cfg(test)]
mod tests {
    use crate::agent::source::collector::Declared;

    fn faults(argv: &[&str], more: &str) -> Vec<(Option<usize>, String)> {
        let argv: Vec<String> = argv.iter().map(|word| format!("'''{word}'''")).collect();
        let text = format!(
            "name = \"x\"\nversion = \"1\"\nwhy = \"A test.\"\nroots = [\"/srv\"]\n[properties.opt]\npattern = \".*\"\n\
             [[commands]]\nname = \"c\"\n{more}argv = [{}]\n",
            argv.join(", ")
        );
        Declared::faults(&text).1
    }

    #[test]
    fn no_template_reaches_a_program_that_takes_code() {
        let each = "each = { names_in = \"/srv\", pattern = \".*\" }\n";
        for argv in [
            &["sh", "-c", "echo {{opt}}"][..],
            &["/bin/bash", "-c", "echo \"$1\"", "x", "{{opt}}"],
            &["/usr/bin/python3.13", "-c", "print('{{opt}}')"],
            &["perl5.40", "-e", "{{opt}}"],
            &["ruby", "x.rb", "{{opt}}"],
            &["node", "-e", "{{opt}}"],
            &["php8.2", "-r", "{{opt}}"],
            &["lua5.4", "-e", "{{opt}}"],
            &["tclsh8.6", "{{opt}}"],
            &["mawk", "{{opt}}", "/etc/passwd"],
            &["busybox", "sh", "-c", "{{opt}}"],
            &["env", "A=b", "nice", "-n", "5", "dash", "-c", "{{opt}}"],
            &["env", "-S", "sh -c {{opt}}"],
            &["env", "{{opt}}", "-c", "id"],
            &["timeout", "-s", "KILL", "5", "python3", "-c", "{{opt}}"],
            &["nsenter", "-t", "1", "-m", "sh", "-c", "{{opt}}"],
            &["chroot", "/host", "awk", "{{opt}}"],
            &["sudo", "-u", "x", "zsh", "-c", "{{opt}}"],
            &["setsid", "ksh93", "-c", "{{opt}}"],
            &["xargs", "-a", "/srv/x", "sh", "-c", "{{opt}}"],
            &["ssh", "host", "ls {{opt}}"],
            &["find", "/srv", "-exec", "perl", "-e", "{{opt}}", ";"],
            &["docker", "exec", "web", "sh", "-c", "{{opt}}"],
        ] {
            let found = faults(argv, "");
            let said =
                found.iter().filter(|(line, said)| *line == Some(9) && said.contains("would run as code")).count();
            assert_eq!((said, found.len()), (1, 1), "{argv:?}: {found:?}");
            let argv: Vec<String> = argv.iter().map(|word| word.replace("{{opt}}", "{{each}}")).collect();
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            let found = faults(&argv, each);
            assert!(found.len() == 1 && found[0].1.contains("would run as code"), "{argv:?}: {found:?}");
        }
    }

    #[test]
    fn a_template_is_an_argument_of_any_other_program() {
        for argv in [
            &["tail", "--lines=5", "/srv/{{opt}}"][..],
            &["find", "/srv", "-name", "{{opt}}"],
            &["kubectl", "describe", "node", "{{opt}}"],
            &["docker", "logs", "{{opt}}"],
            &["/usr/local/lib/show.sh", "{{opt}}"],
            &["sh", "-c", "echo whatever; exit 1"],
            &["env", "sh", "-c", "docker ps --format '{{.Names}}'"],
        ] {
            assert_eq!(faults(argv, ""), [], "{argv:?}");
        }
    }
}
