//! Deployments: which nodes run which collectors with which properties, as a manifest says it.
//!
//! Manifests come from the verbs; [`manifest`] reads them, [`resolve`] finds their nodes, [`diff`] shows what would change. What is
//! decided stands in the store, and agents are asked to keep their part of it. Nothing here knows users or dialects.

pub mod diff;
pub mod manifest;
pub mod resolve;
