//! Verbs of the coordinator's host: `sheaf coordinator run|init`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use sd_notify::NotifyState;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::api;
use crate::clock::Clock;
use crate::config;
use crate::coordinator::config::CoordinatorConfig;
use crate::coordinator::init::{self, Bound, Initialised, Reloader};
use crate::coordinator::verbs::Verbs;
use crate::limits;
use crate::report;
use crate::secret::Secret;
use crate::shutdown::Shutdown;
use crate::telemetry;

/// Where the packages put the configuration.
const CONFIG: &str = "/etc/sheaf/coordinator.toml";

/// What `coordinator run` ends with when only an administrator can mend it, as sysexits has it: the unit does not start it again then.
const NOT_SET_UP: u8 = 78;
/// What it ends with when another program has what it needs, as sysexits has it: the unit starts it again.
const TAKEN: u8 = 75;

/// `sheaf coordinator …`
#[derive(Debug, Subcommand)]
pub enum CoordinatorCommand {
    /// Run the coordinator until it is told to stop
    #[command(
        after_help = "Exit codes: 0 told to stop, 75 another program has a port or the state (the unit tries again; `ss -ltnp`, as root, names who
listens), 78 the configuration, a certificate or the master key cannot be used (the unit does not start it again), 1 anything else.

Example:
  sheaf coordinator run --config /etc/sheaf/coordinator.toml"
    )]
    Run(RunCommand),
    /// Prepare the state: keys, the cluster `default`, and the first admin
    #[command(after_help = "Examples:
  sheaf coordinator init --config /etc/sheaf/coordinator.toml
  sheaf coordinator init --password-file admin.password
  sheaf coordinator init --reset                 a new password for an admin who lost it")]
    Init(InitCommand),
}

/// `sheaf coordinator run`
#[derive(Debug, Args)]
pub struct RunCommand {
    /// Configuration file; all of it has defaults [default: /etc/sheaf/coordinator.toml if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// `sheaf coordinator init`
#[derive(Debug, Args)]
pub struct InitCommand {
    /// Configuration file; all of it has defaults [default: /etc/sheaf/coordinator.toml if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of the admin
    #[arg(long, value_name = "NAME", default_value = "admin")]
    user: String,
    /// File whose first line is the password; without it one is made and printed once
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Give an admin who is there already a new password
    #[arg(long)]
    reset: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl CoordinatorCommand {
    /// Runs it to its end.
    ///
    /// # Errors
    /// Whatever the verb could not do.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let result = match self {
            Self::Run(command) => runtime.block_on(command.run()),
            Self::Init(command) => runtime.block_on(command.run()),
        };
        // Whatever did not end within the drain has no say in when the process does.
        runtime.shutdown_timeout(Duration::from_secs(1));
        result
    }

    /// Whether it is a daemon.
    pub fn is_daemon(&self) -> bool {
        matches!(self, Self::Run(_))
    }
}

impl RunCommand {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let loaded =
            load(self.config.as_deref()).and_then(|config| Ok((telemetry::rules(config.log.as_deref())?, config)));
        let (rules, config) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => return Ok(not_started(error.as_ref(), NOT_SET_UP)),
        };
        raise_file_limit(config.limits.connections as u64);
        let shutdown = Shutdown::new();
        shutdown.on_signals()?;
        // Watched before anything takes its time: unwatched, the signal would end the process.
        let hangups = shutdown.on_hangup()?;
        telemetry::follow(rules);
        let bound = match init::start(&config, Clock::system(), shutdown.clone()).await {
            Err(error) if error.is_setup() => return Ok(not_started(&error, NOT_SET_UP)),
            Err(error) if error.is_taken() => return Ok(not_started(&error, TAKEN)),
            bound => bound?,
        };
        let verbs = bound.verbs.clone();
        let reloader = open(bound);
        notify(&[NotifyState::Ready]);
        shutdown.spawn(reload(reloader, self.config, hangups, shutdown.clone()));
        shutdown.spawn(watchdog(verbs, shutdown.clone()));
        shutdown.stopping().await;
        info!("stopping");
        notify(&[NotifyState::Stopping]);
        if shutdown.finish(limits::STOP).await {
            return Ok(ExitCode::SUCCESS);
        }
        anyhow::bail!("not everything had ended when the time to stop was over")
    }
}

