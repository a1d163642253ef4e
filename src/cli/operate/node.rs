//! `sheaf node list|show|remove`.

use std::path::PathBuf;

use http::Method;

use super::connect::{Coordinator, segment};
use super::history::{Shown, span};
use crate::cli::output::{self, Table, bytes};
use crate::protocol::agents::Vitals;
use crate::protocol::control::Node;
use crate::report;
use crate::window::Moment;

/// What to do with nodes.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// List nodes
    #[command(after_help = "Examples:\n  sheaf node list\n  sheaf node list --cluster prod --json")]
    List {
        /// Only those of this cluster, by id or name
        #[arg(long, value_name = "C")]
        cluster: Option<String>,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a node and its last vitals, or how it was before
    #[command(after_help = "Examples:
  sheaf node show web-1
  sheaf node show web-1 --history
  sheaf node show web-1 --history --since 2d
  sheaf node show web-1 --history --since 3h --bundle case-4711.tar.zst
  sheaf node show web-1 --history --json | jq '.samples[] | select(.pressure_io_full_percent > 10) | .at'")]
    Show {
        /// Its name
        name: String,
        /// Draw its vitals of the last hours: processors, load, memory, pressure, disks, network
        #[arg(long)]
        history: bool,
        /// Where the history begins: a time, RFC 3339, or how long ago, such as 30m, 2h or 2d, or `all`
        #[arg(long, value_name = "TIME", default_value = "2h", requires = "history")]
        since: Moment,
        /// Take the history from this bundle, and ask nobody
        #[arg(long, value_name = "FILE", requires = "history")]
        bundle: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove a node: ends its connection and frees its name
    #[command(after_help = "Example:\n  sheaf node remove web-1")]
    Remove {
        /// Its name
        name: String,
    },
}

impl Verb {
    /// Does it without a coordinator, where none is needed; `None` where one is.
    pub fn alone(&self) -> Option<anyhow::Result<()>> {
        match self {
            Self::Show { name: node, history: true, since, bundle: Some(bundle), json } => {
                Some(Shown { node, since: *since, json: *json }.bundled(bundle))
            }
            _ => None,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// When the coordinator refuses or cannot be reached.
    pub async fn run(self, coordinator: &Coordinator) -> anyhow::Result<()> {
        match self {
            Self::List { cluster, json } => {
                let filter = cluster.map(|cluster| format!("?cluster={}", segment(&cluster))).unwrap_or_default();
                list(&coordinator.fetch::<Vec<Node>>(&format!("/nodes{filter}")).await?, json)?;
            }
            Self::Show { name: node, history: true, since, json, .. } => {
                Shown { node: &node, since, json }.live(coordinator).await?;
            }
            Self::Show { name, json, .. } => {
                show(&coordinator.fetch(&format!("/nodes/{}", segment(&name))).await?, json)?;
            }
            Self::Remove { name } => {
                coordinator.call::<()>(Method::DELETE, &format!("/nodes/{}", segment(&name)), None::<&()>).await?;
                output::say(&format!("node {} removed\n", report::escape(&name)))?;
            }
        }
        Ok(())
    }
}

fn list(nodes: &[Node], json: bool) -> std::io::Result<()> {
    if json {
        return output::json(&nodes);
    }
    let mut table = Table::new(&["NAME", "CLUSTER", "STATE", "LAST SEEN", "AGENT", "OS", "COLLECT"]);
    for node in nodes {
        table.row([
            node.name.clone(),
            node.cluster.clone(),
            state(node).to_owned(),
            node.last_seen.clone().unwrap_or_else(|| "never".to_owned()),
            node.agent_version.clone(),
            node.os.clone(),
            if node.refuses { "off" } else { "on" }.to_owned(),
        ]);
    }
    table.print()
}

fn show(node: &Node, json: bool) -> std::io::Result<()> {
    if json {
        return output::json(node);
    }
    let pairs = |map: Vec<String>| map.join(" ");
    let mut fields = vec![
        ("name", node.name.clone()),
        ("cluster", node.cluster.clone()),
        ("state", state(node).to_owned()),
        ("since", node.since.clone().unwrap_or_default()),
        ("last seen", node.last_seen.clone().unwrap_or_else(|| "never".to_owned())),
        ("agent", node.agent_version.clone()),
        ("os", node.os.clone()),
        ("kernel", node.kernel.clone()),
        ("machine id", node.machine_id.clone()),
        ("labels", pairs(node.labels.iter().map(|(name, value)| format!("{name}={value}")).collect())),
        ("collect", if node.refuses { "off: its configuration refuses every order" } else { "" }.to_owned()),
        ("collectors", pairs(node.collectors.iter().map(|(name, on)| collector(name, *on)).collect())),
        ("clock offset", node.clock_offset_ms.map(|ms| format!("{ms} ms")).unwrap_or_default()),
        ("round trip", node.round_trip_ms.map(|ms| format!("{ms} ms")).unwrap_or_default()),
    ];
    if let Some(vitals) = &node.vitals {
        fields.extend(vital_fields(vitals));
    }
    output::fields(&fields)
}

fn vital_fields(vitals: &Vitals) -> Vec<(&'static str, String)> {
    let (cpu, [one, five, fifteen], memory) = (&vitals.cpu, vitals.load, &vitals.memory);
    let disks: Vec<String> = vitals
        .disks
        .iter()
        .map(|disk| format!("{} {:.0}% of {}", disk.mount, disk.space.percent, bytes(disk.space.total_kb * 1024)))
        .collect();
    vec![
        ("uptime", span(vitals.uptime_secs.saturating_mul(1000))),
        ("cpu", format!("user {:.1}%  sys {:.1}%  wait {:.1}%", cpu.user, cpu.sys, cpu.wait)),
        ("load", format!("{one:.2} {five:.2} {fifteen:.2}")),
        ("memory", format!("{:.0}% of {}", memory.percent, bytes(memory.total_kb * 1024))),
        ("disks", disks.join("  ")),
        ("failed units", vitals.failed_units.join(" ")),
    ]
}

fn collector(name: &str, on: bool) -> String {
    if on { name.to_owned() } else { format!("{name}(off)") }
}

fn state(node: &Node) -> &'static str {
    if node.online { "online" } else { "offline" }
}
