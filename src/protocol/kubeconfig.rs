//! A kubeconfig with a client certificate: where a fleet is reached, and as whom.
//!
//! The coordinator makes one when it issues a certificate; kubectl and whatever else reads kubeconfigs takes it. The server's
//! certificate is always checked: there is no member here by which it would not be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::secret::Secret;

/// What stands in it.
pub struct Kubeconfig<'a> {
    /// The fleet's name.
    pub fleet: &'a str,
    /// The user's name.
    pub user: &'a str,
    /// URL of the server.
    pub server: &'a str,
    /// The CA that the server is known by, PEM.
    pub ca: &'a str,
    /// The client's certificate, PEM.
    pub certificate: &'a str,
    /// Its key, PEM.
    pub key: &'a Secret,
}

impl Kubeconfig<'_> {
    /// As JSON, which is YAML as well.
    pub fn to_json(&self) -> Value {
        json!({
            "kind": "Config",
            "apiVersion": "v1",
            "clusters": [{
                "name": self.fleet,
                "cluster": { "server": self.server, "certificate-authority-data": STANDARD.encode(self.ca) },
            }],
            "users": [{
                "name": self.user,
                "user": {
                    "client-certificate-data": STANDARD.encode(self.certificate),
                    "client-key-data": STANDARD.encode(self.key.expose()),
                },
            }],
            "contexts": [{ "name": self.fleet, "context": { "cluster": self.fleet, "user": self.user } }],
            "current-context": self.fleet,
        })
    }
}
