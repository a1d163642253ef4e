//! The coordinator: receive → verify → merge → deliver, and the state behind it.

pub mod run;
pub mod session;
