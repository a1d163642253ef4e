//! What agent, coordinator and CLI say to each other; both ends of a conversation in one file, or one room.
//!
//! Plain serde types and their routes. Readers ignore unknown members, writers leave out what is default; nothing here
//! opens a socket.

pub mod agents;
pub mod control;
pub mod federation;
pub mod history;
pub mod join;
pub mod kubeconfig;
pub mod problem;
pub mod questions;
pub mod redaction;

/// Version of the agents' conversation; a coordinator speaks this one and refuses others with a clear answer.
pub const VERSION: u16 = 1;
