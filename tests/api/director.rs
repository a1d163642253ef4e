//! The director's dialect as its clients speak it: a connection per request, redirects to tasks, event logs read piece by piece, results
//! decoded into exactly the types that they have; against real agents, a coordinator's restart and a silent node included.

use std::io::Read as _;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::house::{Answered, House, basic};
use crate::node::{Agent, auth, online, until};

async fn get(house: &House, path: &str) -> Answered {
    house.call("GET", path, &auth(house), "").await
}

/// A manifest over all nodes with the label, for one site.
fn manifest(site: &str) -> String {
    format!(
        "---\n# kept to the byte\nname: web\nreleases:\n- {{name: web-pack, version: 1.4.0}}\ninstance_groups:\n- name: front\n  \
         labels: {{role: web}}\n  instances: 2\n  jobs:\n  - name: sites\n    release: web-pack\n    properties: {{site: {site}}}\n"
    )
}

async fn post(house: &House, path: &str, text: &str) -> Answered {
    let header = [auth(house)[0], ("content-type", "text/yaml; charset=utf-8")];
    house.call("POST", path, &header, text).await
}

/// Follows what became a task as the client does, and gives the task's last state and its events.
async fn follow(house: &House, begun: Answered) -> (Value, Vec<Value>) {
    assert_eq!(begun.status, 302, "{begun:?}");
    let location = begun.header("location").to_owned();
    let path = location.strip_prefix(&house.url).unwrap_or_else(|| panic!("{location} is ours")).to_owned();
    let (mut offset, mut log) = (0, Vec::new());
    loop {
        let task = get(house, &path).await.json();
        let range = format!("bytes={offset}-");
        let header = [auth(house)[0], ("range", range.as_str())];
        let part = house.call("GET", &format!("{path}/output?type=event"), &header, "").await;
        match part.status {
            206 => {
                let total = offset + part.body.len();
                assert_eq!(part.header("content-range"), format!("bytes {offset}-{}/{total}", total - 1));
                offset = total;
                log.extend_from_slice(&part.body);
            }
            416 => assert_eq!(part.header("content-range"), format!("bytes */{offset}")),
            other => panic!("{other}: {part:?}"),
        }
        let state = task["state"].as_str().expect("a state");
        if !["queued", "processing", "cancelling"].contains(&state) {
            assert!(log.is_empty() || log.ends_with(b"\n"), "every line has its end");
            let lines = String::from_utf8(log).expect("text");
            let events = lines.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
            assert!(task["timestamp"].is_i64() && task["started_at"].is_i64() && task["result"].is_string(), "{task}");
            return (task, events);
        }
        assert!(task["timestamp"].is_null(), "{task}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn result(house: &House, task: &Value) -> String {
    let answer = get(house, &format!("/tasks/{}/output?type=result", task["id"])).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text()
}

/// What the Go client decodes a line into. A wrong type is an error there, and here.
#[derive(Debug, Deserialize)]
struct Vm {
    agent_id: String,
    vm_cid: String,
    job_name: String,
    id: String,
    index: Option<i64>,
    job_state: String,
    active: Option<bool>,
    state: String,
    az: String,
    vm_type: String,
    resource_pool: String,
    disk_cid: Option<String>,
    disk_cids: Vec<String>,
    ips: Vec<String>,
    dns: Vec<String>,
    bootstrap: bool,
    ignore: bool,
    resurrection_paused: bool,
    vm_created_at: Option<String>,
    stemcell: Stemcell,
    vitals: Option<Vitals>,
    processes: Vec<Process>,
}

#[derive(Debug, Deserialize)]
struct Stemcell {
    name: String,
    version: String,
    api_version: i64,
}

#[derive(Debug, Deserialize)]
struct Vitals {
    cpu: Cpu,
    mem: Memory,
    swap: Memory,
    load: [String; 3],
    uptime: Uptime,
    disk: std::collections::BTreeMap<String, Percents>,
}

#[derive(Debug, Deserialize)]
struct Cpu {
    sys: String,
    user: String,
    wait: String,
}

#[derive(Debug, Deserialize)]
struct Memory {
    kb: String,
    percent: String,
}

#[derive(Debug, Deserialize)]
struct Percents {
    percent: String,
    inode_percent: String,
}

#[derive(Debug, Deserialize)]
struct Uptime {
    secs: u64,
}

#[derive(Debug, Deserialize)]
struct Process {
    name: String,
    state: String,
    uptime: Uptime,
    mem: Used,
    cpu: Total,
}

#[derive(Debug, Deserialize)]
struct Used {
    kb: u64,
    percent: f64,
}

#[derive(Debug, Deserialize)]
struct Total {
    total: f64,
}

impl Vm {
    fn check(&self) {
        for text in [&self.agent_id, &self.vm_cid, &self.job_name, &self.id, &self.state, &self.az, &self.vm_type] {
            assert!(!text.is_empty(), "{self:?}");
        }
        assert!(self.resource_pool == "node" && self.disk_cid.is_none() && self.disk_cids.is_empty() && !self.ignore);
        assert!(self.index.is_some() && self.active.is_some() && self.resurrection_paused);
        for ip in &self.ips {
            let ip: std::net::IpAddr = ip.parse().expect("an address");
            assert!(!ip.is_loopback() && !ip.is_unspecified(), "{self:?}");
        }
        assert_eq!(self.bootstrap, self.index == Some(0));
        assert!(self.dns.iter().all(|name| !name.is_empty()));
        let made = self.vm_created_at.as_deref().expect("a time");
        made.parse::<jiff::Timestamp>().expect("RFC 3339");
        assert!(!self.stemcell.name.is_empty() && !self.stemcell.version.is_empty() && self.stemcell.api_version >= 0);
        let Some(vitals) = &self.vitals else { return assert!(self.processes.is_empty()) };
        let numbers = [&vitals.cpu.sys, &vitals.cpu.user, &vitals.cpu.wait, &vitals.mem.kb, &vitals.mem.percent];
        let more = [&vitals.swap.kb, &vitals.swap.percent];
        let disks = vitals.disk.values().flat_map(|disk| [&disk.percent, &disk.inode_percent]);
        for number in numbers.into_iter().chain(more).chain(&vitals.load).chain(disks) {
            number.parse::<f64>().unwrap_or_else(|_| panic!("{number} is a number in {self:?}"));
        }
        assert!(vitals.uptime.secs > 0 || vitals.mem.kb == "0", "{vitals:?}");
        for process in &self.processes {
            assert!(!process.name.is_empty() && !process.state.is_empty());
            assert!(process.mem.percent >= 0.0 && process.cpu.total >= 0.0 && process.uptime.secs < u64::MAX);
            assert!(process.mem.kb < 1 << 40);
        }
    }
}

async fn full(house: &House, what: &str) -> Vec<Vm> {
    let (task, _) = follow(house, get(house, &format!("/deployments/web/{what}?format=full")).await).await;
    assert_eq!(task["state"], "done", "{task}");
    let text = result(house, &task).await;
    let vms: Vec<Vm> =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect();
    vms.iter().for_each(Vm::check);
    vms
}

/// Fetches logs, and gives the tar that is in the .tgz.
async fn archive(house: &House, which: &str) -> Vec<u8> {
    let (task, _) = follow(house, get(house, &format!("/deployments/web/jobs/{which}")).await).await;
    assert_eq!(task["state"], "done", "{task}");
    let blob = get(house, &format!("/resources/{}", task["result"].as_str().expect("an id"))).await;
    assert_eq!((blob.status, blob.header("content-type"), blob.whole), (200, "application/x-gzip", true));
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&blob.body[..]).read_to_end(&mut plain).expect("gzip");
    plain
}

/// Fetches logs, and gives the paths below the bundle's folder.
async fn logs(house: &House, which: &str) -> Vec<String> {
    let plain = archive(house, which).await;
    let mut archive = tar::Archive::new(&plain[..]);
    let paths = archive.entries().expect("a tar").map(|entry| {
        let path = entry.expect("an entry").path().expect("a path").display().to_string();
        path.split_once('/').expect("a folder").1.to_owned()
    });
    paths.collect()
}

fn of_site(paths: &[String], site: &str) -> usize {
    paths.iter().filter(|path| path.ends_with(&format!("/var/log/sites/{site}/access.log"))).count()
}

/// What the bundle has below its folder that ends so.
fn member(archive: &[u8], end: &str) -> Vec<u8> {
    let mut archive = tar::Archive::new(archive);
    let mut entries = archive.entries().expect("a tar").map(|entry| entry.expect("an entry"));
    let mut entry = entries.find(|entry| entry.path().expect("a path").ends_with(end)).expect("it is there");
    let mut content = Vec::new();
    entry.read_to_end(&mut content).expect("read");
    content
}

/// The dialect has no word for budgets, so the coordinator's own are all that bounds such a download: in it, and on the nodes.
#[tokio::test(flavor = "multi_thread")]
async fn logs_have_the_coordinators_budgets() {
    let house = House::configured(|config| {
        (config.bundle.node_budget_mib, config.bundle.budget_mib) = (Some(1), Some(50));
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let _one = Agent::new(&house, folder.path(), "n1", "default").await;
    let _two = Agent::new(&house, folder.path(), "n2", "default").await;
    online(&house, "n1", true).await;
    online(&house, "n2", true).await;
    let line = |n: u32| format!("a line of red, number {n:08}\n");
    let large: String = (0..100_000).map(line).collect();
    std::fs::write(folder.path().join("n1/root/var/log/sites/red/access.log"), &large).expect("a log");
    let (task, _) = follow(&house, post(&house, "/deployments", &manifest("red")).await).await;
    assert_eq!(task["state"], "done", "{task}");
    let archive = archive(&house, "*/*/logs?type=job").await;
    let request: Value = serde_json::from_slice(&member(&archive, "REQUEST.json")).expect("json");
    assert_eq!(request["budgets"], json!({ "node": 1_u64 << 20, "bundle": 50_u64 << 20 }), "{request}");
    let cut = member(&archive, "nodes/n1/files/var/log/sites/red/access.log");
    let cut = String::from_utf8(cut).expect("text");
    assert!(large.len() > 2 << 20 && cut.len() < 1 << 20, "{}", cut.len());
    assert!(cut.starts_with(&line(0)) && cut.ends_with(&line(99_999)) && cut.contains("(budget of "), "{:.200}", cut);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_whole_way() {
    let mut house = House::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (mut one, mut two) = (
        Agent::new(&house, folder.path(), "n1", "default").await,
        Agent::new(&house, folder.path(), "n2", "default").await,
    );
    online(&house, "n1", true).await;
    online(&house, "n2", true).await;

    let releases = get(&house, "/releases").await.json();
    let pack = releases.as_array().expect("rows").iter().find(|row| row["name"] == "web-pack").expect("the pack");
    assert_eq!(pack["release_versions"][0]["version"], "1.4.0");
    assert_eq!(pack["release_versions"][0]["job_names"], json!(["sites"]));
    assert_eq!(pack["release_versions"][0]["currently_deployed"], false);

    // What a deploy asks first.
    assert_eq!(get(&house, "/configs?latest=true&limit=1&type=deploy").await.json(), json!([]));
    let diff = post(&house, "/deployments/web/diff?redact=true", &manifest("red")).await;
    assert_eq!((diff.status, &diff.json()["context"]), (200, &json!({})));
    let lines = diff.json()["diff"].as_array().expect("lines").clone();
    assert!(lines.iter().all(|line| line[1] == "added") && !lines.is_empty());
    assert!(!diff.text().contains("red\"") && diff.text().contains("site: <redacted>"), "{}", diff.text());

    // Nothing of it is done by a dry run, nor by what cannot be.
    for (query, text, state) in [
        ("?dry_run=true&context=%7B%7D", manifest("red"), "done"),
        ("", manifest("red").replace("instances: 2", "instances: 3"), "errored"),
        ("", manifest("red").replace("name: sites", "name: absent"), "errored"),
        ("", manifest("red").replace("version: 1.4.0", "version: 9"), "errored"),
        ("", manifest("red").replace("  jobs:", "  stemcell: none\n  jobs:"), "errored"),
    ] {
        let (task, events) = follow(&house, post(&house, &format!("/deployments{query}"), &text).await).await;
        assert_eq!((&task["state"], &task["deployment"]), (&json!(state), &json!("web")), "{task}");
        assert_eq!(events.iter().any(|event| event["error"]["code"] == 440_001), state == "errored", "{events:?}");
        assert_eq!(get(&house, "/deployments").await.json(), json!([]));
    }

    let (task, events) = follow(&house, post(&house, "/deployments", &manifest("red")).await).await;
    assert_eq!((&task["state"], &task["result"]), (&json!("done"), &json!("/deployments/web")), "{task}");
    let steps: Vec<_> = events.iter().filter(|event| event["stage"] == "Updating instance").collect();
    assert_eq!(steps.iter().filter(|step| step["state"] == "finished" && step["progress"] == 100).count(), 2);
    assert!(steps.iter().all(|step| step["tags"] == json!(["front"]) && step["total"] == 2));
    assert_eq!(get(&house, "/deployments/web").await.json(), json!({ "manifest": manifest("red") }));
    let row = &get(&house, "/deployments?exclude_configs=true").await.json()[0];
    assert_eq!((&row["name"], &row["releases"]), (&json!("web"), &json!([{ "name": "web-pack", "version": "1.4.0" }])));
    assert_eq!(get(&house, "/stemcells").await.json()[0]["deployments"], json!([{ "name": "web" }]));

    let plain = get(&house, "/deployments/web/vms").await.json();
    assert_eq!(plain.as_array().expect("rows").len(), 2);
    assert!(plain[0]["agent_id"].is_string() && plain[0]["index"] == 0 && plain[0]["job"] == "front", "{plain}");
    for what in ["vms", "instances"] {
        let vms = full(&house, what).await;
        assert!(
            vms.len() == 2 && vms.iter().all(|vm| vm.vitals.is_some() && vm.job_state != "unresponsive agent"),
            "{vms:?}"
        );
    }

    // The manifest says what is collected.
    let of_red = logs(&house, "*/*/logs?type=job").await;
    assert_eq!((of_site(&of_red, "red"), of_site(&of_red, "blue")), (2, 0), "{of_red:?}");
    assert_eq!(of_site(&logs(&house, "front/1/logs?type=job&filters=sit*,x").await, "red"), 1);
    // A filter is a job, files of a job, or files of all jobs.
    let ending = |paths: &[String], end: &str| paths.iter().filter(|path| path.ends_with(end)).count();
    for (filters, access, error) in [
        ("sites", 2, 2),
        ("sites/access.log", 2, 0),
        ("sites%2F**%2F*", 2, 2),
        ("error.*", 0, 2),
        ("red/error.log,nothing.log", 0, 2),
        ("blue/error.log", 0, 0),
    ] {
        let paths = logs(&house, &format!("*/*/logs?type=job&filters={filters}")).await;
        assert_eq!(
            (ending(&paths, "/access.log"), ending(&paths, "/error.log")),
            (access, error),
            "{filters}: {paths:?}"
        );
    }
    let absent = get(&house, "/deployments/web/jobs/*/*/logs?type=job&filters=other").await;
    assert_eq!((absent.status, &absent.json()["code"]), (404, &json!(70_010)), "{absent:?}");
    for query in ["since=1h&until=2h".to_owned(), format!("filters={}", vec!["x"; 300].join(","))] {
        let senseless = get(&house, &format!("/deployments/web/jobs/*/*/logs?type=job&{query}")).await;
        assert_eq!((senseless.status, &senseless.json()["code"]), (400, &json!(40_000)), "{senseless:?}");
    }
    assert!(logs(&house, "front/0/logs?type=agent,job,system").await.len() > of_red.len() / 2);
    let (task, _) = follow(&house, post(&house, "/deployments", &manifest("blue")).await).await;
    assert_eq!(task["state"], "done", "{task}");
    let of_blue = logs(&house, "*/*/logs?type=job").await;
    assert_eq!((of_site(&of_blue, "red"), of_site(&of_blue, "blue")), (0, 2), "{of_blue:?}");

    // A node that is away fails the deploy and keeps what it had; the manifest is the last that all took.
    two.stop();
    online(&house, "n2", false).await;
    let (task, events) = follow(&house, post(&house, "/deployments", &manifest("red")).await).await;
    assert_eq!(task["state"], "errored", "{task}");
    let failed: Vec<_> = events.iter().filter(|event| event["state"] == "failed").collect();
    assert_eq!(failed.len(), 1, "{events:?}");
    assert_eq!(failed[0]["data"]["error"], "the node is not connected");
    assert!(failed[0]["task"].as_str().expect("text").ends_with("on n2"), "{failed:?}");
    assert_eq!(get(&house, "/deployments/web").await.json(), json!({ "manifest": manifest("blue") }));
    let shown = get(&house, "/sheaf/v1/deployments/web").await.json();
    let states: Vec<_> = shown["instances"].as_array().expect("rows").iter().map(|row| &row["state"]).collect();
    assert_eq!((&shown["state"], states), (&json!("stale"), vec![&json!("current"), &json!("stale")]), "{shown}");
    let vms = full(&house, "vms").await;
    assert_eq!((vms[1].job_state.as_str(), vms[1].vitals.is_none()), ("unresponsive agent", true), "{vms:?}");
    assert!(vms[0].vitals.is_some());

    // All of it outlives the coordinator, and who comes back catches up.
    house.restart().await;
    let again = get(&house, &format!("/tasks/{}", task["id"])).await.json();
    assert_eq!(again, task);
    two.start();
    until("the node has caught up", async || {
        get(&house, "/deployments/web").await.json() == json!({ "manifest": manifest("red") })
    })
    .await;
    online(&house, "n1", true).await;
    assert_eq!(of_site(&logs(&house, "*/*/logs?type=job").await, "red"), 2);

    // A deletion needs all its agents, unless it is forced; then they are told when they come back.
    one.stop();
    online(&house, "n1", false).await;
    let delete =
        async |query: &str| house.call("DELETE", &format!("/deployments/web?{query}"), &auth(&house), "").await;
    assert_eq!(follow(&house, delete("").await).await.0["state"], "errored");
    assert_eq!(get(&house, "/deployments/web").await.status, 200);
    assert_eq!(follow(&house, delete("force=true").await).await.0["state"], "done");
    assert_eq!(get(&house, "/deployments/web").await.status, 404);
    let kept = folder.path().join("n1/state/deployments/web.json");
    assert!(kept.exists() && !folder.path().join("n2/state/deployments/web.json").exists());
    one.start();
    until("the node was told", async || !kept.exists()).await;
}

/// Processes of this machine that have the word among their arguments.
fn with_argument(word: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.filter(|line| line.split(|byte| *byte == 0).any(|part| part == word.as_bytes())).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_is_cancelled_down_to_the_nodes() {
    let house = House::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    // No other process of this machine sleeps for so long.
    let seconds = format!("{}.5", 90_000 + std::process::id());
    let _agent = Agent::slow(&house, folder.path(), "n1", &seconds).await;
    online(&house, "n1", true).await;
    let text = "name: web\nreleases:\n- {name: sheaf-collectors, version: latest}\ninstance_groups:\n- name: g\n  nodes: [n1]\n  \
                jobs:\n  - {name: system, release: sheaf-collectors}\n";
    assert_eq!(follow(&house, post(&house, "/deployments", text).await).await.0["state"], "done");

    // As this machine is the node, its own addresses are said, and none of loopback.
    let mut told: Vec<_> = full(&house, "vms").await.into_iter().flat_map(|vm| vm.ips).collect();
    let short = get(&house, "/deployments/web/vms").await.json();
    assert_eq!(short[0]["ips"], json!(told), "the same in both");
    let addresses = sysinfo_addresses();
    told.retain(|ip| !addresses.contains(ip));
    assert!(told.is_empty(), "{told:?} of {addresses:?}");

    let text = text.replace("sheaf-collectors, version: latest", "local, version: latest");
    let text = text.replace("{name: system, release: sheaf-collectors}", "{name: slow, release: local}");
    let releases = get(&house, "/releases").await.json();
    let local =
        releases.as_array().expect("rows").iter().find(|row| row["name"] != "sheaf-collectors").expect("a pack");
    let text = text.replace("local", local["name"].as_str().expect("a name"));
    assert_eq!(follow(&house, post(&house, "/deployments", &text).await).await.0["state"], "done");
    for by_id in [true, false] {
        let begun = get(&house, "/deployments/web/jobs/*/*/logs?type=job").await;
        let id = begun.header("location").rsplit('/').next().expect("an id").to_owned();
        until("the command runs", async || with_argument(&seconds) == 1).await;
        assert_eq!(get(&house, &format!("/tasks/{id}")).await.json()["state"], "processing");
        let asked = std::time::Instant::now();
        let cancelled = if by_id {
            house.call("DELETE", &format!("/task/{id}"), &auth(&house), "").await
        } else {
            house.call("POST", "/tasks/cancel", &auth(&house), r#"{"deployment":"web","types":["logs"]}"#).await
        };
        assert_eq!(cancelled.status, 204, "{cancelled:?}");
        until("the command is gone", async || with_argument(&seconds) == 0).await;
        let (task, _) = follow(&house, begun).await;
        assert_eq!(task["state"], "cancelled", "{task}");
        assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
        let again = house.call("DELETE", &format!("/task/{id}"), &auth(&house), "").await;
        assert_eq!((again.status, again.text().contains("invalid state (cancelled)")), (400, true), "{again:?}");
        assert_eq!(get(&house, &format!("/resources/{}", "0".repeat(12))).await.status, 404);
    }
    // What it held is free: the next one of the same runs at once.
    assert_eq!(follow(&house, get(&house, "/deployments/web/vms?format=full").await).await.0["state"], "done");
}

/// What others may know this machine by.
fn sysinfo_addresses() -> Vec<String> {
    let output = std::process::Command::new("cat").args(["/proc/net/fib_trie", "/proc/net/if_inet6"]).output();
    let text = String::from_utf8(output.expect("cat runs").stdout).expect("text");
    let mut found = Vec::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some((_, address)) = line.split_once("|-- ") {
            address.clone_into(&mut last);
        } else if line.contains("/32 host LOCAL") && !last.starts_with("127.") {
            found.push(last.clone());
        } else if line.len() > 32 && line.as_bytes()[..32].iter().all(u8::is_ascii_hexdigit) {
            let bits = u128::from_str_radix(&line[..32], 16).expect("hexadecimal");
            found.push(std::net::Ipv6Addr::from_bits(bits).to_string());
        }
    }
    found
}

#[tokio::test]
async fn wrong_credentials_are_as_none_for_info_and_for_nothing_else() {
    let house = House::new().await;
    let wrong = basic("admin", "wrong");
    let info = house.call("GET", "/info", &[], "").await;
    assert_eq!(info.status, 200);
    let info = info.json();
    assert_eq!(
        (&info["user"], &info["user_authentication"]),
        (&Value::Null, &json!({ "type": "basic", "options": {} }))
    );
    assert_eq!(info["features"]["snapshots"]["status"], false);
    info["uuid"].as_str().expect("text").parse::<uuid::Uuid>().expect("a UUID");
    assert_eq!(house.call("GET", "/info", &[("authorization", wrong.as_str())], "").await.json(), info);
    assert_eq!(get(&house, "/info").await.json()["user"], "admin");
    for (method, path) in [
        ("GET", "/tasks"),
        ("GET", "/tasks/1"),
        ("GET", "/tasks/1/output"),
        ("DELETE", "/task/1"),
        ("POST", "/tasks/cancel"),
        ("GET", "/stemcells"),
        ("GET", "/releases"),
        ("GET", "/configs"),
        ("GET", "/locks"),
        ("GET", "/deployments"),
        ("POST", "/deployments"),
        ("GET", "/deployments/x"),
        ("DELETE", "/deployments/x"),
        ("POST", "/deployments/x/diff"),
        ("GET", "/deployments/x/vms"),
        ("GET", "/deployments/x/instances?format=full"),
        ("GET", "/deployments/x/jobs/*/*/logs"),
        ("GET", "/resources/x"),
    ] {
        let bare = path.split('?').next().expect("a path");
        for header in [&[][..], &[("authorization", wrong.as_str())]] {
            let answer = house.call(method, path, header, "").await;
            if answer.status == 429 {
                // So many wrong log-ins are slowed down.
                continue;
            }
            assert_eq!((answer.status, answer.text()), (401, format!("Not authorized: '{bare}'\n")), "{method} {path}");
            assert_eq!(answer.header("www-authenticate"), "Basic realm=\"BOSH Director\"");
        }
    }
}

#[tokio::test]
async fn every_error_has_the_directors_words() {
    let house = House::new().await;
    let yaml = "text/yaml";
    let long = format!("name: {}", "x".repeat(2 << 20));
    let bomb = format!("name: a\nx: {}{}", "[".repeat(400), "]".repeat(400));
    let coded = |code: u32, description: &str| json!({ "code": code, "description": description }).to_string();
    for (method, path, kind, body, status, said) in [
        ("GET", "/tasks/5", "", "", 404, coded(10_000, "Task 5 not found")),
        ("GET", "/tasks/x", "", "", 404, coded(10_000, "Task x not found")),
        ("GET", "/tasks/5/output?type=event", "", "", 404, coded(10_000, "Task 5 not found")),
        ("DELETE", "/task/5", "", "", 404, coded(10_000, "Task 5 not found")),
        ("GET", "/tasks?limit=x", "", "", 400, coded(40_000, "`limit` is a number")),
        ("GET", "/deployments/no", "", "", 404, coded(70_000, "Deployment 'no' doesn't exist")),
        ("DELETE", "/deployments/no?", "", "", 404, coded(70_000, "Deployment 'no' doesn't exist")),
        ("GET", "/deployments/no/vms", "", "", 404, coded(70_000, "Deployment 'no' doesn't exist")),
        ("GET", "/deployments/no/vms?format=full", "", "", 404, coded(70_000, "Deployment 'no' doesn't exist")),
        ("GET", "/deployments/no/jobs/*/*/logs?type=job", "", "", 404, coded(70_000, "Deployment 'no' doesn't exist")),
        (
            "GET",
            "/deployments/no/jobs/*/*/logs?type=x",
            "",
            "",
            400,
            coded(40_000, "there are no logs of the type `x`"),
        ),
        (
            "GET",
            "/deployments/no/jobs/*/*/logs?type=job&since=2y",
            "",
            "",
            400,
            coded(
                40_000,
                "`since`: `2y` is no time: write one as 2026-11-21T16:02:00Z, a day (UTC) as 2026-11-21, how long ago it was as 45m, 2h or 3d, or now",
            ),
        ),
        ("GET", "/resources/x", "", "", 404, coded(100_001, "Resource 'x' not found")),
        ("POST", "/deployments", "", "name: a", 404, "Endpoint '/deployments' not found.".into()),
        ("POST", "/deployments", "application/json", "{}", 404, "Endpoint '/deployments' not found.".into()),
        ("POST", "/deployments/a/diff", "text/plain", "a", 404, "Endpoint '/deployments/a/diff' not found.".into()),
        ("POST", "/deployments", yaml, "releases: []", 400, coded(40_001, "the manifest has no `name`")),
        (
            "POST",
            "/deployments",
            yaml,
            "",
            400,
            coded(440_001, "the manifest must be a mapping, with `name` and `instance_groups`"),
        ),
        (
            "POST",
            "/deployments",
            yaml,
            "- a",
            400,
            coded(440_001, "the manifest must be a mapping, with `name` and `instance_groups`"),
        ),
        ("POST", "/deployments", yaml, bomb.as_str(), 400, "\"code\":440001".into()),
        ("POST", "/deployments", yaml, long.as_str(), 413, coded(440_001, "the manifest is longer than 1048576 bytes")),
        ("POST", "/deployments?context=%5B", yaml, "name: a", 400, coded(40_000, "`context` is a JSON object")),
        ("POST", "/deployments/a/diff", yaml, "[", 400, "\"code\":440001".into()),
        ("PUT", "/deployments/a", yaml, "x", 404, "Endpoint '/deployments/a' not found.".into()),
        ("GET", "/cloud_configs", "", "", 404, "Endpoint '/cloud_configs' not found.".into()),
        ("GET", "/", "", "", 404, "Endpoint '/' not found.".into()),
    ] {
        let header = [auth(&house)[0], ("content-type", kind)];
        let header = if kind.is_empty() { &header[..1] } else { &header[..] };
        let answer = house.call(method, path, header, body).await;
        let body: String = body.chars().take(40).collect();
        assert_eq!(answer.status, status, "{method} {path} {body}: {answer:?}");
        let text = answer.text();
        assert!(text == said || (said.starts_with('"') && text.contains(&said)), "{method} {path} {body}: {text}");
        if text.starts_with('{') {
            assert_eq!(answer.header("content-type"), "application/json");
        }
    }
    assert_eq!(get(&house, "/locks").await.json(), json!([]));
}

#[tokio::test]
async fn tasks_are_listed_by_what_is_asked_and_cancelled_once() {
    let house = House::new().await;
    let run = async |name: &str, context: &str| {
        let header = [auth(&house)[0], ("content-type", "text/yaml"), ("x-bosh-context-id", context)];
        let text = format!("name: {name}\ninstance_groups:\n- {{name: g, instances: 0}}\n");
        let begun = house.call("POST", "/deployments", &header, &text).await;
        follow(&house, begun).await.0
    };
    let (a, b) = (run("a", "").await, run("b", "ours").await);
    assert_eq!((&a["state"], &a["context_id"], &b["context_id"]), (&json!("done"), &json!(""), &json!("ours")));
    follow(&house, get(&house, "/deployments/a/vms?format=full").await).await;
    let ids = async |query: &str| -> Vec<i64> {
        let rows = get(&house, &format!("/tasks{query}")).await.json();
        rows.as_array().expect("rows").iter().map(|row| row["id"].as_i64().expect("a number")).collect()
    };
    for (query, expected) in [
        ("", &[2, 1][..]),
        ("?verbose=2", &[3, 2, 1]),
        ("?verbose=1&limit=1", &[2]),
        ("?verbose=2&limit=0", &[3]),
        ("?verbose=2&limit=-4", &[3]),
        ("?deployment=a&verbose=2", &[3, 1]),
        ("?deployment=no", &[]),
        ("?deployment=..%2F", &[]),
        ("?context_id=ours", &[2]),
        ("?state=done,errored", &[2, 1]),
        ("?state=processing,cancelling,queued&verbose=2", &[]),
        ("?state=strange", &[]),
    ] {
        assert_eq!(ids(query).await, expected, "{query}");
    }
    let output = async |id: i64, query: &str, range: &str| {
        let header = [auth(&house)[0], ("range", range)];
        let header = if range.is_empty() { &header[..1] } else { &header[..] };
        house.call("GET", &format!("/tasks/{id}/output{query}"), header, "").await
    };
    let whole = output(2, "?type=event", "").await;
    assert_eq!((whole.status, whole.header("content-range")), (200, ""));
    let total = whole.body.len();
    let part = output(2, "?type=event", "bytes=5-9").await;
    assert_eq!((part.status, &part.body[..]), (206, &whole.body[5..10]));
    assert_eq!(part.header("content-range"), format!("bytes 5-9/{total}"));
    let end = output(2, "?type=event", &format!("bytes={total}-")).await;
    assert_eq!((end.status, end.header("content-range").to_owned()), (416, format!("bytes */{total}")));
    for query in ["?type=result", "?type=none", "?type=cpi"] {
        assert_eq!(output(3, query, "").await.status, 204, "{query}");
    }
    assert_eq!(output(3, "?type=result", "bytes=0-").await.status, 416, "an empty log ends at its begin");
    let cancel = house.call("DELETE", "/task/1", &auth(&house), "").await;
    assert_eq!((cancel.status, cancel.text()), (400, "Cannot cancel task 1: invalid state (done)".to_owned()));
    for body in ["", "{}", r#"{"deployment":"a","types":["deploy"],"states":["queued"]}"#] {
        assert_eq!(house.call("POST", "/tasks/cancel", &auth(&house), body).await.status, 204, "{body}");
    }
}

#[tokio::test]
async fn a_deployment_is_for_those_whose_scope_holds_all_its_nodes() {
    let house = House::with_node().await;
    let call = async |method: &str, path: &str, body: Value| {
        let made = house.call(method, path, &auth(&house), &body.to_string()).await;
        assert!(made.status < 300, "{made:?}");
    };
    call("POST", "/sheaf/v1/clusters", json!({ "name": "other" })).await;
    for (name, cluster, role) in
        [("inside", "default", "operator"), ("outside", "other", "admin"), ("reader", "default", "viewer")]
    {
        let user =
            json!({ "name": name, "password": "a long password", "role": role, "scope": { "clusters": [cluster] } });
        call("POST", "/sheaf/v1/users", user).await;
    }
    // Addresses that a node said are said of it while it is away, too.
    let jobs = "name: fixed\nreleases:\n- {name: p, version: '1'}\ninstance_groups:\n- {name: g, nodes: [n1], jobs: [{name: j, release: p}]}\n";
    assert_eq!(follow(&house, post(&house, "/deployments?fix=true", jobs).await).await.0["state"], "done");
    let ips = json!(["192.0.2.7", "2001:db8::7"]);
    assert_eq!(get(&house, "/deployments/fixed/vms").await.json()[0]["ips"], ips);
    let (task, _) = follow(&house, get(&house, "/deployments/fixed/vms?format=full").await).await;
    let line: Value = serde_json::from_str(&result(&house, &task).await).expect("a line");
    assert_eq!((&line["ips"], &line["job_state"]), (&ips, &json!("unresponsive agent")));
    assert_eq!(
        follow(&house, house.call("DELETE", "/deployments/fixed?force=true", &auth(&house), "").await).await.0["state"],
        "done"
    );
    // The node is away: the deployment stands all the same, and waits for it. It knows no releases, and needs a job.
    let text = "name: web\ninstance_groups:\n- {name: g, nodes: ['*']}\n";
    let (task, events) = follow(&house, post(&house, "/deployments?fix=true", text).await).await;
    assert_eq!(task["state"], "errored", "{events:?}");
    assert!(task["result"].as_str().expect("text").contains("has no jobs"), "{task}");
    let empty = "name: web\ninstance_groups:\n- {name: g, instances: 0}\n";
    assert_eq!(follow(&house, post(&house, "/deployments", empty).await).await.0["state"], "done");
    // One without nodes is nobody's part.
    for (name, method, path, status) in [
        ("inside", "GET", "/deployments/web", 403),
        ("outside", "GET", "/deployments/web", 403),
        ("outside", "DELETE", "/deployments/web", 403),
        ("outside", "POST", "/deployments", 403),
        ("outside", "GET", "/deployments/web/vms?format=full", 403),
        ("reader", "POST", "/deployments", 403),
        ("reader", "GET", "/deployments", 200),
    ] {
        let who = basic(name, "a long password");
        let header = [("authorization", who.as_str()), ("content-type", "text/yaml")];
        let answer = house.call(method, path, &header, empty).await;
        assert_eq!(answer.status, status, "{name} {method} {path}: {answer:?}");
        if status == 403 {
            assert_eq!(answer.json()["code"], 600_000, "{answer:?}");
        } else {
            assert_eq!(answer.json(), json!([]));
        }
    }
    // Nor is the other's node there for them.
    let who = basic("outside", "a long password");
    let header = [("authorization", who.as_str())];
    assert_eq!(house.call("GET", "/stemcells", &header, "").await.json(), json!([]));
}
