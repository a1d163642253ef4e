//! The coordinator: receive → verify → merge → deliver, and the state behind it.

pub mod attempts;
pub mod audit;
pub mod bundles;
pub mod certificates;
pub mod config;
pub mod credential;
pub mod deliver;
pub mod deployments;
pub mod endpoints;
pub mod fleets;
pub mod init;
pub mod join;
pub mod keys;
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
pub mod signature;
pub mod store;
pub mod stored;
pub mod tasks;
pub mod users;
pub mod verbs;
pub mod verify;
