//! Access info, given out once for a cluster, and the joins that follow from it.
//!
//! Who asks is checked by role and scope; a node that joins is checked by its certificate, which says the cluster, and its machine.

use std::net::IpAddr;

use serde_json::Value;

use super::{ClusterKind, ClusterRow, Principal, Refusal, Role, Verbs};
use crate::coordinator::audit::{Actor, Outcome};
use crate::coordinator::join::{JoinError, Joined, Joining};
use crate::protocol::join::{AccessInfo, JoinReply, JoinRequest};

const DAY_MS: i64 = 86_400_000;

/// From where nodes will reach the coordinator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Approach<'a> {
    /// How the caller knows this coordinator, `https://host[:port]`.
    pub origin: &'a str,
    /// IP address of a VPC endpoint.
    pub vpcendpoint: Option<&'a str>,
    /// Region.
    pub region: Option<&'a str>,
}

/// Access info.
impl Verbs {
    /// The access info of a cluster (id or name), as Kubernetes manifests: exactly once, then `None` until it is reset. A call
    /// that is refused does not use it up.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Forbidden`]; [`Refusal::Invalid`] for a managed cluster and for an unknown approach.
    pub async fn take_access_info(
        &self,
        who: &Principal,
        cluster: &str,
        approach: Approach<'_>,
    ) -> Result<Option<[Value; 2]>, Refusal> {
        let taken = self.take(who, cluster, approach).await;
        // A call that gets nothing hands nothing out.
        if matches!(taken, Ok(None)) {
            return taken;
        }
        self.recorded(who, "access-info.download", cluster, async { taken }).await
    }

    async fn take(
        &self,
        who: &Principal,
        cluster: &str,
        approach: Approach<'_>,
    ) -> Result<Option<[Value; 2]>, Refusal> {
        let (cluster, endpoint) = self.access_info_of(who, cluster, approach).await?;
        if self.rooms.store.access_info_taken(cluster.id).await? {
            return Ok(None);
        }
        let now = self.rooms.clock.now_ms();
        let access = &self.rooms.endpoints.access;
        let made = self.rooms.pki.join_certificate(&cluster.name, now + i64::from(access.join_days) * DAY_MS);
        let made = made.map_err(|e| Refusal::internal("a join certificate cannot be made", &e))?;
        let (serial, user) = (made.serial.clone(), who.name.clone());
        if !self.rooms.store.take_access_info(cluster.id, serial, user, now, made.expires_ms).await? {
            return Ok(None);
        }
        let image = access.agent_image.as_deref().unwrap_or(concat!("sheaf-agent:", env!("CARGO_PKG_VERSION")));
        let ca = self.rooms.pki.told_ca();
        let info = AccessInfo { endpoint, ca, certificate: made.certificate, key: made.key };
        Ok(Some(info.manifests(image)))
    }

    /// The cluster and the URL that its nodes will use, for whoever may have its access info.
    async fn access_info_of(
        &self,
        who: &Principal,
        cluster: &str,
        approach: Approach<'_>,
    ) -> Result<(ClusterRow, String), Refusal> {
        let row = self.attached(who, cluster).await?;
        Ok((row, self.rooms.endpoints.agents(approach.origin, approach.vpcendpoint, approach.region)?))
    }

    /// Revokes a cluster's join certificate and lets its access info be downloaded anew. Nodes that joined stay.
    ///
    /// # Errors
    /// As for the download.
    pub async fn reset_access_info(&self, who: &Principal, cluster: &str) -> Result<(), Refusal> {
        self.recorded(who, "access-info.reset", cluster, async {
            let row = self.attached(who, cluster).await?;
            self.rooms.store.reset_access_info(row.id, self.rooms.clock.now_ms()).await?;
            Ok(())
        })
        .await
    }

    async fn attached(&self, who: &Principal, cluster: &str) -> Result<ClusterRow, Refusal> {
        let row = self.cluster_of(who, cluster).await?.row;
        who.needs(Role::Admin)?;
        if row.kind == ClusterKind::Managed {
            return Err(Refusal::Invalid(format!(
                "cluster `{}` is managed: its nodes get agent secrets and do not join with access info",
                row.name
            )));
        }
        Ok(row)
    }

    /// Lets a node join: trades the join certificate of `serial` for an agent secret. A machine that joined by the name before
    /// gets a new secret, and every earlier one ends with its connection.
    ///
    /// # Errors
    /// Why not, for the node's administrator to read.
    pub async fn join(
        &self,
        serial: Option<&str>,
        request: JoinRequest,
        from: Option<IpAddr>,
    ) -> Result<JoinReply, JoinError> {
        let serial = serial.ok_or(JoinError::NoCertificate)?;
        let joining = Joining::new(request.name, &request.machine_id)?;
        let (name, machine) = (joining.name.clone(), joining.machine_id.clone());
        let actor = Actor::node(name.as_str()).at(from);
        let target = format!("certificate {serial}, machine {machine}");
        let (joined, secret) = self.rooms.secrets.join(serial, joining).await?;
        let Joined::Good { cluster_name, again, .. } = joined else {
            let error = JoinError::of(joined, &name);
            self.rooms.audit.record(actor, "node.join", &target, Outcome::Refused(error.to_string().into()));
            return Err(error);
        };
        let secret = secret.ok_or(Refusal::Internal)?;
        if again {
            self.disconnect(name.as_str());
        }
        self.rooms.audit.record(actor, "node.join", &format!("cluster {cluster_name}, {target}"), Outcome::Done);
        Ok(JoinReply { name, cluster: cluster_name, secret })
    }
}
