//! The log: to standard error, in the form that whoever reads it there can use best.
//!
//! Under systemd each line begins with its priority and has no time of its own, since the journal adds both; otherwise lines
//! carry a time. Lines of the audit log are marked as such in every form. What is logged comes from every room through
//! `tracing`; how much, from the command line, or else from a daemon's configuration, which a reload may change. It never writes to
//! standard output.

use std::fmt;
use std::sync::OnceLock;

use clap::{Args, ValueEnum};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::clock::{Clock, rfc3339};

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

/// What a daemon logs unless somebody says otherwise.
const DAEMON: &str = "info";
/// Puts other rules in force.
type SetRules = dyn Fn(Targets) -> Result<(), reload::Error> + Send + Sync;

/// Set once the log is, and only where the command line gives no rules.
static RULES: OnceLock<Box<SetRules>> = OnceLock::new();

/// Reads the rules of a daemon's configuration.
///
/// # Errors
/// When they cannot be read.
pub fn rules(configured: Option<&str>) -> anyhow::Result<Targets> {
    let rules = configured.unwrap_or(DAEMON);
    rules.parse().map_err(|e| anyhow::anyhow!("`log`: `{rules}` cannot be used: {e}"))
}

/// Logs by these rules from now on, unless the command line or the environment gave others.
pub fn follow(rules: Targets) {
    // It fails only where the log is gone.
    let _ = RULES.get().map(|set| set(rules));
}

/// Sets the log up for this process. A daemon tells what it does; a verb on the command line only what goes wrong.
///
/// # Errors
/// When the rules cannot be read, or the log was set up before.
pub fn start(logging: &Logging, daemon: bool) -> anyhow::Result<()> {
    let said = logging.rules.as_deref().filter(|rules| !rules.is_empty());
    let rules = said.unwrap_or(if daemon { DAEMON } else { "warn" });
    let rules: Targets =
        rules.parse().map_err(|e| anyhow::anyhow!("`{rules}` cannot be used for --log or SHEAF_LOG: {e}"))?;
    // The rules alone decide, whatever the level. An error of the log is not told: it would go where the log could not.
    let builder = tracing_subscriber::fmt()
        .with_max_level(Level::TRACE)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .log_internal_errors(false);
    let done = match logging.log_format.unwrap_or(LogFormat::Text) {
        LogFormat::Json => {
            let (rules, handle) = reload::Layer::new(rules);
            changeable(daemon && said.is_none(), move |rules| handle.reload(rules));
            builder.json().flatten_event(true).finish().with(rules).try_init()
        }
        LogFormat::Text => {
            let (rules, handle) = reload::Layer::new(rules);
            changeable(daemon && said.is_none(), move |rules| handle.reload(rules));
            builder.event_format(Lines { journal: under_journal() }).finish().with(rules).try_init()
        }
    };
    done.map_err(|e| anyhow::anyhow!("the log cannot be set up: {e}"))
}

fn changeable(whether: bool, set: impl Fn(Targets) -> Result<(), reload::Error> + Send + Sync + 'static) {
    if whether {
        let _ = RULES.set(Box::new(set));
    }
}

/// Whether standard error is the journal's own stream: systemd says so by device and inode.
fn under_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(std::io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// `<6>text fields` for the journal, `time INFO text fields` for others.
struct Lines {
    journal: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        if self.journal {
            write!(writer, "<{}>", priority(metadata.level()))?;
        } else {
            write!(writer, "{} {:5} ", rfc3339(Clock::system().now_ms()), metadata.level())?;
        }
        if metadata.target() == "audit" {
            write!(writer, "audit: ")?;
        }
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// syslog's number.
fn priority(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing::subscriber::with_default;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("whole").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(journal: bool, what: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .event_format(Lines { journal })
            .with_writer(move || writer.clone())
            .finish();
        with_default(subscriber, what);
        let bytes = sink.0.lock().expect("whole").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn the_journal_gets_priorities_and_no_time() {
        let text = logged(true, || {
            tracing::error!("bad");
            tracing::info!(target: "audit", user = "a\nb", "entered");
        });
        assert_eq!(text, "<3>bad\n<6>audit: entered user=\"a\\nb\"\n");
    }

    #[test]
    fn others_get_a_time() {
        let text = logged(false, || tracing::warn!(n = 1, "careful"));
        assert!(text.ends_with("Z WARN  careful n=1\n"), "{text}");
    }
}
