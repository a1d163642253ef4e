//! Agent secrets: made, listed, revoked, traded.
//!
//! Names come from faces, secrets from `coordinator::secrets`; a secret is shown once and never again.

use std::net::IpAddr;

use super::{Exchanged, NewSecret, Principal, Refusal, Role, SecretRow, Verbs};
use crate::coordinator::roster::DEFAULT_CLUSTER;
use crate::id::NodeName;

/// Agent secrets.
impl Verbs {
    /// Makes an agent secret for a node of that name in `cluster` (id or name; `default` when absent).
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a name that is none and for an unknown cluster; [`Refusal::Conflict`] for a taken name, also
    /// a revoked one's.
    pub async fn create_secret(
        &self,
        who: &Principal,
        name: &str,
        cluster: Option<&str>,
    ) -> Result<NewSecret, Refusal> {
        self.recorded(who, "secret.create", name, async {
            who.needs(Role::Admin)?;
            let name: NodeName = name.parse().map_err(|e: crate::id::NameError| Refusal::Invalid(e.to_string()))?;
            let cluster = self.cluster_of(who, cluster.unwrap_or(DEFAULT_CLUSTER)).await;
            let cluster = cluster.map_err(|refusal| match refusal {
                Refusal::NotFound(what) => Refusal::Invalid(format!("{what} not found")),
                other => other,
            })?;
            let (row, secret) = self.rooms.secrets.create(&name, cluster.row.id).await?;
            Ok(NewSecret { row, secret })
        })
        .await
    }

    /// All agent secrets within reach, by name; never the secrets themselves.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn secrets(&self, who: &Principal) -> Result<Vec<SecretRow>, Refusal> {
        self.watched(who, "secret.list", "", async {
            who.needs(Role::Viewer)?;
            let rows = self.rooms.secrets.list().await?;
            Ok(rows.into_iter().filter(|row| who.sees(row.cluster)).collect())
        })
        .await
    }

    /// Revokes an agent secret, for good; with `now` its tokens and its connection end too.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn revoke_secret(&self, who: &Principal, name: &str, now: bool) -> Result<SecretRow, Refusal> {
        let what = if now { "secret.revoke-now" } else { "secret.revoke" };
        self.recorded(who, what, name, async {
            who.needs(Role::Admin)?;
            self.reaches_name(who, name, "agent secret").await?;
            let revoked = self.rooms.secrets.revoke(name, now).await?;
            let row = revoked.ok_or_else(|| Refusal::not_found("agent secret", name))?;
            if now {
                self.disconnect(name);
            }
            Ok(row)
        })
        .await
    }

    /// Trades an agent secret for an access token; needs no other credential. `ttl_ms` absent or 0 means half an hour.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] for a bad or revoked secret, [`Refusal::Invalid`] for a bad ttl.
    pub async fn exchange_secret(
        &self,
        secret: &str,
        ttl_ms: Option<u64>,
        from: Option<IpAddr>,
    ) -> Result<Exchanged, Refusal> {
        self.rooms.secrets.exchange(secret, ttl_ms, from).await
    }
}
