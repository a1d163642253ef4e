//! The command line with real processes: both programs, quickstart, and the operator's verbs against what it leaves running.

mod deployment;
mod desk;
mod programs;
mod proxy;
mod user;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::Value;

use desk::{Desk, Kept, text};
use proxy::Proxy;

#[test]
fn quickstart_leaves_a_complete_bundle_and_nothing_else() {
    let desk = Desk::new();
    let out = desk.run(&["quickstart", "--nodes", "2", "--output", "b.tar.zst"]);
    assert!(out.status.success(), "{}", text(&out));
    let table = String::from_utf8_lossy(&out.stdout);
    assert!(table.starts_with("COLLECTOR"), "{table}");
    for word in ["COLLECTED", "SKIPPED", "REDACTED", "\nsystem ", "\nlogs ", "\ntotal ", "complete: ", "b.tar.zst"] {
        assert!(table.contains(word), "{word:?} in {table}");
    }
    let verified = desk.run(&["bundle", "verify", "b.tar.zst"]);
    assert!(verified.status.success(), "{}", text(&verified));
    let nodes = desk.run(&["bundle", "cat", "b.tar.zst", "nodes/node-2/node.json"]);
    assert!(nodes.status.success(), "{}", text(&nodes));
    assert_eq!(desk.files(), ["b.tar.zst"]);
    assert!(desk.temporary().is_empty(), "{:?}", desk.temporary());
}

#[test]
fn an_interrupted_quickstart_cleans_up() {
    let desk = Desk::new();
    let mut child =
        desk.command(&["quickstart", "--output", "b.tar.zst"]).stderr(Stdio::piped()).spawn().expect("started");
    // Its first line comes when the coordinator serves.
    let mut said = BufReader::new(child.stderr.take().expect("piped"));
    said.read_line(&mut String::new()).expect("a line");
    desk::interrupt(&child);
    assert_eq!(child.wait().expect("ended").code(), Some(130));
    assert_eq!((desk.files(), desk.temporary()), (vec![], vec![]));
}

#[test]
fn a_quickstart_does_not_begin_for_a_bundle_that_has_no_place() {
    let desk = Desk::new();
    fs::write(desk.path().join("b.tar.zst"), "evidence").expect("written");
    let out = desk.run(&["quickstart", "--output", "b.tar.zst"]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&out.stderr),
        "error: b.tar.zst is there already; name another file, or remove it first\n"
    );
}

#[test]
fn a_quickstart_goes_on_when_nobody_reads_what_it_says() {
    let desk = Desk::new();
    let mut child =
        desk.command(&["quickstart", "--output", "b.tar.zst"]).stderr(Stdio::piped()).spawn().expect("started");
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("ended").code(), Some(0));
    assert_eq!((desk.files(), desk.temporary()), (vec!["b.tar.zst".to_owned()], vec![]));
}

#[test]
fn a_killed_quickstart_leaves_no_agent_behind() {
    let desk = Desk::new();
    let kept = Kept::start(&desk, 2);
    let agents = kept.agents();
    assert_eq!(agents.len(), 2);
    kept.kill();
    while agents.iter().any(|id| desk::runs(id)) {
        std::thread::yield_now();
    }
}

#[test]
fn a_named_state_folder_serves_again() {
    let desk = Desk::new();
    for output in ["a.tar.zst", "b.tar.zst"] {
        let out = desk.run(&["quickstart", "--state-dir", "state", "--output", output]);
        assert!(out.status.success(), "{}", text(&out));
    }
    assert_eq!(desk.files(), ["a.tar.zst", "b.tar.zst", "state"]);
}

