//! `sheaf agent join`, and what `sheaf agent run` takes in a container that joins by itself.
//!
//! Arguments become a plan of `agent::join`; what it did, and what to start next, is said on standard output.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::agent::join::{self, Home, Mounted, Settings, Ticket, Via};
use crate::agent::program;
use crate::cli::output;
use crate::cli::remark;
use crate::clock::Clock;
use crate::id::NodeName;
use crate::protocol::join::JoinReply;
use crate::shutdown::Shutdown;

/// Where the packages put the configuration, and the agent's state.
const CONFIG_DIR: &str = "/etc/sheaf";
const STATE_DIR: &str = "/var/lib/sheaf-agent";

/// The proxy by which the coordinator is reached.
#[derive(Debug, Args)]
struct Proxied {
    /// HTTP proxy by which the coordinator is reached; TLS goes through it from end to end
    #[arg(long, env = "SHEAF_PROXY", value_name = "http://HOST:PORT")]
    proxy: Option<String>,
    /// File with the proxy's USER:PASSWORD, which the agent must be able to read
    #[arg(long, value_name = "FILE", requires = "proxy")]
    proxy_auth_file: Option<PathBuf>,
    /// Host, domain, address or network that is reached without the proxy; may be repeated
    #[arg(long, value_name = "HOST", requires = "proxy")]
    no_proxy: Vec<String>,
}

impl From<Proxied> for Via {
    fn from(Proxied { proxy, proxy_auth_file, no_proxy }: Proxied) -> Self {
        Self { proxy: proxy.filter(|proxy| !proxy.is_empty()), auth_file: proxy_auth_file, except: no_proxy }
    }
}

/// `sheaf agent join`
#[derive(Debug, Args)]
pub struct JoinCommand {
    /// The access info; `-` is standard input
    file: PathBuf,
    /// The node's name [default: the one it has joined by, else the host name]
    #[arg(long, value_name = "NAME")]
    name: Option<NodeName>,
    /// Label of this node; may be repeated
    #[arg(long = "label", value_name = "K=V", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Folder for the configuration and the coordinator's CA
    #[arg(long, value_name = "DIR", default_value = CONFIG_DIR)]
    config_dir: PathBuf,
    /// Folder for the agent secret and what the agent keeps
    #[arg(long, value_name = "DIR", default_value = STATE_DIR)]
    state_dir: PathBuf,
    /// The root that is read, where it is not this one
    #[arg(long, value_name = "DIR", default_value = "/")]
    host_root: PathBuf,
    #[command(flatten)]
    proxied: Proxied,
    /// Join although this node is somebody else already
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `sheaf agent run` takes in a container.
#[derive(Debug, Args)]
pub struct Container {
    /// Join at the start with the access info mounted in this folder, unless the state folder says that it was done
    #[arg(long, value_name = "DIR", requires = "node", conflicts_with = "config")]
    join: Option<PathBuf>,
    /// The node's name, to join by
    #[arg(long, env = "SHEAF_NODE", value_name = "NAME")]
    node: Option<NodeName>,
    /// Folder on the host for what outlives a container
    #[arg(long, value_name = "DIR", requires = "join", default_value = STATE_DIR)]
    state_dir: PathBuf,
    /// Where the host's root is mounted
    #[arg(long, value_name = "DIR", requires = "join", default_value = "/")]
    host_root: PathBuf,
    #[command(flatten)]
    proxied: Proxied,
}

impl Container {
    /// Where a container has its things, if this is one that joins.
    pub fn mounted(self) -> anyhow::Result<Option<Mounted>> {
        let Some(access) = self.join else {
            if self.proxied.proxy.is_some() {
                bail!("--proxy and SHEAF_PROXY go with --join; otherwise set `proxy` in the configuration");
            }
            return Ok(None);
        };
        let node = self.node.context("give the node's name: --node or SHEAF_NODE")?;
        Ok(Some(Mounted {
            access,
            node,
            state_dir: self.state_dir,
            host_root: self.host_root,
            via: self.proxied.into(),
        }))
    }
}

impl JoinCommand {
    /// Runs it to its end.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let home = Home::new(&self.config_dir, &self.state_dir);
        let info = join::read(&self.file)?;
        warn_exposed(&self.file);
        let ticket = Ticket::check(&info, &Clock::system())?;
        let name = self.node_name(&home)?;
        let machine_id = join::machine_id(&self.host_root)?;
        let labels: BTreeMap<_, _> = self.labels.iter().cloned().collect();
        let via = self.proxied.into();
        let settings = Settings { labels: &labels, host_root: &self.host_root, via: &via, force: self.force };
        let plan = home.plan(&name, &info, &settings)?;
        let ticket = ticket.through(plan.settings().proxy()?);
        let reply = super::runtime()?.block_on(async {
            let shutdown = Shutdown::new();
            shutdown.on_signals().context("cannot watch for signals")?;
            let reply = tokio::select! {
                reply = ticket.trade(&name, &machine_id, &shutdown) => reply?,
                () = shutdown.stopping() => bail!("interrupted; nothing was written"),
            };
            anyhow::Ok(reply)
        })?;
        plan.commit(Some(&reply.secret)).with_context(|| {
            format!("`{name}` has joined, and its agent secret could not be kept; mend this and join again")
        })?;
        tell(&home, &reply, self.config_dir == Path::new(CONFIG_DIR), self.json)?;
        Ok(ExitCode::SUCCESS)
    }

    /// As asked for, else as it was, else the host's name.
    fn node_name(&self, home: &Home) -> anyhow::Result<NodeName> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        if let Some(name) = home.name()? {
            return Ok(name);
        }
        let host = nix::unistd::gethostname().context("cannot read the host name; give --name")?;
        let host = host.to_string_lossy().into_owned();
        host.parse().with_context(|| format!("the host name `{}` is no node's name; give --name", host.escape_debug()))
    }
}

fn tell(home: &Home, reply: &JoinReply, packaged: bool, json: bool) -> anyhow::Result<()> {
    let packaged = packaged && Path::new("/run/systemd/system").exists();
    let next = if packaged {
        "systemctl enable --now sheaf-agent".to_owned()
    } else {
        format!("{} run --config {}", program::called(), home.config.display())
    };
    if json {
        let object = serde_json::json!({
            "id": reply.name, "name": reply.name, "cluster": reply.cluster, "config": home.config, "next": next,
        });
        return Ok(output::json(&object)?);
    }
    let text = format!(
        "{} has joined cluster {}; its configuration is {}\nnow start the agent:\n  {next}\n",
        reply.name,
        crate::report::escape(&reply.cluster),
        home.config.display(),
    );
    Ok(output::say(&text)?)
}

/// The file holds a private key.
fn warn_exposed(file: &Path) {
    let exposed = file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o077 != 0);
    if exposed {
        remark(format_args!(
            "warning: {} can be read by others, and whoever reads it can join; run: chmod 600 {0}",
            file.display()
        ));
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is KEY=VALUE".to_owned()),
    }
}
