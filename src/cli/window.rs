//! `--since` and `--until`: the time that logs are taken from, the same words wherever something is collected.

use crate::window::{Asked, Moment};

/// The time that logs are taken from.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct WindowOptions {
    /// Only what logs say since then: 45m, 2h or 3d ago, a time such as 2026-11-21T16:02:00Z, or all [default: the last 48 hours before
    /// --until, unless configured]
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Only what logs say until then, in the same words [default: now, and what is written meanwhile]
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
}

impl From<WindowOptions> for Asked {
    fn from(options: WindowOptions) -> Self {
        Self { since: options.since, until: options.until }
    }
}