/// Says what an administrator has to do, where one looks: in the log, and in `systemctl status`.
fn not_started(error: &dyn std::error::Error, code: u8) -> ExitCode {
    let reason = report::chain(error);
    error!("not started: {reason}");
    notify(&[NotifyState::Status(&format!("not started: {}", report::brief(&reason, 700)))]);
    ExitCode::from(code)
}

/// Each agent holds a connection: takes as many open files as the system grants this process, and says when those are too few.
fn raise_file_limit(connections: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        warn!(%error, "the number of open files stays as it is");
    }
    let Rlimit { current, .. } = getrlimit(Resource::Nofile);
    if let Some(files) = current.filter(|files| *files < connections) {
        warn!(
            files,
            connections,
            "this process may open fewer files than `limits.connections`; agents past that wait: raise LimitNOFILE of its unit, or `ulimit -n`"
        );
    }
}

/// Serves all APIs on a coordinator's listeners.
pub(super) fn open(bound: Bound) -> Reloader {
    let (router, exchange) = (api::mount(bound.verbs.clone()), api::exchange(bound.verbs.clone()));
    bound.serve(router, exchange)
}

/// Takes the configuration anew at each SIGHUP, which `systemctl reload` sends. One that cannot be used changes nothing.
async fn reload(mut reloader: Reloader, path: Option<PathBuf>, mut hangups: mpsc::Receiver<()>, stop: Shutdown) {
    loop {
        tokio::select! {
            asked = hangups.recv() => if asked.is_none() { return },
            () = stop.stopping() => return,
        }
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => warn!(%error, "systemd could not be told"),
        }
        let taken = load(path.as_deref()).and_then(|config| {
            let rules = telemetry::rules(config.log.as_deref())?;
            let needs_restart = reloader.take(&config)?;
            telemetry::follow(rules);
            Ok(needs_restart)
        });
        let status = match taken {
            Ok(needs_restart) => {
                info!(needs_restart = needs_restart.join(", "), "configuration reloaded");
                match needs_restart.is_empty() {
                    true => String::new(),
                    false => format!("these keys wait for a restart: {}", needs_restart.join(", ")),
                }
            }
            Err(error) => {
                let reason = report::chain(error.as_ref());
                error!(reason, "the new configuration is refused; the one before stays in force");
                format!("the new configuration is refused: {}", report::brief(&reason, 700))
            }
        };
        notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }
}

impl InitCommand {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let config = load(self.config.as_deref())?;
        let password = self.password_file.as_deref().map(password).transpose()?;
        let made = init::init(&config, Clock::system(), &self.user, password, self.reset).await?;
        print(&made, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn print(made: &Initialised, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        let object = serde_json::json!({
            "user": made.user,
            "password": made.password.as_ref().map(Secret::expose),
            "cluster_id": made.cluster,
            "ca_file": made.ca_file,
            "seal_file": made.seal_file,
        });
        return writeln!(out, "{object}");
    }
    writeln!(out, "user      {}", made.user)?;
    match &made.password {
        Some(password) => writeln!(out, "password  {}   (shown this once)", password.expose())?,
        None => writeln!(out, "password  as given")?,
    }
    writeln!(out, "cluster   default {}", made.cluster)?;
    writeln!(out, "CA        {}", made.ca_file.display())?;
    writeln!(out, "seal key  {}", made.seal_file.display())
}

/// The configuration that was named, or the packages' one, or the defaults.
fn load(path: Option<&Path>) -> anyhow::Result<CoordinatorConfig> {
    match path {
        Some(path) => Ok(config::load(path)?),
        None if Path::new(CONFIG).exists() => Ok(config::load(Path::new(CONFIG))?),
        None => Ok(CoordinatorConfig::default()),
    }
}

fn password(path: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let first = text.lines().next().unwrap_or_default();
    anyhow::ensure!(!first.is_empty(), "the first line of {} is empty", path.display());
    Ok(Secret::new(first))
}

/// Tells systemd that all is well, for as long as it is.
async fn watchdog(verbs: Verbs, stop: Shutdown) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    loop {
        tokio::select! {
            () = stop.stopping() => return,
            () = tokio::time::sleep(period / 3) => {}
        }
        match verbs.ready().await {
            Ok(()) => notify(&[NotifyState::Watchdog]),
            // A full disk is nothing that a restart would mend.
            Err(crate::coordinator::verbs::Refusal::Full) => notify(&[NotifyState::Watchdog]),
            Err(refusal) => warn!(%refusal, "not ready; systemd is not told otherwise"),
        }
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "systemd could not be told");
    }
}
