//! What a caller hears when the coordinator says no: a kind that faces map to their dialect, and a safe sentence.
//!
//! The chain behind a refusal is logged where it arises and never travels in one.

use crate::report;

/// Why a verb was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No credential, or none that is good.
    #[error("the credentials are missing, wrong or expired")]
    Unauthenticated,
    /// A good credential that may not do this.
    #[error("this user may not do that")]
    Forbidden,
    /// What was named does not exist.
    #[error("{0} not found")]
    NotFound(String),
    /// What was asked for makes no sense; says why.
    #[error("{0}")]
    Invalid(String),
    /// What was asked for does not go together with what there is; says why.
    #[error("{0}")]
    Conflict(String),
    /// The caller has asked for too much at the same time; says of what, and when to come again.
    #[error("{0}")]
    TooMany(String),
    /// Too many log-ins failed; says after how many seconds another one is listened to.
    #[error("too many log-ins failed from here; try again in {}", report::counted(usize::try_from(*.0).unwrap_or(usize::MAX), "second"))]
    Throttled(u64),
    /// Too much at the same time; the same request may do later.
    #[error("the coordinator is busy; try again in a moment")]
    Busy,
    /// The state cannot be written, since the disk is full.
    #[error("the coordinator's disk is full")]
    Full,
    /// Anything else; the log knows.
    #[error("an error inside the coordinator; its log says more")]
    Internal,
}

impl Refusal {
    /// Whether the caller was turned away for who he is, and not for what he asked.
    pub fn is_denial(&self) -> bool {
        matches!(self, Self::Unauthenticated | Self::Forbidden | Self::Throttled(_))
    }

    /// Seconds after which the same request may do.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Throttled(secs) => Some(*secs),
            Self::TooMany(_) | Self::Busy => Some(5),
            _ => None,
        }
    }

    /// Something foreign that was not found, named safely.
    pub fn not_found(kind: &str, name: &str) -> Self {
        Self::NotFound(format!("{kind} `{}`", report::brief(name, 80)))
    }

    /// An error of our own: its chain goes to the log, and nothing of it to the caller.
    pub fn internal(doing: &str, error: &dyn std::error::Error) -> Self {
        tracing::error!(error = report::chain(error), "{doing}");
        Self::Internal
    }
}
