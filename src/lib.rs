//! sheaf gathers support bundles from clusters of Linux nodes.
//!
//! Two lines run through the house. On a node: `agent::source` → `agent::redact` → `agent::pack` → `agent::send`.
//! In the middle: `coordinator::receive` → `coordinator::verify` → `coordinator::merge` → `coordinator::deliver`.
//! What they say to each other stands in [`protocol`], what they make together in [`bundle`].
//!
//! Two programs come of it: `sheaf` is everything, for people who operate, coordinate or collect on one host; `sheaf-agent`
//! ([`cli::agent::program`]) runs on every node and holds nothing but the agent.
//!
//! The floors, lowest first; nothing imports upwards and the two wings never import each other
//! (`tests/house.rs` holds this):
//!
//! | floor | rooms |
//! |---|---|
//! | ground | [`id`] [`secret`] [`limits`] [`clock`] [`floor`] [`shutdown`] [`state`] [`report`] [`window`] |
//! | first | [`bundle`] [`protocol`] [`net`] |
//! | second | [`agent`] and [`coordinator`] |
//! | third | [`api`], a room per public API |
//! | roof | [`config`] [`telemetry`] [`cli`] |

// What is printed may find a closed pipe: `cli` writes with what returns an error, never with what panics.
#![cfg_attr(not(test), warn(clippy::print_stderr, clippy::print_stdout))]

pub mod clock;
pub mod floor;
pub mod id;
pub mod limits;
pub mod report;
pub mod secret;
pub mod shutdown;
pub mod state;
pub mod window;

pub mod bundle;
pub mod net;
pub mod protocol;

pub mod agent;
pub mod coordinator;

pub mod api;

pub mod cli;
pub mod config;
pub mod telemetry;
