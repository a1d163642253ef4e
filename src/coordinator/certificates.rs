//! Certificates of operators: who holds which, for which fleet, until when.
//!
//! Rows come from the store and go to the verbs and to whoever checks a credential. A certificate is known by its serial
//! number alone; nothing that stands in it besides is believed.

use std::collections::BTreeSet;

use super::principal::Role;
use crate::id::{ClusterId, FleetId};

/// A certificate as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRow {
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// Who asked for it.
    pub user: String,
    /// What it grants at most.
    pub role: Role,
    /// The fleet that it reaches.
    pub fleet: FleetId,
    /// The fleet's name.
    pub fleet_name: String,
    /// When it was issued, milliseconds since 1970.
    pub created_ms: i64,
    /// Until when it is good.
    pub expires_ms: i64,
    /// When it was revoked, if it was.
    pub revoked_ms: Option<i64>,
}

/// What a certificate that is good grants; the user behind it may have less by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorCertificate {
    /// Whose it is.
    pub user: String,
    /// What it grants at most.
    pub role: Role,
    /// The fleet that it reaches.
    pub fleet: FleetId,
    /// That fleet's clusters, as they are now.
    pub clusters: BTreeSet<ClusterId>,
}
