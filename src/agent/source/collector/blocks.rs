//! The blocks of a collector: files, commands, requests on loopback and exports of the journal, as TOML gives them.
//!
//! They come from a collector's text and go out as values; what they may say together is for [`super::rules`]. Nothing here opens a file.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::address::Address;
use super::each::Each;
use crate::agent::source::glob::Pattern;
use crate::agent::source::measure;
use crate::id::{CommandName, ExportName, RequestName};

/// Files by glob.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files<P = Pattern> {
    /// Absolute globs, each below one of the roots.
    pub paths: Vec<P>,
    /// Absolute globs of what to leave out.
    #[serde(default = "Vec::new")]
    pub exclude: Vec<P>,
    /// Further roots, for these alone.
    #[serde(default)]
    pub roots: Vec<PathBuf>,
    /// Takes rotated and compressed siblings too.
    #[serde(default = "yes")]
    pub rotated: bool,
    /// Passes what is no text as it is.
    #[serde(default)]
    pub binary: bool,
    /// Bytes of one file at most.
    #[serde(default, deserialize_with = "measure::de_some_size")]
    pub max_bytes: Option<u64>,
    /// Whether only lines from the request's time are taken; unless said, it depends on each file's path.
    #[serde(default)]
    pub window: Option<bool>,
    /// Folders below `**` at most.
    #[serde(default = "depth")]
    pub depth: usize,
}

/// A command.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Name of its output.
    pub name: CommandName,
    /// Program and arguments; never seen by a shell.
    pub argv: Vec<String>,
    /// Its time.
    #[serde(default, deserialize_with = "measure::de_some_wait")]
    pub timeout: Option<Duration>,
    /// Bytes of output at most.
    #[serde(default, deserialize_with = "measure::de_some_size")]
    pub max_bytes: Option<u64>,
    /// Exit codes that count as success.
    #[serde(default = "success")]
    pub exits: Vec<i32>,
    /// What must hold, or it is skipped.
    #[serde(default)]
    pub when: When,
    /// Capabilities that it keeps, and without which it is skipped; `root` for a program that asks who it is.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Capabilities that it keeps where the agent has them.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// What it is run for, once each.
    #[serde(default)]
    pub each: Option<Each>,
}

/// A request to a server on this node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Name of the answer.
    pub name: RequestName,
    /// Where the server listens: loopback, or a socket of the file system.
    pub at: Address,
    /// What is asked for, with its query.
    pub path: String,
    /// Time of the whole request.
    #[serde(default, deserialize_with = "measure::de_some_wait")]
    pub timeout: Option<Duration>,
    /// Bytes of the answer at most.
    #[serde(default, deserialize_with = "measure::de_some_size")]
    pub max_bytes: Option<u64>,
    /// Status codes that count as success.
    #[serde(default = "fine")]
    pub statuses: Vec<u16>,
    /// File below one of the collector's roots that holds a bearer token.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// What must hold, or it is skipped.
    #[serde(default)]
    pub when: When,
}

/// What must hold; all that is given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// A path of the host that is there.
    #[serde(alias = "path")]
    pub path_exists: Option<PathBuf>,
    /// A program in the fixed PATH.
    #[serde(alias = "command")]
    pub command_exists: Option<String>,
    /// A unit that systemd has active.
    pub unit_active: Option<String>,
    /// Sockets of the file system, on one of which somebody listens whom the agent may ask.
    pub socket_listens: Option<Vec<PathBuf>>,
}

/// An export of the journal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Name of its output.
    pub name: ExportName,
    /// Units; all when empty.
    #[serde(default)]
    pub units: Vec<String>,
    /// Ways by which entries came in; all when empty.
    #[serde(default)]
    pub transports: Vec<Transport>,
    /// Least priority.
    #[serde(default)]
    pub priority: Option<Priority>,
    /// How far back, where the request's time does not count.
    #[serde(default, deserialize_with = "measure::de_some_wait")]
    pub since: Option<Duration>,
    /// Whether only entries from the request's time are taken.
    #[serde(default = "yes")]
    pub window: bool,
    /// Which boots.
    #[serde(default)]
    pub boot: Boot,
    /// Bytes at most.
    #[serde(default, deserialize_with = "measure::de_some_size")]
    pub max_bytes: Option<u64>,
    /// Time at most.
    #[serde(default, deserialize_with = "measure::de_some_wait")]
    pub timeout: Option<Duration>,
}

/// Ways into the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the journal's own words")]
pub enum Transport {
    Audit,
    Driver,
    Journal,
    Kernel,
    Stdout,
    Syslog,
}

/// Priorities of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "syslog's own words")]
pub enum Priority {
    Emerg,
    Alert,
    Crit,
    Err,
    Warning,
    Notice,
    Info,
    Debug,
}

/// Which boots of the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BootText")]
pub enum Boot {
    /// The one that many boots before this; 0 is this one.
    Back(u16),
    /// All that are kept.
    #[default]
    All,
}

/// `current`, `previous`, `all`, or a number: 0, -1, -2 and so on.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected `current`, `previous`, `all`, or a number of boots back such as -2")]
enum BootText {
    Word(String),
    Number(i32),
}

impl TryFrom<BootText> for Boot {
    type Error = &'static str;

    fn try_from(text: BootText) -> Result<Self, Self::Error> {
        let back = match text {
            BootText::Word(word) => match word.as_str() {
                "all" => return Ok(Self::All),
                "current" => 0,
                "previous" => -1,
                _ => 1,
            },
            BootText::Number(number) => number,
        };
        let back = back.checked_neg().and_then(|back| u16::try_from(back).ok()).filter(|back| *back <= MOST_BACK);
        back.map(Self::Back).ok_or("a boot is `current`, `previous`, `all`, or a number from 0 to -100")
    }
}

/// Boots back that can be asked for.
const MOST_BACK: u16 = 100;

fn yes() -> bool {
    true
}
fn depth() -> usize {
    16
}
fn success() -> Vec<i32> {
    vec![0]
}
fn fine() -> Vec<u16> {
    vec![200]
}
