//! Tasks with live agents: a cancelled one stops its work on the nodes, one of a coordinator that died says so, and a kept bundle is
//! fetched in two goes.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::kit::tree::host_root;
use crate::kit::{Node, Site, state_file, text, verify, wait_for};

/// How soon a cancelled task's work must have stopped.
const SOON: Duration = Duration::from_secs(5);

/// Seconds that the slow command sleeps: no other process of this machine has them.
fn unique() -> String {
    format!("{}.{}", 86_400 + std::process::id(), std::process::id())
}

/// Processes with this argument, whosever children they are.
fn with_argument(argument: &str) -> usize {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.filter(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())).count()
}

/// A node that reads this machine's root, with a collector whose command does not end.
fn slow_node(site: &Site, name: &str, seconds: &str) -> Node {
    let mut node = site.node(name, "/".as_ref(), site.agents);
    state_file(
        &node.folder.join("collectors.d/slow.toml"),
        &format!(
            "name = \"slow\"\nversion = \"1\"\nwhy = \"a command that does not end\"\ndefault = false\n\
             [[commands]]\nname = \"sleep\"\nargv = [\"sleep\", \"{seconds}\"]\ntimeout = \"10m\"\n"
        ),
    );
    node.start();
    node
}

#[test]
fn a_cancelled_task_stops_its_work_on_the_nodes_and_frees_what_it_held() {
    let site = Site::start("");
    let seconds = unique();
    let _nodes = [slow_node(&site, "one", &seconds), slow_node(&site, "two", &seconds)];
    site.online(&["one", "two"]);
    let output = site.folder.path().join("cancelled.tar.zst");
    let mut create = site.operator();
    create.args(["bundle", "create", "--cluster", "default", "--collector", "slow", "--output"]).arg(&output);
    let download = create.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sheaf runs");
    wait_for("both nodes run the command", || with_argument(&seconds) == 2);
    let running = site.json(&["task", "list", "--state", "processing", "--json"]);
    let id = running[0]["id"].to_string();

    let asked = Instant::now();
    let cancelled = site.json(&["task", "cancel", &id, "--json"]);
    assert!(["cancelling", "cancelled"].iter().any(|state| cancelled["state"] == *state), "{cancelled}");
    wait_for("the commands are gone", || with_argument(&seconds) == 0);
    assert!(asked.elapsed() < SOON, "it took {:?}", asked.elapsed());
    let followed = site.sheaf(&["task", "follow", &id, "--json"]);
    assert_eq!(followed.status.code(), Some(7), "{}", text(&followed));
    assert!(asked.elapsed() < SOON * 2, "it took {:?}", asked.elapsed());
    let done = download.wait_with_output().expect("ends");
    assert_eq!(done.status.code(), Some(4), "{}", text(&done));
    assert!(!output.exists(), "a cut bundle does not get its name");

    // The nodes, their turn and the requester's are free: the next one of the same runs at once.
    let next = create.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sheaf runs");
    wait_for("both nodes run the command again", || with_argument(&seconds) == 2);
    drop(Killed(next));
    wait_for("a client that is gone stops it too", || with_argument(&seconds) == 0);
}

/// A process that ends with the value.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_coordinator_that_dies_leaves_tasks_that_say_so_with_their_logs() {
    let mut site = Site::start("");
    let seconds = format!("{}1", unique());
    let _node = slow_node(&site, "one", &seconds);
    site.online(&["one"]);
    let kept = site.operator();
    let mut kept = kept;
    kept.args(["bundle", "create", "--cluster", "default", "--collector", "slow", "--store", "--quiet"]);
    let following = kept.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("sheaf runs");
    wait_for("the node runs the command", || with_argument(&seconds) == 1);
    site.restart();
    let task = site.json(&["task", "show", "1", "--json"]);
    assert_eq!(
        (task["state"].clone(), task["result"].clone()),
        ("errored".into(), "the coordinator was restarted".into())
    );
    let events = task["events"].as_array().expect("events");
    assert!(events.iter().any(|event| event["stage"] == "Preparing"), "{task}");
    assert_eq!(events.last().expect("a last line")["error"]["message"], "the coordinator was restarted");
    let done = following.wait_with_output().expect("ends");
    assert_eq!(done.status.code(), Some(1), "{}", text(&done));
    assert!(String::from_utf8_lossy(&done.stderr).contains("restarted"), "{}", text(&done));
    assert_eq!(site.json(&["bundle", "stored", "list", "--json"]), serde_json::json!([]));
    wait_for("the agent learns that the task is over", || with_argument(&seconds) == 0);
}

#[test]
fn a_kept_bundle_is_followed_listed_and_fetched_in_two_goes() {
    let site = Site::start("");
    let root = site.folder.path().join("root");
    host_root(&root, 9, &[("a.log", 2 << 20), ("b.log", 5 << 20)]);
    let _node = site.started("node", &root, site.agents);
    site.online(&["node"]);
    let made = site.sheaf(&["bundle", "create", "--cluster", "default", "--collector", "logs", "--store"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    let id = String::from_utf8(made.stdout.clone()).expect("text").trim().to_owned();
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(said.contains("Collecting: node") && said.contains("stored download"), "{said}");
    let list = site.json(&["bundle", "stored", "list", "--json"]);
    assert_eq!((list[0]["id"].as_str(), list[0]["verdict"].as_str()), (Some(id.as_str()), Some("complete")));
    let task = list[0]["task"].to_string();
    let followed = site.sheaf(&["task", "follow", &task, "--quiet"]);
    assert_eq!(followed.status.code(), Some(0), "{}", text(&followed));

    let fetch = |name: &str| {
        let output = site.folder.path().join(name);
        let done = site.operator().args(["bundle", "stored", "download", &id, "--output"]).arg(&output).output();
        (output, done.expect("sheaf runs"))
    };
    let (whole, done) = fetch("whole.tar.zst");
    assert_eq!((done.status.code(), verify(&whole).0), (Some(0), 0), "{}", text(&done));
    let bytes = fs::read(&whole).expect("read");
    let half = |name: &str, bytes: &[u8]| {
        let partial = site.folder.path().join(format!("{name}.{}.partial", &id[..8]));
        fs::write(&partial, &bytes[..bytes.len() / 2]).expect("written");
        partial
    };
    let partial = half("again.tar.zst", &bytes);
    let (again, done) = fetch("again.tar.zst");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    assert!(fs::read(&again).expect("read") == bytes && !partial.exists());

    // What was there is gone on with, and looked at all the same.
    let mut wrong = bytes.clone();
    wrong[bytes.len() / 4] ^= 1;
    let partial = half("wrong.tar.zst", &wrong);
    let (output, done) = fetch("wrong.tar.zst");
    assert_eq!(done.status.code(), Some(5), "{}", text(&done));
    assert!(!output.exists() && !partial.exists(), "what is whole and wrong is not gone on with");
    let (_, done) = fetch("wrong.tar.zst");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));

    let deleted = site.sheaf(&["bundle", "stored", "delete", &id]);
    assert!(deleted.status.success(), "{}", text(&deleted));
    let (_, done) = fetch("gone.tar.zst");
    assert!(!done.status.success() && text(&done).contains("not found"), "{}", text(&done));
}
