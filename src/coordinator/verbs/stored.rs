//! Kept bundles: listed, read, deleted, by whoever sees every cluster that is in them.

use super::{Part, Principal, Refusal, Role, StoredRow, Verbs};
use crate::id::BundleId;

/// Kept bundles.
impl Verbs {
    /// Those that the caller may see, newest first, each with when it is given up at the latest (milliseconds since 1970).
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn stored_bundles(&self, who: &Principal) -> Result<Vec<(StoredRow, i64)>, Refusal> {
        self.watched(who, "stored.list", "", async {
            who.needs(Role::Viewer)?;
            let rows = self.rooms.bundles.stored.list().await?;
            let seen = rows.into_iter().filter(|row| sees(who, row));
            Ok(seen.map(|row| (row.clone(), self.rooms.bundles.stored.expires_ms(&row))).collect())
        })
        .await
    }

    /// One of them.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Forbidden`] when it holds what the caller may not see.
    pub async fn stored_bundle(&self, who: &Principal, id: BundleId) -> Result<(StoredRow, i64), Refusal> {
        self.watched(who, "stored.show", &id.to_string(), async {
            let row = self.stored_of(who, id).await?;
            let expires = self.rooms.bundles.stored.expires_ms(&row);
            Ok((row, expires))
        })
        .await
    }

    /// The same for a verb that records its own refusals.
    async fn stored_of(&self, who: &Principal, id: BundleId) -> Result<StoredRow, Refusal> {
        who.needs(Role::Viewer)?;
        let row = self.rooms.bundles.stored.find(id).await?;
        if sees(who, &row) { Ok(row) } else { Err(Refusal::Forbidden) }
    }

    /// Reads one from byte `from`, up to `to` (exclusive) or its end.
    ///
    /// # Errors
    /// Those of [`Verbs::stored_bundle`]; [`Refusal::Invalid`] for a range outside of it.
    pub async fn read_stored(
        &self,
        who: &Principal,
        id: BundleId,
        from: u64,
        to: Option<u64>,
    ) -> Result<Part, Refusal> {
        let target = to.map_or_else(|| format!("{id} from {from}"), |to| format!("{id} from {from} to {to}"));
        self.recorded(who, "stored.download", &target, async {
            who.needs(Role::Operator)?;
            self.stored_of(who, id).await?;
            self.rooms.bundles.stored.read(id, from, to).await
        })
        .await
    }

    /// Deletes one.
    ///
    /// # Errors
    /// Those of [`Verbs::stored_bundle`].
    pub async fn delete_stored(&self, who: &Principal, id: BundleId) -> Result<(), Refusal> {
        self.recorded(who, "stored.delete", &id.to_string(), async {
            who.needs(Role::Operator)?;
            self.stored_of(who, id).await?;
            self.rooms.bundles.stored.remove(id).await.map(drop)
        })
        .await
    }
}

fn sees(who: &Principal, row: &StoredRow) -> bool {
    if row.clusters.is_empty() { who.needs_all().is_ok() } else { row.clusters.iter().all(|id| who.sees(*id)) }
}
