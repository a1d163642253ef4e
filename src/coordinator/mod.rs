//! The coordinator: receive → verify → merge → deliver, and the state behind it.

pub mod certificates;
pub mod config;
pub mod deliver;
pub mod deployments;
pub mod endpoints;
pub mod fleets;
pub mod init;
pub mod join;
#[cfg(test)]
pub(crate) mod kit;
pub mod merge;
pub mod pki;
pub mod principal;
pub mod receive;
pub mod refusal;
pub mod roster;
pub mod run;
pub mod secrets;
pub mod session;
pub mod store;
pub mod tasks;
pub mod users;
pub mod verbs;
pub mod verify;
