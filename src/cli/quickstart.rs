//! `sheaf quickstart`: a coordinator and agents on this host, and a bundle of it.
//!
//! What a real installation does with packages and hands is done here with a folder and child processes: a coordinator with state and
//! CAs of its own, agent secrets made through its API, agents that log in with them over TLS, a bundle that is downloaded and verified as
//! `sheaf bundle create` does. It needs no root and no configuration, takes free ports, and leaves the bundle behind and, unless a
//! state folder was named, nothing else.

mod agents;
mod summary;

use std::fs::DirBuilder;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::Method;
use serde::Serialize;

use self::agents::{Agents, Home};
use super::operate::bundle::{Made, create};
use super::operate::connect::Coordinator;
use super::operate::delivery::Destination;
use super::operate::deployment;
use super::output;
use crate::bundle::Format;
use crate::bundle::manifest::Budgets;
use crate::bundle::outcome::Verdict;
use crate::cli::remark;
use crate::clock::Clock;
use crate::coordinator::config::CoordinatorConfig;
use crate::coordinator::init;
use crate::protocol::control::{AgentSecretGrant, Cluster, NewBundle, NewSecret, Node};
use crate::protocol::questions::BUILT_IN_PACK;
use crate::secret::Secret;
use crate::shutdown::Shutdown;
use crate::state;
use crate::window::Asked;

/// Time the agents may take to connect.
const CONNECT: Duration = Duration::from_secs(60);
/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(100);
/// Time everything may take to stop.
const STOP: Duration = Duration::from_secs(10);
/// The deployment over all its nodes.
const DEPLOYMENT: &str = "quickstart";
/// What a shell expects of a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// `sheaf quickstart`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sheaf quickstart                       a bundle of this host, in the current folder
  sheaf quickstart --nodes 3 --keep      three agents; all stays up until ctrl-C, for you to try
  sheaf quickstart --keep --json         the same for a program: one line of JSON when all is ready

Exit code 0 when the bundle is complete, 130 when it was interrupted, else as of `sheaf bundle verify`.")]
pub struct QuickstartCommand {
    /// Agents to start, each under a name of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub nodes: u16,
    /// File of the bundle; its own name in the current folder when not given. One that is there already is not written over
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Folder for the state, kept; a temporary one when not given
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Leave everything running until ctrl-C, and say how to use it
    #[arg(long)]
    pub keep: bool,
    /// With --keep: print one line of JSON when all is ready, and nothing else on standard output
    #[arg(long, requires = "keep")]
    pub json: bool,
}

