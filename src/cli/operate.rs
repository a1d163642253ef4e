//! Verbs of the operator, through the native API.
