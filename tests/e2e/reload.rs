//! `systemctl reload`, as the daemons see it: SIGHUP, and what systemd and the log are told of it.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, ExitStatus};

use crate::kit::tree::host_root;
use crate::kit::{SHEAF, Site, state_file, text, wait_for};

/// What stands in for systemd.
struct Systemd {
    socket: UnixDatagram,
    told: Vec<String>,
    /// How many of these messages there were at each sign of life.
    beats: Vec<usize>,
}

impl Systemd {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        socket.set_nonblocking(true).expect("set");
        Self { socket, told: Vec::new(), beats: Vec::new() }
    }

    /// All messages so far but the signs of life.
    fn told(&mut self) -> &[String] {
        let mut buffer = [0; 4096];
        while let Ok(read) = self.socket.recv(&mut buffer) {
            let message = String::from_utf8_lossy(&buffer[..read]).into_owned();
            match message.trim_end() {
                "WATCHDOG=1" => self.beats.push(self.told.len()),
                _ => self.told.push(message),
            }
        }
        &self.told
    }

    /// Reloads that began and ended, each in that order.
    fn reloads(&mut self) -> usize {
        let mut count = 0;
        let mut inside = false;
        for message in self.told() {
            let begins = message.contains("RELOADING=1");
            assert!(!begins || message.contains("MONOTONIC_USEC="), "newer systemds want the time: {message}");
            let ends = inside && message.contains("READY=1");
            count += usize::from(ends);
            inside = begins || (inside && !ends);
        }
        count
    }
}

/// What a unit of `Type=notify` lives by: each state at its time, and a sign of life in between.
fn lives_by_the_book(systemd: &mut Systemd, hang_up: impl FnOnce(), stop: impl FnOnce() -> ExitStatus) {
    wait_for("it is ready", || systemd.told().iter().any(|message| message.contains("READY=1")));
    hang_up();
    wait_for("the reload is over", || systemd.reloads() == 1);
    wait_for("a sign of life after it", || {
        let told = systemd.told().len();
        systemd.beats.last() == Some(&told)
    });
    let status = stop();
    assert!(status.success(), "{status}");
    let told = systemd.told().to_vec();
    let states = ["READY=1", "RELOADING=1", "STOPPING=1"];
    let states: Vec<&str> = told.iter().flat_map(|m| m.lines()).filter(|line| states.contains(line)).collect();
    assert_eq!(states, ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"], "{told:?}");
}

#[test]
fn both_daemons_tell_systemd_of_their_lives_in_order() {
    let mut site = Site::start("");
    let root = site.folder.path().join("root");
    host_root(&root, 21, &[("x.log", 5000)]);
    let socket = site.folder.path().join("agent.notify");
    let mut systemd = Systemd::at(&socket);
    let node = std::cell::RefCell::new(site.node("node", &root, site.agents));
    node.borrow_mut().start_under(&socket);
    lives_by_the_book(&mut systemd, || node.borrow().hang_up(), || node.borrow_mut().stop());

    let socket = site.folder.path().join("coordinator.notify");
    let mut systemd = Systemd::at(&socket);
    site.restart_under(&socket);
    let site = std::cell::RefCell::new(site);
    lives_by_the_book(&mut systemd, || site.borrow().hang_up(), || site.borrow_mut().stop());
}

fn append(path: &Path, line: &str) {
    let text = fs::read_to_string(path).expect("read");
    fs::write(path, format!("{text}\n{line}\n")).expect("written");
}

#[test]
fn an_agent_takes_a_new_configuration_and_new_collectors_at_a_hangup() {
    let site = Site::start("");
    let root = site.folder.path().join("root");
    host_root(&root, 21, &[("x.log", 5000)]);
    let socket = site.folder.path().join("agent.notify");
    let mut systemd = Systemd::at(&socket);
    let mut node = site.node("node", &root, site.agents);
    let sound = fs::read_to_string(&node.config).expect("read");
    node.start_under(&socket);
    site.online(&["node"]);
    wait_for("systemd knows that it is ready", || systemd.told().iter().any(|message| message.contains("READY=1")));

    append(&node.config, "collect = \"off\"");
    node.hang_up();
    wait_for("the reload is over", || systemd.reloads() == 1);
    let refuses = |node: &serde_json::Value| node["refuses"] == true;
    wait_for("the coordinator knows that it refuses", || refuses(&site.json(&["node", "show", "node", "--json"])));
    assert!(refuses(&site.json(&["node", "list", "--json"])[0]));
    let listed = site.sheaf(&["node", "list"]);
    assert!(text(&listed).trim_end().ends_with("\toff"), "{}", text(&listed));
    assert!(text(&site.sheaf(&["node", "show", "node"])).contains("off: its configuration refuses every order"));
    let output = site.folder.path().join("off.tar.zst");
    let done = site.bundle(&output, &["--case", "4711"]).output().expect("runs");
    assert_eq!(done.status.code(), Some(3), "{}", text(&done));
    assert!(text(&done).contains("warning: collection is switched off on 1 node: node"), "{}", text(&done));
    let warnings = site.sheaf(&["bundle", "cat", output.to_str().expect("path"), "WARNINGS.txt"]);
    assert!(text(&warnings).contains("collection is switched off on this node"), "{}", text(&warnings));
    let refused = node.log().lines().find(|line| line.contains("order refused")).expect("a record").to_owned();
    assert!(refused.contains("by=\"admin\"") && refused.contains("case=\"4711\""), "{refused}");
    assert!(refused.contains("collectors=\"logs\"") && refused.contains("switched off"), "{refused}");
    // Nor is anything looked at for whoever asks how much it would be.
    let estimate = site.sheaf(&["bundle", "estimate", "--cluster", "default"]);
    assert_eq!(estimate.status.code(), Some(3), "{}", text(&estimate));
    assert!(text(&estimate).contains("collection is switched off on this node"), "{}", text(&estimate));
    // Whoever is at the node collects all the same.
    let mut own = Command::new(SHEAF);
    own.args(["agent", "collect", "--collector", "logs", "--config"]).arg(&node.config);
    let done = own.arg("--output").arg(site.folder.path().join("own.tar.zst")).output().expect("runs");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));

    append(&node.config, "colect = \"on\"");
    node.hang_up();
    wait_for("the refusal is over", || systemd.reloads() == 2);
    assert!(node.log().contains("the new configuration is refused"), "{}", node.log());
    let status = systemd.told().last().cloned().unwrap_or_default();
    assert!(status.contains("unknown key `colect`"), "{status}");

    fs::write(&node.config, sound).expect("written");
    state_file(
        &node.folder.join("collectors.d/own.toml"),
        "name = \"own\"\nversion = \"1\"\nwhy = \"a new one\"\ndefault = false\nroots = [\"/etc\"]\n[[files]]\npaths = [\"/etc/hostname\"]\n",
    );
    node.hang_up();
    wait_for("the coordinator knows the new collector", || {
        site.json(&["node", "show", "node", "--json"])["collectors"].get("own").is_some()
    });
    let done = site.bundle(&site.folder.path().join("on.tar.zst"), &["--case", "4712"]).output().expect("runs");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    wait_for("the end is written down", || node.log().contains("order ended"));
    let log = node.log();
    let record = |words: &str| log.lines().find(|line| line.contains(words)).unwrap_or_default().to_owned();
    assert!(record("order begun").contains("case=\"4712\""), "{log}");
    let ended = record("order ended");
    assert!(
        ended.contains("by=\"admin\"") && ended.contains("bytes_sent=") && !ended.contains("bytes_sent=0"),
        "{ended}"
    );
    assert_eq!(log.matches("agent started").count(), 1, "it is the same process: {log}");
    wait_for("the clocks are compared", || {
        let shown = site.json(&["node", "show", "node", "--json"]);
        shown["clock_offset_ms"].is_i64() && shown["round_trip_ms"].is_u64()
    });
}

