//! Fleets: made, listed, filled, deleted.
//!
//! Rows come from the store. Who is limited to a part sees the fleets of that part, and changes none: what a fleet holds decides
//! what those who are limited to it may reach.

use super::{FleetRow, Principal, Refusal, Role, Scope, Verbs};
use crate::id::{FleetId, FleetName};

/// Where a cluster is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// In the fleet.
    In,
    /// Out of it.
    Out,
}

/// Fleets.
impl Verbs {
    /// All fleets within reach, by name.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn fleets(&self, who: &Principal) -> Result<Vec<FleetRow>, Refusal> {
        self.watched(who, "fleet.list", "", async {
            who.needs(Role::Viewer)?;
            let rows = self.rooms.store.fleets().await?;
            Ok(rows.into_iter().filter(|row| who.sees_fleet(row.id)).collect())
        })
        .await
    }

    /// One fleet, by id or name.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Forbidden`] for one out of reach, and, to whoever is limited, for one that is not there.
    pub async fn fleet(&self, who: &Principal, id_or_name: &str) -> Result<FleetRow, Refusal> {
        self.watched(who, "fleet.read", id_or_name, self.fleet_of(who, id_or_name)).await
    }

    /// The same for a verb that records its own refusals.
    pub(super) async fn fleet_of(&self, who: &Principal, id_or_name: &str) -> Result<FleetRow, Refusal> {
        who.needs(Role::Viewer)?;
        match self.rooms.store.find_fleet(id_or_name).await? {
            Some(row) if who.sees_fleet(row.id) => Ok(row),
            None if who.scope == Scope::All => Err(Refusal::not_found("fleet", id_or_name)),
            _ => Err(Refusal::Forbidden),
        }
    }

    /// Makes a fleet without clusters; without `federation`, no certificates are issued for it.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] for a taken name; [`Refusal::Invalid`] for one that reads as an id.
    pub async fn create_fleet(&self, who: &Principal, name: FleetName, federation: bool) -> Result<FleetRow, Refusal> {
        let target = name.to_string();
        self.recorded(who, "fleet.create", &target, self.make_fleet(who, name, federation)).await
    }

    async fn make_fleet(&self, who: &Principal, name: FleetName, federation: bool) -> Result<FleetRow, Refusal> {
        may_change(who)?;
        if name.as_str().parse::<FleetId>().is_ok() {
            return Err(Refusal::Invalid("a fleet's name must not look like an id".into()));
        }
        let created_ms = self.rooms.clock.now_ms();
        let row = FleetRow { id: FleetId::random(), name: name.into(), federation, created_ms, clusters: Vec::new() };
        if !self.rooms.store.add_fleet(row.clone()).await? {
            return Err(Refusal::Conflict(format!("there is a fleet `{}` already", row.name)));
        }
        Ok(row)
    }

    /// Deletes a fleet, by id or name: its certificates and what was granted for it end, its clusters stay.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn delete_fleet(&self, who: &Principal, id_or_name: &str) -> Result<(), Refusal> {
        self.recorded(who, "fleet.delete", id_or_name, async {
            may_change(who)?;
            let row = self.fleet_of(who, id_or_name).await?;
            let deleted = self.rooms.store.delete_fleet(row.id).await?;
            if deleted { Ok(()) } else { Err(Refusal::not_found("fleet", id_or_name)) }
        })
        .await
    }

    /// Puts a cluster into a fleet or takes it out, each by id or name; one that is in it already stays.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for either, and for a cluster that is to be taken out and is not in it.
    pub async fn hold(&self, who: &Principal, fleet: &str, cluster: &str, held: Held) -> Result<FleetRow, Refusal> {
        let what = if held == Held::In { "fleet.add" } else { "fleet.remove" };
        self.recorded(who, what, &format!("{fleet} {cluster}"), async {
            may_change(who)?;
            let (row, cluster) = (self.fleet_of(who, fleet).await?, self.cluster_of(who, cluster).await?.row);
            let store = &self.rooms.store;
            let done = match held {
                Held::In => store.put_into_fleet(row.id, cluster.id).await?,
                Held::Out => store.take_from_fleet(row.id, cluster.id).await?,
            };
            if !done {
                return Err(Refusal::NotFound(format!("cluster `{}` in fleet `{}`", cluster.name, row.name)));
            }
            self.fleet_of(who, &row.id.to_string()).await
        })
        .await
    }
}

/// An admin of everything: whoever is limited would change its own limits.
fn may_change(who: &Principal) -> Result<(), Refusal> {
    who.needs(Role::Admin)?;
    who.needs_all()
}
