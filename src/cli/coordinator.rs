//! Verbs of the coordinator's host: `sheaf coordinator …`.
