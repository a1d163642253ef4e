//! The agent: the daemon on a node, and a node's own bundle.
//!
//! One line: [`source`] reads what the node's own files declare, [`redact`] takes the secrets out, [`pack`] makes segments,
//! [`send`] brings them to the coordinator. Each stage imports only the output type of the one to its left; `run` alone
//! knows all four. [`join`] makes a node known to a coordinator. The coordinator can only name collectors that the node declares, and
//! give values to properties within their patterns ([`deployments`]): no order carries a path or a command.

pub mod config;
pub mod deployments;
pub mod history;
pub mod host;
pub mod join;
pub mod local;
pub mod pack;
pub mod program;
pub mod redact;
pub mod run;
pub mod send;
pub mod source;
