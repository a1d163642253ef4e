//! The agent as it is: its own bundles, and its daemon against a real coordinator over real TLS, through a line that is cut.

mod asked;
mod check;
mod control;
mod daemon;
mod deployed;
mod golden;
mod join;
mod kit;
mod line;
mod local;
mod robust;
mod tunnel;