#[test]
fn log_rules_follow_a_hangup_in_both_daemons() {
    let mut site = Site::start("");
    let root = site.folder.path().join("root");
    host_root(&root, 22, &[("x.log", 5000)]);
    let mut node = site.node("node", &root, site.agents);
    let sockets = ["agent.notify", "coordinator.notify"].map(|name| site.folder.path().join(name));
    let [mut of_agent, mut of_coordinator] = [Systemd::at(&sockets[0]), Systemd::at(&sockets[1])];
    site.restart_under(&sockets[1]);
    node.start_under(&sockets[0]);
    site.online(&["node"]);
    assert!(node.log().contains("agent started") && site.log().contains("serving"), "info is what is logged");
    let config = site.folder.path().join("coordinator.toml");
    let sound = [&node.config, &config].map(|file| fs::read_to_string(file).expect("read"));
    let set = |rules: &str| {
        for (file, sound) in [&node.config, &config].into_iter().zip(&sound) {
            fs::write(file, format!("log = \"{rules}\"\n{sound}")).expect("written");
        }
    };

    set("error");
    node.hang_up();
    site.hang_up();
    wait_for("both have reloaded", || of_agent.reloads() == 1 && of_coordinator.reloads() == 1);
    let said = [node.log(), site.log()].map(|log| log.matches("configuration reloaded").count());
    assert_eq!(said, [0, 0], "that is no error");

    set("sheaf=loud");
    node.hang_up();
    site.hang_up();
    wait_for("both have refused", || of_agent.reloads() == 2 && of_coordinator.reloads() == 2);
    for log in [node.log(), site.log()] {
        assert!(
            log.contains("the new configuration is refused") && log.contains("`log`: `sheaf=loud` cannot be used"),
            "{log}"
        );
    }

    set("info");
    node.hang_up();
    site.hang_up();
    wait_for("both say what they do again", || {
        node.log().contains("configuration reloaded") && site.log().contains("configuration reloaded")
    });
}

#[test]
fn a_coordinator_takes_what_it_can_at_a_hangup_and_names_the_rest() {
    let mut site = Site::start("active_nodes = 4");
    let socket = site.folder.path().join("coordinator.notify");
    let mut systemd = Systemd::at(&socket);
    site.restart_under(&socket);
    let config = site.folder.path().join("coordinator.toml");
    append(&config, "stall_secs = 9\nmemory_mib = 99");
    site.hang_up();
    wait_for("the reload is over", || systemd.reloads() == 1);
    let log = site.log();
    let record = log.lines().find(|line| line.contains("configuration reloaded")).expect("a record");
    assert!(record.contains("needs_restart=\"limits.memory_mib"), "{record}");
    append(&config, "stal_secs = 9");
    site.hang_up();
    wait_for("the refusal is over", || systemd.reloads() == 2);
    assert!(systemd.told().last().is_some_and(|told| told.contains("stal_secs")), "{:?}", systemd.told);
    assert!(site.log().contains("the new configuration is refused"), "{}", site.log());
    let done = site.sheaf(&["cluster", "list"]);
    assert!(done.status.success(), "it serves on: {}", text(&done));
}
