//! Verbs of a node: `sheaf agent …`.
