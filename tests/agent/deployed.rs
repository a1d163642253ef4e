//! Questions to a real daemon: how it is, what it keeps, and what a bundle by deployment holds.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use sheaf::agent::config::AgentConfig;
use sheaf::bundle::Format;
use sheaf::bundle::outcome::{Outcome, Verdict};
use sheaf::coordinator::run::{AskError, BundleSpec, Event, NodePart, TaskEnd, TaskLog, Watch};
use sheaf::coordinator::verbs::{How, Manifest};
use sheaf::id::{NodeName, TaskId};
use sheaf::protocol::control::TaskState;
use sheaf::protocol::questions::{Applied, Apply, Deployment, Job, LOCAL_PACK, Question, Reply};

use crate::kit::{Agent, Coordinator, Node, log, manifest, node_row, until, verdict};

/// Numbers of tasks: an agent may still be at the end of one while the next begins.
static TASKS: AtomicU64 = AtomicU64::new(100);
const DEADLINE: Duration = Duration::from_secs(60);

/// Events are of no interest here.
struct Unheard;

impl TaskLog for Unheard {
    fn events(&self, _: TaskId, _: Vec<Event>) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
    fn finish(&self, _: TaskId, _: TaskEnd, _: String) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

const SITES: &str = r#"
name = "sites"
version = "1"
why = "A test."
default = false
roots = ["/var/log/sites"]
[properties.site]
pattern = "[a-z-]+"
description = "Whose logs."
[[files]]
paths = ["/var/log/sites/{{site}}/*.log"]
"#;

/// A node with logs of two sites, and a collector with a property for them.
fn node() -> Node {
    let node = Node::new();
    for (path, mode) in [("root/var/log/sites/red", 0o755), ("root/var/log/sites/blue", 0o755), ("collectors.d", 0o755)]
    {
        fs::create_dir_all(node.path(path)).expect("a folder");
        fs::set_permissions(node.path(path), fs::Permissions::from_mode(mode)).expect("chmod");
    }
    fs::write(node.path("root/var/log/sites/red/access.log"), log(1, 20_000)).expect("a log");
    fs::write(node.path("root/var/log/sites/blue/access.log"), log(2, 30_000)).expect("a log");
    declare(&node, SITES);
    node
}

fn declare(node: &Node, text: &str) {
    let file = node.path("collectors.d/sites.toml");
    fs::write(&file, text).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
}

async fn enrol(coordinator: &Coordinator, node: &Node) -> AgentConfig {
    let config = coordinator.enrol(node, "n1", coordinator.agents).await;
    AgentConfig { collectors_dirs: vec![node.path("collectors.d")], ..config }
}

fn n1() -> NodeName {
    "n1".parse().expect("a name")
}

async fn ask(coordinator: &Coordinator, question: Question) -> Result<Reply, AskError> {
    coordinator.engine.ask(&n1(), "the tests", question, DEADLINE).await
}

fn sites(name: &str, site: &str) -> Deployment {
    let properties: BTreeMap<String, Value> = [("site".to_owned(), json!(site))].into();
    let job = Job { collector: "sites".to_owned(), pack: Some(LOCAL_PACK.to_owned()), properties };
    Deployment { name: name.to_owned(), jobs: vec![job] }
}

async fn apply(coordinator: &Coordinator, deployment: Deployment, how: (bool, bool)) -> Result<Applied, AskError> {
    let (recreate, skip_drain) = how;
    match ask(coordinator, Question::Apply(Apply { deployment, recreate, skip_drain })).await? {
        Reply::Applied(applied) => Ok(applied),
        other => panic!("applied, not {other:?}"),
    }
}

/// The order for a bundle of the node's part in a deployment.
fn order(deployment: &str, collectors: Option<Vec<String>>) -> BundleSpec {
    BundleSpec {
        task: TaskId(TASKS.fetch_add(1, Ordering::Relaxed)),
        cluster: "default".to_owned(),
        nodes: vec![NodePart {
            node: n1(),
            collectors,
            picks: Default::default(),
            deployment: Some(deployment.to_owned()),
        }],
        node_filter: Vec::new(),
        collectors: Vec::new(),
        redact: Vec::new(),
        budgets: Default::default(),
        window: Default::default(),
        format: Format::TarZst,
        case: None,
        note: None,
        requested_by: "the tests".to_owned(),
    }
}

/// A bundle of the node's part in a deployment.
async fn bundle(coordinator: &Coordinator, deployment: &str, collectors: Option<Vec<String>>) -> std::path::PathBuf {
    let watch = Watch { log: Arc::new(Unheard), stop: CancellationToken::new() };
    coordinator.saved(coordinator.engine.start(order(deployment, collectors), watch).expect("started")).await
}

/// Whether a bundle holds a file whose path ends so.
fn holds(bundle: &Path, end: &str) -> bool {
    let files = manifest(bundle)["files"].as_array().expect("rows").clone();
    files.iter().any(|row| row["path"].as_str().is_some_and(|path| path.ends_with(end)))
}

#[tokio::test(flavor = "multi_thread")]
async fn vitals_are_those_of_the_moment() {
    let (coordinator, node) = (Coordinator::new().await, node());
    let config = enrol(&coordinator, &node).await;
    // This host's, so that there is something to see.
    let agent = Agent::start(AgentConfig { host_root: "/".into(), ..config });
    coordinator.online("n1").await;
    let before = sheaf::clock::Clock::system().now_ms();
    let readings = (0..8).map(|_| ask(&coordinator, Question::Vitals));
    for reply in futures_util::future::join_all(readings).await {
        let Reply::Vitals(vitals) = reply.expect("a reply") else { panic!("vitals") };
        assert!(vitals.at_ms >= before, "a reading from before it was asked for");
        assert!(vitals.memory.total_kb > 0 && vitals.uptime_secs > 0);
        assert!(vitals.processes.iter().any(|process| process.mem_kb > 0), "{:?}", vitals.processes);
    }
    agent.stop().await;
    assert_eq!(ask(&coordinator, Question::Vitals).await, Err(AskError::NotConnected));
}

/// Carries a manifest for one site out, and gives the task's end.
async fn deploy(coordinator: &Coordinator, site: &str, how: How) -> (TaskState, String) {
    let text = format!(
        "name: web\nreleases: [{{name: {LOCAL_PACK}, version: latest}}]\ninstance_groups:\n- name: front\n  nodes: [n1]\n  \
         jobs: [{{name: sites, release: {LOCAL_PACK}, properties: {{site: {site}}}}}]\n"
    );
    let manifest = Manifest::read(&text).expect("a manifest");
    let task = coordinator.verbs.deploy(&coordinator.admin, manifest, text, how, None).await.expect("begun");
    ended(coordinator, task).await
}

async fn ended(coordinator: &Coordinator, task: TaskId) -> (TaskState, String) {
    let find = async || coordinator.verbs.task(&coordinator.admin, task).await.expect("a task");
    until("the task ends", async || find().await.finished_ms.is_some()).await;
    let row = find().await;
    (row.state, row.result.unwrap_or_default())
}

fn kept(coordinator: &Coordinator) -> Vec<(String, String)> {
    let hello = coordinator.engine.online(&n1()).expect("online").hello;
    hello.deployments.iter().map(|kept| (kept.name.clone(), kept.digest.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_survives_a_restart_and_says_what_a_bundle_holds() {
    let (coordinator, node) = (Coordinator::new().await, node());
    let config = enrol(&coordinator, &node).await;
    let agent = Agent::start(config.clone());
    coordinator.online("n1").await;
    let hello = coordinator.engine.online(&n1()).expect("online").hello;
    assert!(hello.packs.iter().any(|pack| pack.name == LOCAL_PACK && pack.jobs == ["sites"]), "{:?}", hello.packs);

    assert_eq!(deploy(&coordinator, "red", How::default()).await.0, TaskState::Done);
    let of_red = bundle(&coordinator, "web", None).await;
    assert_eq!(verdict(&of_red), Verdict::Complete);
    assert!(holds(&of_red, "sites/red/access.log") && !holds(&of_red, "sites/blue/access.log"));
    let (state, result) = deploy(&coordinator, "'../red'", How::default()).await;
    assert!(state == TaskState::Errored && !result.is_empty(), "{state:?} {result}");

    assert_eq!(deploy(&coordinator, "blue", How::default()).await.0, TaskState::Done);
    let before = kept(&coordinator);
    agent.stop().await;
    until("it is gone", async || !coordinator.is_online("n1").await).await;
    let agent = Agent::start(config);
    coordinator.online("n1").await;
    assert_eq!(kept(&coordinator), before, "the new process says the same of itself");
    assert_eq!(before, [("web".to_owned(), sites("web", "blue").digest())]);
    let of_blue = bundle(&coordinator, "web", Some(vec!["sites".to_owned()])).await;
    assert_eq!(verdict(&of_blue), Verdict::Complete);
    assert!(!holds(&of_blue, "sites/red/access.log") && holds(&of_blue, "sites/blue/access.log"));

    let task = coordinator.verbs.delete_deployment(&coordinator.admin, "web", false, None).await.expect("begun");
    assert_eq!(ended(&coordinator, task).await.0, TaskState::Done);
    assert!(kept(&coordinator).is_empty() && !node.path("state/deployments/web.json").exists());
    let of_none = bundle(&coordinator, "web", None).await;
    assert_eq!(verdict(&of_none), Verdict::Partial);
    let row = node_row(&of_none, "n1");
    assert_eq!((row.outcome, row.reason.as_str()), (Outcome::Skipped, "this node keeps no deployment `web`"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applied_again_only_when_something_changed_or_it_is_asked_for() {
    let (coordinator, node) = (Coordinator::new().await, node());
    let agent = Agent::start(enrol(&coordinator, &node).await);
    coordinator.online("n1").await;
    let red = sites("web", "red");
    let applied = apply(&coordinator, red.clone(), (false, false)).await.expect("applied");
    assert_eq!(applied, Applied { digest: red.digest(), changed: true });
    assert!(!apply(&coordinator, red.clone(), (false, false)).await.expect("applied").changed, "nothing changed");
    assert!(apply(&coordinator, red, (true, false)).await.expect("applied").changed, "made anew when asked to");
    let forget = || ask(&coordinator, Question::Forget { deployment: "web".to_owned() });
    assert_eq!(forget().await, Ok(Reply::Forgotten { was_kept: true }));
    assert_eq!(forget().await, Ok(Reply::Forgotten { was_kept: false }));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_node_does_not_allow_is_refused_and_the_former_stays() {
    let (coordinator, node) = (Coordinator::new().await, node());
    let agent = Agent::start(enrol(&coordinator, &node).await);
    coordinator.online("n1").await;
    apply(&coordinator, sites("web", "red"), (false, false)).await.expect("applied");
    let huge = "a".repeat(200_000);
    let mut of_another_pack = sites("web", "blue");
    of_another_pack.jobs[0].pack = Some("nginx".to_owned());
    for (wrong, expected) in [
        (sites("web", "../../../etc"), "job `sites`: property `site`: must be a text that matches `[a-z-]+`"),
        (sites("web", "a;reboot"), "must be a text that matches"),
        (sites("web", "*"), "must be a text that matches"),
        (sites("web", "a\nb"), "must hold no line ends"),
        (sites("web", "a\0"), "must hold no line ends"),
        (sites("web", &huge), "is longer than 255 bytes"),
        (sites("../web", "blue"), "a deployment's name must match"),
        (of_another_pack, "belongs to the pack `local`, not to `nginx`"),
        (Deployment { name: "web".to_owned(), jobs: Vec::new() }, "needs 1 to 256 jobs"),
    ] {
        let shown = format!("{wrong:.200?}");
        match apply(&coordinator, wrong, (true, true)).await {
            Err(AskError::Refused(reason)) => assert!(reason.contains(expected), "{shown}: {reason}"),
            other => panic!("{shown}: {other:?}"),
        }
    }
    assert_eq!(fs::read_dir(node.path("state/deployments")).expect("a folder").count(), 1, "nothing else was written");
    let of_red = bundle(&coordinator, "web", None).await;
    assert!(holds(&of_red, "sites/red/access.log"));

    // The administrator has the last word: the file no longer allows what was accepted.
    declare(&node, &SITES.replace("[a-z-]+", "blue"));
    let of_none = bundle(&coordinator, "web", None).await;
    assert!(!holds(&of_none, "sites/red/access.log"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_collection_is_waited_for_unless_it_is_not_to_be() {
    let (coordinator, node) = (Coordinator::new().await, node());
    // A command that goes on until somebody has written into the pipe that it reads.
    let pipe = node.path("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    let own = SITES.replace("/var/log/sites", &node.path("root/var/log/sites").display().to_string());
    declare(&node, &format!("{own}\n[[commands]]\nname = \"wait\"\nargv = [\"cat\", {pipe:?}]\n"));
    // Commands run only where the host's own root is read.
    let agent = Agent::start(AgentConfig { host_root: "/".into(), ..enrol(&coordinator, &node).await });
    coordinator.online("n1").await;
    apply(&coordinator, sites("web", "red"), (false, false)).await.expect("applied");
    let order = order("web", None);
    let running = format!("a collection of `sites` (task {}) is still running", order.task.0);
    let watch = Watch { log: Arc::new(Unheard), stop: CancellationToken::new() };
    let download = coordinator.engine.start(order, watch).expect("started");
    // A pipe cannot be opened for writing, without waiting, before it has a reader.
    let mut input = None;
    until("it runs", async || {
        input = fs::OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&pipe).ok();
        input.is_some()
    })
    .await;
    let question = Question::Apply(Apply { deployment: sites("web", "blue"), recreate: false, skip_drain: false });
    let refusal = coordinator.engine.ask(&n1(), "the tests", question.clone(), Duration::from_secs(3)).await;
    match refusal {
        Err(AskError::Refused(reason)) => assert!(reason.contains(&running), "{reason}"),
        other => panic!("{other:?}"),
    }
    apply(&coordinator, sites("other", "blue"), (false, true)).await.expect("applied without waiting");
    // It goes on, and then the deployment's turn has come.
    input.take().expect("opened").write_all(b"said at last\n").expect("written");
    let (bundle, applied) = tokio::join!(coordinator.saved(download), ask(&coordinator, question));
    assert_eq!(verdict(&bundle), Verdict::Complete);
    assert!(holds(&bundle, "sites/red/access.log"));
    assert!(holds(&bundle, "commands/wait.txt"));
    assert!(matches!(applied, Ok(Reply::Applied(Applied { changed: true, .. }))), "{applied:?}");
    agent.stop().await;
}
