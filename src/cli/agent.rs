//! Verbs of a node: `sheaf agent run|join|collect|check|rules`, and the same of the program `sheaf-agent` ([`program`]).
//!
//! Arguments become a configuration and what is wanted; the work is the agent's. What a verb says on standard output is plain
//! when piped, and one JSON object or array with `--json`.

mod join;
mod line;
pub mod program;
mod rules;

use std::io::{self, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;

use line::Line;

use super::output;
use super::window::WindowOptions;
use crate::agent::config::AgentConfig;
use crate::agent::host::Host;
use crate::agent::join::at_start;
use crate::agent::local::{self, Collection, Finished, LocalError, Progress, Wanted};
use crate::agent::redact::SiteRule;
use crate::agent::run::{self, Reload};
use crate::agent::source::{self, Access, Finding, Level, Library, Row};
use crate::bundle::outcome::Verdict;
use crate::cli::{is_cut_off, remark};
use crate::limits;
use crate::protocol::redaction::AskedRule;
use crate::report;
use crate::shutdown::Shutdown;
use crate::telemetry;

/// Where the packages put the configuration.
const CONFIG: &str = "/etc/sheaf/agent.toml";

/// What `agent run` ends with when this node is not set up, as sysexits has it: the unit does not start it again then.
const NOT_SET_UP: u8 = 78;

/// `sheaf agent …`
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Run the agent until it is told to stop
    #[command(after_help = "Examples:
  sheaf agent run --config /etc/sheaf/agent.toml
  sheaf agent run --config agent.toml --log debug

Exit codes: 0 it was told to stop, 78 this node is not set up (no agent secret, or a configuration that cannot be used): starting
it again does not help, and the last line of the log says what does. 1 anything else.")]
    Run(RunCommand),
    /// Join a cluster with its access info, once for each node
    #[command(after_help = "Examples:
  sheaf agent join edge-7.json
  sheaf agent join edge-7.json --name web-1 --label rack=7
  ssh coordinator sheaf cluster access-info edge-7 | sheaf agent join -

The file comes from `sheaf cluster access-info CLUSTER --output FILE`, and is good for every node of the cluster.")]
    Join(join::JoinCommand),
    /// Collect on this node alone, with no coordinator
    #[command(after_help = "Examples:
  sheaf agent collect --output node.tar.zst
  sheaf agent collect --collector logs --collector system --case 4711 --output /mnt/usb/node.tar.zst
  sheaf agent collect --since 3h --until 45m --output node.tar.zst
  sheaf agent collect --output - | ssh host 'cat > node.tar.zst'

Exit codes: 0 complete, 3 partial, 4 cut (the reader of standard output went away), 7 aborted (interrupted, or the disk is nearly
full), 1 anything else.")]
    Collect(CollectCommand),
    /// Check configuration and collector files, and show what each collector is, what it would read and may not read, and how large that is
    #[command(after_help = "Examples:
  sheaf agent check
  sheaf agent check --collector logs
  sheaf agent check --deployment web
  sheaf agent check --json | jq '.[] | select(.access != \"ok\")'

Exit codes: 0 neither the configuration nor a collector file has an error, 1 some have, or nothing could be checked.")]
    Check(CheckCommand),
    /// List what redaction takes out: the built-in rules, and the site's own
    #[command(after_help = "Examples:
  sheaf agent rules
  sheaf agent rules --json | jq -r '.rules[] | .name + \": \" + .removes'

What stands between « and » in an example gives way to [redacted:MARK]. The built-in rules are always on; a site adds its own
in the section [[redact.rules]] of the configuration, which sheaf agent check looks over.")]
    Rules(rules::RulesCommand),
}

