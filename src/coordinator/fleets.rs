//! Fleets: groups of clusters that are granted and asked for as one.
//!
//! Rows come from the store and go to the verbs; a fleet holds no node itself, and a cluster may be in several.

use crate::id::{ClusterId, FleetId};

/// A fleet and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetRow {
    /// Its id.
    pub id: FleetId,
    /// Its name, unique.
    pub name: String,
    /// Whether certificates are issued for it.
    pub federation: bool,
    /// When it was made, milliseconds since 1970.
    pub created_ms: i64,
    /// Its clusters, by name.
    pub clusters: Vec<(ClusterId, String)>,
}
