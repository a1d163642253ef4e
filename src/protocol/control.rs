//! The operators' conversation: the native API under `/sheaf/v1` on the public listener, which the CLI uses.