/// Where the configuration is.
#[derive(Clone, Debug, Args)]
pub struct Configured {
    /// Configuration file; all of it has defaults [default: /etc/sheaf/agent.toml if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// `sheaf agent run`
#[derive(Debug, Args)]
pub struct RunCommand {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    container: join::Container,
    /// Stop when this parent process ends, for parents that may be killed
    #[arg(long, value_name = "PID", hide = true)]
    parent: Option<i32>,
    /// Start nothing: only say whether somebody has joined this node to a cluster, for systemd's ExecCondition
    #[arg(long, hide = true, conflicts_with_all = ["join", "parent"])]
    condition: bool,
}

/// `sheaf agent collect`
#[derive(Debug, Args)]
pub struct CollectCommand {
    #[command(flatten)]
    configured: Configured,
    /// The bundle; a name that ends in .tar is not compressed, `-` is standard output [default: <bundle's name>.tar.zst]. One that
    /// is there already is not written over
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Collector to run, instead of the node's default ones; may be repeated
    #[arg(long = "collector", value_name = "NAME")]
    collectors: Vec<String>,
    /// Run the jobs of a deployment that this node keeps, with its properties
    #[arg(long, value_name = "NAME")]
    deployment: Option<String>,
    /// Bytes to collect at most, before compression, such as 500M (64K at least); oldest logs are left out first
    #[arg(long, value_name = "SIZE", value_parser = crate::agent::source::measure::size)]
    budget: Option<u64>,
    #[command(flatten)]
    window: WindowOptions,
    /// Take out more than the node does anyway: what PATTERN matches in a line, or its first group; may be given more than once
    #[arg(long, value_name = "NAME=PATTERN", value_parser = AskedRule::parse)]
    redact: Vec<AskedRule>,
    /// Case that the bundle is for
    #[arg(long, value_name = "ID")]
    case: Option<String>,
    /// Note for whoever reads it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,
}

/// `sheaf agent check`
#[derive(Debug, Args)]
pub struct CheckCommand {
    #[command(flatten)]
    configured: Configured,
    /// Collector to check, instead of the node's default ones; may be repeated
    #[arg(long = "collector", value_name = "NAME")]
    collectors: Vec<String>,
    /// Check the jobs of a deployment that this node keeps, with its properties
    #[arg(long, value_name = "NAME")]
    deployment: Option<String>,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

impl AgentCommand {
    /// Runs it to its end.
    ///
    /// # Errors
    /// Whatever it could not do.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(command) => {
                if let Some(parent) = command.parent {
                    end_with(parent)?;
                }
                if command.condition {
                    return Ok(condition(&command.configured));
                }
                daemon(&command.configured, command.container)
            }
            Self::Join(command) => command.run(),
            Self::Collect(command) => collect(command),
            Self::Check(command) => check(&command),
            Self::Rules(command) => command.run(),
        }
    }

    /// Whether it is a daemon, whose log is what people see of it.
    pub fn is_daemon(&self) -> bool {
        matches!(self, Self::Run(_))
    }
}

impl Configured {
    fn load(&self) -> anyhow::Result<AgentConfig> {
        match self.path() {
            Some(path) => Ok(AgentConfig::load(path)?),
            None => Ok(AgentConfig::default()),
        }
    }

    /// The same to be looked over, with what is wrong with its values.
    fn look_over(&self) -> anyhow::Result<(AgentConfig, Option<Row>)> {
        let Some(path) = self.path() else { return Ok((AgentConfig::default(), None)) };
        let (config, fault) = AgentConfig::look_over(path)?;
        let row = fault.map(|fault| Row {
            source: path.display().to_string(),
            access: Access::Lint,
            why: report::chain(&fault),
            level: Some(Level::Error),
            ..Row::default()
        });
        Ok((config, row))
    }

    fn path(&self) -> Option<&Path> {
        let packaged = || Some(Path::new(CONFIG)).filter(|path| path.exists());
        self.config.as_deref().or_else(packaged)
    }
}

/// One thread for everything but collections.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        // Vitals are read now and then: their thread need not wait for the next time.
        .thread_keep_alive(Duration::from_secs(1))
        .build()
        .context("cannot start the runtime")
}

/// Has the kernel send SIGTERM when the parent ends.
fn end_with(parent: i32) -> anyhow::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
        .context("cannot watch the parent process")?;
    let now = rustix::process::getppid().map(|id| id.as_raw_nonzero().get());
    // It may have ended before there was a signal to be sent.
    anyhow::ensure!(now == Some(parent), "the parent process has ended");
    Ok(())
}

fn daemon(configured: &Configured, container: join::Container) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        let shutdown = Shutdown::new();
        shutdown.on_signals().context("cannot watch for signals")?;
        let mounted = container.mounted()?;
        let again = match &mounted {
            Some(mounted) => Configured { config: Some(mounted.config()) },
            None => configured.clone(),
        };
        // Watched before anything takes its time: unwatched, the signal would end the process.
        let load = move || {
            let sound = |config: AgentConfig| telemetry::rules(config.log.as_deref()).map(|_| config);
            again.load().and_then(sound).map_err(|error| report::chain(error.as_ref()))
        };
        let reload = Reload::on_hangup(&shutdown, load).context("cannot watch for signals")?;
        let reload = reload.then(|config| {
            if let Ok(rules) = telemetry::rules(config.log.as_deref()) {
                telemetry::follow(rules);
            }
        });
        let config = match mounted {
            Some(mounted) => at_start(&mounted, &shutdown).await?,
            None => match configured.load() {
                Ok(config) => config,
                Err(error) => return Ok(not_set_up(error.as_ref())),
            },
        };
        match telemetry::rules(config.log.as_deref()) {
            Ok(rules) => telemetry::follow(rules),
            Err(error) => return Ok(not_set_up(error.as_ref())),
        }
        match run::run_reloading(config, Some(reload), shutdown.clone()).await {
            Err(error) if error.is_setup() => return Ok(not_set_up(&error)),
            ended => ended?,
        }
        if !shutdown.finish(limits::STOP).await {
            tracing::warn!("some tasks did not end in time");
        }
        tracing::info!("agent stopped");
        Ok(ExitCode::SUCCESS)
    });
    // A reading of vitals may hang on a disk; it ends with the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    done
}

