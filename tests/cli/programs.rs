//! The two programs: the same verbs of a node in both, and nothing else in the one that nodes have.

use std::fs;
use std::process::{Command, Output};

const SHEAF: &str = env!("CARGO_BIN_EXE_sheaf");
const AGENT: &str = env!("CARGO_BIN_EXE_sheaf-agent");

/// Texts that stand in the code of what no node needs: whose, and the text.
const FOREIGN: &[(&str, &str)] = &[
    ("SQLite's", "unable to open database"),
    ("the coordinator's state", "CREATE TABLE"),
    ("the coordinator's passwords", "argon2id"),
    ("the public listener", "/readyz"),
    ("a public API", "/api/vcenter/namespace-management"),
    ("the operator's verbs", "SHEAF_PASSWORD"),
    ("the quickstart", "a coordinator and agents on this host"),
];

fn run(program: &str, words: &[&str]) -> Output {
    Command::new(program).args(words).output().expect("the program runs")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_nodes_program_holds_nothing_but_the_agent() {
    let (whole, agent) = (fs::read(SHEAF).expect("read"), fs::read(AGENT).expect("read"));
    let holds = |program: &[u8], text: &str| memchr::memmem::find(program, text.as_bytes()).is_some();
    for (whose, text) in FOREIGN {
        assert!(holds(&whole, text), "{whose} text `{text}` is not in sheaf: this test sees nothing");
        assert!(!holds(&agent, text), "{whose} text `{text}` is in sheaf-agent");
    }
    assert!(agent.len() < whole.len());
}

#[test]
fn both_have_the_verbs_of_a_node_and_say_their_own_name() {
    for verb in ["run", "join", "collect", "check", "rules"] {
        let alone = said(&run(AGENT, &[verb, "--help"]));
        assert!(alone.contains(&format!("Usage: sheaf-agent {verb} ")), "{alone}");
        assert!(!alone.contains("sheaf agent"), "{alone}");
        assert_eq!(alone, said(&run(SHEAF, &["agent", verb, "--help"])).replace("sheaf agent", "sheaf-agent"));
    }
    let version = said(&run(AGENT, &["--version"]));
    assert_eq!(version, concat!("sheaf-agent ", env!("CARGO_PKG_VERSION"), "\n"));
    for other in ["coordinator", "quickstart", "bundle", "agent"] {
        let output = run(AGENT, &[other]);
        assert_eq!(output.status.code(), Some(2), "{other}: {output:?}");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("agent.toml");
    fs::write(&config, format!("state_dir = {:?}\n", folder.path().join("state"))).expect("written");
    let config = config.to_str().expect("UTF-8");
    for (program, words, wanted) in
        [(AGENT, &[][..], "`sheaf-agent check` lists them"), (SHEAF, &["agent"][..], "`sheaf agent check` lists them")]
    {
        let words = [words, &["collect", "--collector", "no-such", "--output", "-", "--config", config]].concat();
        let error = String::from_utf8_lossy(&run(program, &words).stderr).into_owned();
        assert!(error.contains(wanted), "{error}");
    }
}
