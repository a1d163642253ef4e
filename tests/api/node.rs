//! Nodes of a house: each a folder with logs and a collector of its own, and a real agent process over it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::house::House;

/// A collector with a property, in a pack of its own; in a cluster of its own the pack is that cluster's.
const SITES: &str = r#"
name = "sites"
version = "1"
why = "A test."
default = false
roots = ["/var/log/sites"]
pack = { name = "web-pack", version = "1.4.0" }
[properties.site]
pattern = "[a-z]+"
description = "Whose logs."
[[files]]
paths = ["/var/log/sites/{{site}}/*.log"]
"#;

/// A node's folder and its agent, a process that ends with it.
pub struct Agent {
    pub folder: PathBuf,
    config: PathBuf,
    child: Option<Child>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Agent {
    /// A node with logs of two sites, started.
    pub async fn new(house: &House, under: &Path, name: &str, cluster: &str) -> Self {
        let folder = under.join(name);
        let pack = if cluster == "default" { "web-pack".to_owned() } else { format!("{cluster}-pack") };
        let collector = ("sites", SITES.replace("web-pack", &pack));
        Self::with(house, folder.clone(), (name, cluster), collector, &folder.join("root")).await
    }

    /// A node that is this machine, with a collector `slow` whose command sleeps for so many seconds.
    pub async fn slow(house: &House, under: &Path, name: &str, seconds: &str) -> Self {
        let collector = format!(
            "name = \"slow\"\nversion = \"1\"\nwhy = \"A test.\"\ndefault = false\n\
             [[commands]]\nname = \"sleep\"\nargv = [\"sleep\", \"{seconds}\"]\ntimeout = \"10m\"\n"
        );
        Self::with(house, under.join(name), (name, "default"), ("slow", collector), Path::new("/")).await
    }

    async fn with(
        house: &House,
        folder: PathBuf,
        (name, cluster): (&str, &str),
        (collector, text): (&str, String),
        root: &Path,
    ) -> Self {
        for site in ["red", "blue"] {
            let logs = folder.join("root/var/log/sites").join(site);
            fs::create_dir_all(&logs).expect("folders");
            fs::write(logs.join("access.log"), format!("a line of {site}\n")).expect("a log");
            fs::write(logs.join("error.log"), format!("an error of {site}\n")).expect("a log");
        }
        fs::create_dir_all(folder.join("collectors.d")).expect("a folder");
        private(&folder.join(format!("collectors.d/{collector}.toml")), &text);
        let wanted = json!({ "name": name, "cluster": cluster }).to_string();
        let made = house.call("POST", "/sheaf/v1/secrets", &auth(house), &wanted).await;
        private(&folder.join("secret"), made.json()["secret"].as_str().expect("a secret"));
        fs::write(folder.join("ca.pem"), house.ca()).expect("the CA");
        let at = |name: &str| format!("{:?}", folder.join(name).display().to_string());
        let config = format!(
            "url = {:?}\nca_file = {}\nsecret_file = {}\nstate_dir = {}\nhost_root = {:?}\ncollectors_dirs = [{}]\n\
             [labels]\nrole = \"web\"\n",
            house.agents_url(),
            at("ca.pem"),
            at("secret"),
            at("state"),
            root.display().to_string(),
            at("collectors.d"),
        );
        fs::write(folder.join("agent.toml"), config).expect("configuration");
        Self::over(folder, "agent.toml")
    }

    /// A node in a folder, that joined with access info and runs by what that made.
    pub fn joined(folder: PathBuf, name: &str, access: &str) -> Self {
        assert!(join(&folder, name, access), "{}", fs::read_to_string(folder.join("log")).unwrap_or_default());
        Self::over(folder, "etc/agent.toml")
    }

    fn over(folder: PathBuf, config: &str) -> Self {
        let mut agent = Self { config: folder.join(config), folder, child: None };
        agent.start();
        agent
    }

    /// Starts the agent.
    pub fn start(&mut self) {
        let mut run = sheaf(&self.folder);
        run.args(["agent", "run", "--config"]).arg(&self.config);
        self.child = Some(run.spawn().expect("started"));
    }

    /// Kills the agent.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A node's `sheaf`, which logs everything there is to log into the node's folder.
fn sheaf(folder: &Path) -> Command {
    let log = || fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sheaf"));
    command.args(["--log", "debug,sheaf=trace"]).stdin(Stdio::null()).stdout(log()).stderr(log());
    command
}

/// Whether a node in a folder joins with this access info.
pub fn join(folder: &Path, name: &str, access: &str) -> bool {
    let root = folder.join("root");
    fs::create_dir_all(root.join("etc")).expect("a root");
    fs::write(root.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").expect("a machine id");
    private(&folder.join("access.json"), access);
    let mut join = sheaf(folder);
    join.args(["agent", "join"]).arg(folder.join("access.json")).args(["--name", name, "--host-root"]).arg(&root);
    join.arg("--config-dir").arg(folder.join("etc")).arg("--state-dir").arg(folder.join("state"));
    let good = join.status().expect("run").success();
    fs::remove_file(folder.join("access.json")).expect("removed");
    good
}

/// Writes a file that is its owner's alone, as the agent demands.
pub fn private(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
}

/// The admin's credential.
pub fn auth(house: &House) -> [(&'static str, &'static str); 1] {
    // A test's few headers may live as long as the test.
    [("authorization", house.admin().leak())]
}

/// Waits until `done`.
pub async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    while !done().await {
        assert!(tokio::time::Instant::now() < end, "waited a minute in vain until {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until a node is connected, or is not.
pub async fn online(house: &House, name: &str, is: bool) {
    let path = format!("/sheaf/v1/nodes/{name}");
    until(&format!("{name} is online: {is}"), async || {
        house.call("GET", &path, &auth(house), "").await.json()["online"] == json!(is)
    })
    .await;
}
