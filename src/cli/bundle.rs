//! Verbs on bundle files: `sheaf bundle verify|list|cat|extract|info`.
