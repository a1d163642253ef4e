//! What this program is called: texts that tell people what to run next name what they have.
//!
//! The verbs of a node are `sheaf agent …` where the whole of sheaf is, and `sheaf-agent …` on a node that has only that. Which it is, its
//! `main` says once, before anything else; nothing is found out from the environment.

use std::sync::OnceLock;

static CALLED: OnceLock<&'static str> = OnceLock::new();

/// Says what stands before a verb. Only the first word counts.
pub fn call(name: &'static str) {
    let _ = CALLED.set(name);
}

/// What stands before a verb: `sheaf agent` unless said otherwise.
pub fn called() -> &'static str {
    CALLED.get().copied().unwrap_or("sheaf agent")
}