impl QuickstartCommand {
    /// Runs it to its end.
    ///
    /// # Errors
    /// When there is no bundle.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
        runtime.block_on(self.whole())
    }

    async fn whole(self) -> anyhow::Result<ExitCode> {
        if let Some(file) = &self.output {
            Destination::File(file.clone()).check(false)?;
        }
        let shutdown = Shutdown::new();
        shutdown.on_signals().context("setting signal handlers")?;
        let place = Place::new(self.state_dir.as_deref())?;
        let mut agents = Agents::default();
        let result = tokio::select! {
            result = self.demonstrate(&place, &mut agents, &shutdown) => result,
            () = shutdown.stopping() => Ok(ExitCode::from(INTERRUPTED)),
        };
        if self.keep && result.is_ok() {
            shutdown.stopping().await;
        }
        agents.stop().await;
        // The coordinator's tasks are in it.
        shutdown.finish(STOP).await;
        result
    }

    async fn demonstrate(&self, place: &Place, agents: &mut Agents, shutdown: &Shutdown) -> anyhow::Result<ExitCode> {
        let house = House::start(place, shutdown).await?;
        self.note(&format!("coordinator at {}, agents' listener at {}", house.url, house.agents_url));
        let names: Vec<String> = (1..=self.nodes).map(|number| format!("node-{number}")).collect();
        for name in &names {
            house.admit(place, agents, name).await?;
        }
        house.wait_for(&names, agents).await?;
        house.deploy(&names).await?;
        self.note(&format!("{} connected; collecting", if names.len() == 1 { "1 agent" } else { "all agents" }));
        let wanted = NewBundle {
            cluster: house.cluster.id.to_string(),
            nodes: names.clone(),
            collectors: Vec::new(),
            redact: Vec::new(),
            budgets: Budgets::default(),
            window: Asked::default(),
            case: None,
            note: Some("sheaf quickstart".to_owned()),
            format: Format::TarZst,
        };
        let destination = self.output.clone().map(Destination::File);
        let made = create(&house.coordinator, &wanted, destination, self.json, shutdown.token()).await?;
        self.report(&made)?;
        if self.keep {
            self.offer(&house, place, &names, &made)?;
        }
        Ok(ExitCode::from(made.verdict().exit_code()))
    }

    /// A line for people, where nobody else reads.
    fn note(&self, text: &str) {
        if !self.json {
            remark(text);
        }
    }

    fn report(&self, made: &Made) -> anyhow::Result<()> {
        let whole = matches!(made.verdict(), Verdict::Complete | Verdict::Partial);
        if self.json || !whole {
            made.say();
        }
        let Some(path) = made.path.as_deref().filter(|_| whole && !self.json) else { return Ok(()) };
        let summary = summary::of(path)?;
        Ok(output::say(&format!("{summary}\n{}: {}  {}\n", made.verdict(), output::bytes(made.bytes), path.display()))?)
    }

    fn offer(&self, house: &House, place: &Place, names: &[String], made: &Made) -> anyhow::Result<()> {
        let offer = Offer {
            url: &house.url,
            agents_url: &house.agents_url,
            ca_file: &house.ca_file,
            user: USER,
            password: house.password.expose(),
            cluster_id: house.cluster.id.to_string(),
            state_dir: place.path(),
            nodes: names,
            bundle: made.path.as_deref().map(std::path::absolute).transpose()?,
        };
        if self.json { Ok(output::json(&offer)?) } else { Ok(output::say(&offer.to_string())?) }
    }
}

/// The administrator that a quickstart's coordinator begins with.
const USER: &str = "admin";

/// What a user, or a program, needs to go on with.
#[derive(Serialize)]
struct Offer<'a> {
    url: &'a str,
    agents_url: &'a str,
    ca_file: &'a Path,
    user: &'a str,
    password: &'a str,
    cluster_id: String,
    state_dir: &'a Path,
    nodes: &'a [String],
    bundle: Option<PathBuf>,
}

impl std::fmt::Display for Offer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (url, user, password, id) = (self.url, self.user, self.password, &self.cluster_id);
        let ca = self.ca_file.display();
        let api = format!("{url}/api/vcenter/namespace-management/clusters");
        writeln!(f, "\nAll is left running until ctrl-C.\n")?;
        writeln!(
            f,
            "  URL        {url}\n  CA file    {ca}\n  user       {user}\n  password   {password}\n  cluster    {id}\n"
        )?;
        writeln!(f, "Try:")?;
        writeln!(f, "  curl --cacert {ca} -u {user}:{password} {url}/sheaf/v1/nodes")?;
        writeln!(f, "  curl --cacert {ca} -u {user}:{password} {url}/deployments/{DEPLOYMENT}/vms")?;
        writeln!(f, "  curl --cacert {ca} -u {user}:{password} -X POST {api}/{id}/support-bundle")?;
        writeln!(
            f,
            "  curl --cacert {ca} -H 'wcp-support-bundle-token: TOKEN' -o bundle.tar '{api}/{id}/support-bundle/download'"
        )
    }
}

/// The folder of the state.
enum Place {
    Temporary(tempfile::TempDir),
    Named(PathBuf),
}

