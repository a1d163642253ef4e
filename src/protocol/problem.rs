//! The body of an error in our own conversations: a safe sentence and a code.
//!
//! The inside text (chain, paths, addresses) never travels.

use serde::{Deserialize, Serialize};

/// An error as the peer sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// A word for programs, such as `not_found`.
    pub code: String,
    /// A sentence for people, which says what to do next where something can be done.
    pub message: String,
}

impl Problem {
    /// A new one.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}
