//! The command line: one file per verb family; everything typed becomes a plain request before anything is done.

pub mod agent;
pub mod bundle;
pub mod coordinator;
pub mod operate;
pub mod quickstart;