impl Place {
    fn new(named: Option<&Path>) -> anyhow::Result<Self> {
        match named {
            None => Ok(Self::Temporary(tempfile::Builder::new().prefix("sheaf-quickstart-").tempdir()?)),
            Some(path) => {
                private_folder(path)?;
                Ok(Self::Named(path.canonicalize().with_context(|| format!("cannot use {}", path.display()))?))
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Named(path) => path,
        }
    }
}

/// Makes a folder for its owner only, with those above it.
fn private_folder(path: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot make the folder {}", path.display()))
}

/// A coordinator in this process, and what its administrator knows.
struct House {
    url: String,
    agents_url: String,
    ca_file: PathBuf,
    password: Secret,
    cluster: Cluster,
    coordinator: Coordinator,
}

impl House {
    async fn start(place: &Place, shutdown: &Shutdown) -> anyhow::Result<Self> {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = CoordinatorConfig {
            public: free,
            agents: free,
            state_dir: place.path().join("coordinator"),
            ..CoordinatorConfig::default()
        };
        private_folder(&config.state_dir)?;
        let password = Secret::random();
        // A folder that was used before has an admin, whose password nobody knows any more.
        init::init(&config, Clock::system(), USER, Some(password.clone()), true).await?;
        let bound = init::start(&config, Clock::system(), shutdown.clone()).await?;
        let (url, agents_url) = (format!("https://{}", bound.public_addr), format!("https://{}", bound.agents_addr));
        let ca_file = bound.ca_file.clone();
        super::coordinator::open(bound);
        let ca = std::fs::read(&ca_file).with_context(|| format!("cannot read {}", ca_file.display()))?;
        let coordinator = Coordinator::new(&url, &ca, USER, &password)?;
        let cluster = coordinator.fetch("/clusters/default").await?;
        Ok(Self { url, agents_url, ca_file, password, cluster, coordinator })
    }

    /// Makes the agent's secret, unless it has one from an earlier time, and starts it.
    async fn admit(&self, place: &Place, agents: &mut Agents, name: &str) -> anyhow::Result<()> {
        let home = Home::new(place.path(), name)?;
        if !home.secret().exists() {
            let wanted = NewSecret { name: name.parse()?, cluster: None };
            let grant: AgentSecretGrant = self.coordinator.call(Method::POST, "/secrets", Some(&wanted)).await?;
            state::write(&home.secret(), grant.secret.as_bytes(), 0o600)
                .with_context(|| format!("cannot write {}", home.secret().display()))?;
        }
        let config = home.configure(name, &self.agents_url, &self.ca_file)?;
        agents.start(name, &home, &config)
    }

    /// Makes the deployment `quickstart`: all nodes, with what they collect by default.
    async fn deploy(&self, names: &[String]) -> anyhow::Result<()> {
        let nodes: Vec<Node> = self.coordinator.fetch("/nodes").await?;
        let node = nodes.iter().find(|node| names.contains(&node.name)).context("no agent is connected")?;
        let jobs: String = node
            .collectors
            .iter()
            .filter(|(_, on)| **on)
            .map(|(name, _)| format!("  - name: {name}\n    release: {BUILT_IN_PACK}\n"))
            .collect();
        let manifest = format!(
            "---\nname: {DEPLOYMENT}\nreleases:\n- name: {BUILT_IN_PACK}\n  version: latest\ninstance_groups:\n- name: nodes\n  \
             nodes: [{}]\n  jobs:\n{jobs}",
            names.join(", ")
        );
        // Nodes of an earlier time may be in it still, and are not there any more.
        let ended = deployment::apply(&self.coordinator, manifest.into_bytes(), "fix=true", true).await?;
        deployment::succeeded(&ended)
    }

    /// Waits until all agents are connected.
    async fn wait_for(&self, names: &[String], agents: &mut Agents) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + CONNECT;
        loop {
            agents.check()?;
            let nodes: Vec<Node> = self.coordinator.fetch("/nodes").await?;
            let missing = |name: &&String| !nodes.iter().any(|node| node.online && node.name == **name);
            let missing: Vec<&str> = names.iter().filter(missing).map(String::as_str).collect();
            if missing.is_empty() {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                bail!("not connected after {} s: {}", CONNECT.as_secs(), missing.join(", "));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
