//! Logs of the process itself: to the journal or standard error.