#[test]
fn the_operators_verbs() {
    let desk = Desk::new();
    let kept = Kept::start(&desk, 2);
    let offer = &kept.offer;
    for member in ["url", "agents_url", "ca_file", "user", "password", "cluster_id", "state_dir", "nodes", "bundle"] {
        assert!(!offer[member].is_null(), "{member} in {offer}");
    }

    // Nobody is logged in yet.
    let out = desk.run(&["cluster", "list"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out).contains("sheaf login"), "{}", text(&out));
    let (url, ca) = (kept.text("url"), kept.text("ca_file"));
    let wrong = desk
        .command(&["login", "--url", &url, "--ca", &ca, "--user", "admin"])
        .env("SHEAF_PASSWORD", "wrong password")
        .output();
    let wrong = wrong.expect("run");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong).contains("password is wrong"), "{}", text(&wrong));

    log_in(&desk, &kept);
    let profile = desk.path().join("config/sheaf/login.json");
    assert_eq!(fs::metadata(&profile).expect("a profile").permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&profile).expect("read").contains(&kept.text("password")), "no password in it");

    let made = desk.json(&["cluster", "create", "edge", "--json"]);
    assert!(made["id"].is_string() && made["name"] == "edge", "{made}");
    let rows = desk.json(&["cluster", "list", "--json"]);
    assert_eq!(names(&rows), ["default", "edge"]);
    assert!(desk.run(&["cluster", "delete", "edge"]).status.success());
    let taken = desk.run(&["cluster", "create", "default"]);
    assert_eq!(taken.status.code(), Some(1));
    assert_eq!(names(&desk.json(&["node", "list", "--cluster", "default", "--json"])), ["node-1", "node-2"]);
    assert_eq!(desk.json(&["node", "show", "node-1", "--json"])["online"], true);

    let made = desk.json(&["secret", "create", "n9", "--output", "n9.secret", "--json"]);
    assert!(made["id"].is_string() && made["name"] == "n9" && made["secret"].is_null(), "{made}");
    let file = desk.path().join("n9.secret");
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&file).expect("read").starts_with("sheaf1."));
    // A file that is there is not overwritten, and no secret is made for which there is no place.
    assert_eq!(desk.run(&["secret", "create", "n10", "--output", "n9.secret"]).status.code(), Some(1));
    let refused = desk.run(&["secret", "create", "n9", "--output", "other.secret"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(!desk.path().join("other.secret").exists());
    assert_eq!(names(&desk.json(&["secret", "list", "--json"])), ["n9", "node-1", "node-2"]);
    assert_eq!(desk.json(&["secret", "revoke", "n9", "--now", "--json"])["status"], "REVOKED");

    for (words, said) in [
        (&["cluster", "show", "nope"][..], "cluster `nope` not found; `sheaf cluster list` names those that are there"),
        (&["bundle", "create", "--cluster", "nope"], "`sheaf cluster list` names"),
        (&["secret", "revoke", "nope"], "`sheaf secret list` names"),
        (&["task", "show", "99"], "`sheaf task list` names"),
        (&["task", "show", "x"], "a task is known by its number"),
        (&["bundle", "stored", "download", "nope"], "an id is a UUID"),
    ] {
        let out = desk.run(words);
        assert!(!out.status.success() && text(&out).contains(said), "{words:?}: {}", text(&out));
    }

    bundles(&desk);
    cut(&desk, &kept, &url, &ca);
    interrupted(&desk, &kept, &url, &ca);

    assert!(desk.run(&["node", "remove", "node-2"]).status.success());
    assert_eq!(names(&desk.json(&["node", "list", "--json"])), ["node-1"]);
    kept.stop();
}

/// As the quickstart's admin, by a file with the password.
fn log_in(desk: &Desk, kept: &Kept) {
    fs::write(desk.path().join("password"), format!("{}\n", kept.text("password"))).expect("written");
    let (url, ca) = (kept.text("url"), kept.text("ca_file"));
    let login = ["login", "--url", &url, "--ca", &ca, "--user", "admin", "--password-file", "password"];
    assert!(desk.run(&login).status.success());
}

fn bundles(desk: &Desk) {
    let create = ["bundle", "create", "--cluster", "default", "--collector", "system"];
    let with = |more: &[&'static str]| [&create[..], more].concat();
    let made = desk.json(&with(&["--node", "node-1", "--case", "4711", "--output", "one.tar.zst", "--json"]));
    assert_eq!((&made["verdict"], &made["file"]), (&"complete".into(), &"one.tar.zst".into()), "{made}");
    assert!(made["id"].is_u64() && made["name"].as_str().is_some_and(|name| name.starts_with("sheaf_default_")));
    let task = desk.json(&["task", "show", &made["id"].to_string(), "--json"]);
    assert_eq!(task["state"], "done");
    assert!(
        task["events"].as_array().is_some_and(|events| events.iter().any(|event| event["task"] == "node-1")),
        "{task}"
    );
    assert!(text(&desk.run(&["task", "list"])).contains("bundle of cluster default"));
    let request = desk.run(&["bundle", "cat", "one.tar.zst", "REQUEST.json"]);
    assert!(text(&request).contains("4711"), "{}", text(&request));

    pinned(desk);
    let plain = desk.run(&with(&["--format", "tar", "--output", "-"]));
    assert!(plain.status.success());
    assert_eq!(&plain.stdout[257..262], b"ustar");
    assert!(
        String::from_utf8_lossy(&plain.stderr).contains("Collecting: node-2 done"),
        "plain lines where no terminal is"
    );
    // Its own name in the current folder.
    assert!(desk.run(&with(&["--quiet"])).status.success());
    assert!(desk.files().iter().any(|name| name.starts_with("sheaf_default_") && name.ends_with(".tar.zst")));

    for (more, word) in [
        (&["--output", "nowhere/x.tar.zst"][..], "nowhere/x.tar.zst.partial"),
        (&["--output", "/dev/full/x"], "/dev/full/x"),
        (&["--output", "one.tar.zst"], "one.tar.zst is there already"),
        (&["--node", "zzz", "--output", "x.tar.zst"], "no node of these names"),
        (&["--node", "[", "--output", "x.tar.zst"], "["),
    ] {
        let out = desk.run(&with(more));
        assert_eq!(out.status.code(), Some(1), "{more:?}: {}", text(&out));
        assert!(text(&out).contains(word), "{more:?}: {}", text(&out));
    }
    assert!(desk.files().iter().all(|name| !name.starts_with("x.tar")), "{:?}", desk.files());

    // A reader that goes away is no error for a list; for a bundle it means that the bundle is not whole.
    let mut list = desk.command(&["cluster", "list"]).stdout(Stdio::piped()).spawn().expect("started");
    drop(list.stdout.take());
    assert!(list.wait().expect("ended").success());
    let mut bundle =
        desk.command(&with(&["--output", "-", "--quiet"])).stdout(Stdio::piped()).spawn().expect("started");
    drop(bundle.stdout.take());
    assert_eq!(bundle.wait().expect("ended").code(), Some(4));
    fs::write(desk.path().join("agent.toml"), "node = 'n'\nstate_dir = 'own'\n").expect("written");
    let own = ["agent", "collect", "--config", "agent.toml", "--collector", "system", "--output", "-"];
    let mut own = desk.command(&own).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    drop(own.stdout.take());
    let own = own.wait_with_output().expect("ended");
    assert_eq!(own.status.code(), Some(4), "{}", text(&own));
    assert!(text(&own).contains("went away"), "{}", text(&own));
}

/// A signer can be pinned wherever a bundle is read.
fn pinned(desk: &Desk) {
    let key = desk.json(&["bundle", "verify", "one.tar.zst", "--json"])["key"].as_str().expect("a key").to_owned();
    let other = "A".repeat(43) + "=";
    let read = |verb: &[&str], key: &str| desk.run(&[verb, &["--key", key]].concat());
    for (number, verb) in [
        &["bundle", "list", "one.tar.zst"][..],
        &["bundle", "cat", "one.tar.zst", "REQUEST.json"],
        &["bundle", "extract", "one.tar.zst", "REQUEST.json", "--into", "pinned"],
    ]
    .iter()
    .enumerate()
    {
        let out = read(verb, &other);
        assert_eq!((out.status.code(), out.stdout.is_empty()), (Some(6), true), "{verb:?}: {}", text(&out));
        assert!(!desk.path().join("pinned").exists(), "{number}");
        let out = read(verb, &key);
        assert!(out.status.success(), "{verb:?}: {}", text(&out));
    }
    let piped = desk.run(&["bundle", "list", "-", "--key", &key]);
    assert!(piped.status.code() == Some(1) && text(&piped).contains("verify --key"), "{}", text(&piped));
}

/// A download that is interrupted says where what came of it is.
fn interrupted(desk: &Desk, kept: &Kept, url: &str, ca: &str) {
    let proxy = Proxy::stalling(url, 20_000);
    let create = ["bundle", "create", "--url", &proxy.url, "--ca", ca, "--user", "admin"];
    let more = ["--cluster", "default", "--collector", "system", "--output", "stopped.tar.zst"];
    let mut command = desk.command(&[&create[..], &more].concat());
    let child = command.env("SHEAF_PASSWORD", kept.text("password")).stderr(Stdio::piped()).spawn().expect("started");
    proxy.stalled();
    desk::interrupt(&child);
    let out = child.wait_with_output().expect("ended");
    assert_eq!(out.status.code(), Some(4), "{}", text(&out));
    assert!(text(&out).contains("the download was cut: interrupted"), "{}", text(&out));
    let partial = "stopped.tar.zst.partial";
    let files = desk.files();
    assert!(!files.contains(&"stopped.tar.zst".to_owned()), "{files:?}");
    assert_eq!(text(&out).contains(partial), files.contains(&partial.to_owned()), "{files:?}: {}", text(&out));
}

/// A download that is cut on the way is said to be cut, and never gets its name.
fn cut(desk: &Desk, kept: &Kept, url: &str, ca: &str) {
    let proxy = Proxy::start(url, 20_000);
    let create = ["bundle", "create", "--url", &proxy.url, "--ca", ca, "--user", "admin"];
    let more = ["--cluster", "default", "--collector", "system", "--output", "cut.tar.zst"];
    let out = desk
        .command(&[&create[..], &more].concat())
        .env("SHEAF_PASSWORD", kept.text("password"))
        .output()
        .expect("run");
    assert_eq!(out.status.code(), Some(4), "{}", text(&out));
    assert!(text(&out).contains("the download was cut"), "{}", text(&out));
    let files = desk.files();
    assert!(
        files.contains(&"cut.tar.zst.partial".to_owned()) && !files.contains(&"cut.tar.zst".to_owned()),
        "{files:?}"
    );

    // A wrong CA is told from a coordinator that is not there.
    fs::write(desk.path().join("other.toml"), "state_dir = 'other'\n").expect("written");
    assert!(desk.run(&["coordinator", "init", "--config", "other.toml"]).status.success());
    let run = |url: &str, ca: &str| {
        let args = ["cluster", "list", "--url", url, "--ca", ca, "--user", "admin"];
        desk.command(&args).env("SHEAF_PASSWORD", kept.text("password")).output().expect("run")
    };
    let untrusted = run(url, "other/ca.pem");
    assert!(text(&untrusted).contains("not signed by the CA"), "{}", text(&untrusted));
    let nobody = run("https://127.0.0.1:1", ca);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody).contains("cannot connect"), "{}", text(&nobody));
}

fn names(rows: &Value) -> Vec<&str> {
    rows.as_array().expect("an array").iter().map(|row| row["name"].as_str().expect("a name")).collect()
}
