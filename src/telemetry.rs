//! The log: to standard error, in the form that whoever reads it there can use best.
//!
//! Under systemd each line begins with its priority and has no time of its own, since the journal adds both; otherwise lines
//! carry a time. What is logged comes from every room through `tracing`. It never writes to standard output.

use std::fmt;
use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How and how much is logged.
#[derive(Clone, Debug, Default, Args)]
pub struct Logging {
    /// What to log: error, warn, info, debug, trace, or rules such as `info,sheaf::net=debug`
    #[arg(long = "log", env = "SHEAF_LOG", value_name = "RULES", global = true, help_heading = "Logging")]
    pub rules: Option<String>,
    /// Form of the log on standard error
    #[arg(long, value_enum, value_name = "FORM", global = true, help_heading = "Logging")]
    pub log_format: Option<LogFormat>,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// Sets the log up for this process. A daemon tells what it does; a verb on the command line only what goes wrong.
///
/// # Errors
/// When the rules cannot be read, or the log was set up before.
pub fn start(logging: &Logging, daemon: bool) -> anyhow::Result<()> {
    let rules = logging.rules.as_deref().filter(|r| !r.is_empty());
    let filter = EnvFilter::try_new(rules.unwrap_or(if daemon { "info" } else { "warn" }))
        .map_err(|e| anyhow::anyhow!("`{}` is no rule for --log: {e}", rules.unwrap_or_default()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = match logging.log_format.unwrap_or(LogFormat::Text) {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text if under_journal() => builder.event_format(Journal).try_init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
    };
    done.map_err(|e| anyhow::anyhow!("the log cannot be set up: {e}"))
}

/// Whether standard error is the journal's own stream: systemd says so by device and inode.
fn under_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(std::io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// `<priority>fields text`, which is what systemd reads from a service's standard error.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        write!(writer, "<{priority}>")?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
