//! The one binary. Parses, dispatches, maps to an exit code; no logic.

fn main() {}
