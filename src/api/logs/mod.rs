//! The agent secrets API of log management.
