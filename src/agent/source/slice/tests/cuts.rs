//! Cutting: by halves, line by line, and through a reader; each against the plain rule that a test can state in a few lines.