/// Whether the unit is worth a start: a fresh node is no failed one. A configuration that cannot be used is the start's to refuse.
fn condition(configured: &Configured) -> ExitCode {
    let Some(lack) = configured.load().ok().and_then(|config| run::not_joined(&config)) else {
        return ExitCode::SUCCESS;
    };
    tracing::warn!("not started yet: {}", report::chain(&lack));
    ExitCode::from(NOT_SET_UP)
}

/// Says what an administrator has to do, where one looks: in the log, and in `systemctl status`.
fn not_set_up(error: &dyn std::error::Error) -> ExitCode {
    let reason = report::chain(error);
    tracing::error!("not started: {reason}");
    run::refused(&reason);
    ExitCode::from(NOT_SET_UP)
}

fn collect(command: CollectCommand) -> anyhow::Result<ExitCode> {
    let config = command.configured.load()?;
    let wanted = Wanted {
        collectors: command.collectors,
        deployment: command.deployment,
        budget: command.budget,
        window: command.window.into(),
        redact: command.redact.iter().map(|rule| SiteRule::asked(&rule.name, &rule.pattern)).collect(),
        case: command.case,
        note: command.note,
        requested_by: std::env::var("SUDO_USER")
            .or_else(|_| std::env::var("USER"))
            .unwrap_or_else(|_| "local".to_owned()),
    };
    let collection = Collection::prepare(config, wanted)?;
    let output = command.output.unwrap_or_else(|| format!("{}.tar.zst", collection.name()).into());
    let to_stdout = output == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        anyhow::bail!("a bundle is not for a terminal; give --output FILE, or send it through a pipe");
    }
    let finished = interruptible(move |stop| {
        let mut shown = Line::new();
        // A node that has too much to do is waited for first.
        shown.show(|| "collecting".to_owned());
        let mut show = |progress: Progress| shown.show(|| far(&progress));
        let finished = if to_stdout {
            collection.into_writer(io::stdout(), &stop, &mut show)
        } else {
            collection.into_file(&output, &stop, &mut show)
        };
        shown.clear();
        finished
    });
    let finished = match finished {
        Err(error) if to_stdout && is_cut_off(&error) => return Ok(ExitCode::from(Verdict::Truncated.exit_code())),
        finished => finished?,
    };
    let verdict = finished.statement.verdict;
    tell(&finished, command.json, to_stdout)?;
    Ok(ExitCode::from(verdict.exit_code()))
}

/// Runs `body` on a thread of low priority; the first SIGINT or SIGTERM asks it to stop.
fn interruptible(
    body: impl FnOnce(CancellationToken) -> Result<Finished, LocalError> + Send + 'static,
) -> anyhow::Result<Finished> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let shutdown = Shutdown::new();
        shutdown.on_signals().context("cannot watch for signals")?;
        let stop = shutdown.token().clone();
        let (done, done_out) = tokio::sync::oneshot::channel();
        run::in_background(move || {
            let _ = done.send(body(stop));
        })
        .context("cannot start a thread")?;
        Ok(done_out.await.context("the collection broke off")??)
    })
}

fn far(progress: &Progress) -> String {
    let Progress { entries, raw, wire, .. } = *progress;
    format!("{}, {} read, {} compressed", output::counted(entries, "file"), output::bytes(raw), output::bytes(wire))
}

/// Says what became of it: on standard output, unless the bundle itself goes there.
fn tell(finished: &Finished, json: bool, to_stdout: bool) -> anyhow::Result<()> {
    let Finished { statement, progress, path } = finished;
    let text = if json {
        let mut text = serde_json::to_string(&serde_json::json!({
            "id": statement.bundle,
            "name": statement.bundle,
            "path": path,
            "verdict": statement.verdict,
            "reason": statement.reason,
            "files": progress.entries,
            "bytes": progress.raw,
            "wire_bytes": progress.wire,
            "missing": progress.missing,
            "truncated": progress.truncated,
            "redacted": progress.redacted,
        }))?;
        text.push('\n');
        text
    } else {
        let place = path.as_ref().map(|path| format!("  {}", report::escape(&path.to_string_lossy())));
        let reason = if statement.reason.is_empty() {
            String::new()
        } else {
            format!(" ({})", report::escape(&statement.reason))
        };
        format!(
            "{}{reason}{}\n{}; {} not whole, {} gave nothing, {} redacted\n",
            statement.verdict,
            place.unwrap_or_default(),
            far(progress),
            progress.truncated,
            output::counted(progress.missing, "source"),
            output::counted(progress.redacted, "secret"),
        )
    };
    if to_stdout {
        io::stderr().write_all(text.as_bytes())?;
    } else {
        output::say(&text)?;
    }
    if statement.verdict == Verdict::Aborted {
        remark(format_args!("warning: given up before its end: {}", report::escape(&statement.reason)));
    }
    Ok(())
}

fn check(command: &CheckCommand) -> anyhow::Result<ExitCode> {
    let (config, fault) = command.configured.look_over()?;
    let host = Host::open(&config.host_root)
        .with_context(|| format!("cannot open the host's root {}", config.host_root.display()))?;
    let library = Library::of(&config);
    let (names, deployment) = (&command.collectors, command.deployment.as_deref());
    let deployment = deployment.map(|name| local::deployment(&config, name)).transpose()?;
    let plan = match &deployment {
        Some(deployment) => library.plan_of(deployment, names, &config),
        None => library.plan(names, &config),
    };
    let meant =
        |finding: &Finding| names.is_empty() || finding.collector.is_empty() || names.contains(&finding.collector);
    let findings: Vec<Finding> = source::lint(&config).into_iter().filter(meant).collect();
    let faults = findings.iter().filter(|finding| finding.level == Level::Error).count();
    let about = source::declared(&library, names, deployment.as_deref());
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut table = Rows { json: command.json, count: 0, written: Ok(()) };
    // Rows come as they are found: there may be many, and somebody may wait for them.
    let mut show = |row| table.row(&mut out, &row);
    let configured: Vec<Row> = fault.into_iter().chain(rules::linted(&config.redact.rules)).collect();
    let unusable = configured.iter().filter(|row| row.level == Some(Level::Error)).count();
    let mut about = configured.into_iter().chain(findings.into_iter().map(Row::from)).chain(about);
    if about.try_for_each(&mut show).is_continue() {
        let _ = source::check(&plan, &host, &CancellationToken::new(), &mut show);
    }
    if table.written.is_ok() {
        table.written = table.end(&mut out).and_then(|()| out.flush());
    }
    output::quiet(table.written)?;
    let declared = library.declared();
    // A word misspelled; one whose file has a fault has its finding.
    if let Some(name) = names.iter().find(|name| faults == 0 && !declared.contains_key(*name)) {
        return Err(LocalError::Collector(name.clone()).into());
    }
    let errors = |count: usize| output::counted(count as u64, "error");
    if unusable > 0 {
        remark(format_args!("{} in the configuration: the agent does not start by it", errors(unusable)));
    }
    if faults > 0 {
        remark(format_args!(
            "{} in collector files: what they declare is not there until they are mended",
            errors(faults)
        ));
    }
    Ok(if unusable + faults > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The rows of `check`, written one by one.
struct Rows {
    json: bool,
    count: u64,
    written: io::Result<()>,
}

impl Rows {
    fn row(&mut self, out: &mut impl io::Write, row: &Row) -> ControlFlow<()> {
        self.written = self.write(out, row);
        self.count += 1;
        if self.written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn write(&self, out: &mut impl io::Write, row: &Row) -> io::Result<()> {
        if self.json {
            out.write_all(if self.count == 0 { b"[\n" } else { b",\n" })?;
            return serde_json::to_writer(out, row).map_err(io::Error::from);
        }
        if self.count == 0 && io::stdout().is_terminal() {
            writeln!(out, "{:8} {:12} {:>10}  SOURCE", "ACCESS", "COLLECTOR", "SIZE")?;
        }
        let (level, line) = (row.level.map(level), row.line.map(|line| format!(":{line}")).unwrap_or_default());
        if let Some(level) = level {
            let (source, why) = (report::escape(&row.source), report::escape(&row.why));
            return writeln!(out, "{level:8} {:12} {:>10}  {source}{line}: {why}", report::escape(&row.collector), "-");
        }
        let size = row.size.map_or_else(|| "-".to_owned(), output::bytes);
        let why = if row.why.is_empty() { String::new() } else { format!("  ({})", report::escape(&row.why)) };
        let (collector, source) = (report::escape(&row.collector), report::escape(&row.source));
        writeln!(out, "{:8} {collector:12} {size:>10}  {source}{why}", access(row.access))
    }

    fn end(&self, out: &mut impl io::Write) -> io::Result<()> {
        match (self.json, self.count) {
            (true, 0) => out.write_all(b"[]\n"),
            (true, _) => out.write_all(b"\n]\n"),
            _ => Ok(()),
        }
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}

fn access(access: Access) -> &'static str {
    match access {
        Access::Ok => "ok",
        Access::Denied => "denied",
        Access::Absent => "absent",
        Access::Skipped => "skipped",
        Access::Lint => "lint",
    }
}
