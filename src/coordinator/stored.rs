//! Kept bundles: written into an object store while they are merged, published whole, listed, read, and given up when too old or too many.
//!
//! Bytes come from the engine's delivery and go, piece by piece, into an upload that nobody sees until it is completed; the row that
//! lists it is written after that. What an earlier run left of either is cleaned up at the start. Today the store is a folder; nothing
//! here knows more of it than its interface, but for how leftovers are found.

mod read;
mod write;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::refusal::Refusal;
use super::store::{Store, StoreError};
use crate::bundle::Format;
use crate::bundle::outcome::Verdict;
use crate::clock::Clock;
use crate::floor::Floor;
use crate::id::{BundleId, BundleName, ClusterId, TaskId};
use crate::report;
use crate::shutdown::Shutdown;
use crate::state;

pub use read::{Part, Pieces};
pub use write::{WriteError, Written};

/// How often bundles that are too old are looked for.
const SWEEP: Duration = Duration::from_secs(3600);

/// A kept bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// Its id.
    pub id: BundleId,
    /// The bundle's name.
    pub name: BundleName,
    /// What it is of: a cluster's or a deployment's name.
    pub of: String,
    /// The clusters that its nodes are of.
    pub clusters: Vec<ClusterId>,
    /// Who asked for it.
    pub user: String,
    /// The task that made it.
    pub task: TaskId,
    /// How it is laid out.
    pub format: Format,
    /// Its length.
    pub bytes: u64,
    /// What its seal says.
    pub verdict: Verdict,
    /// Nodes expected.
    pub nodes: u64,
    /// Nodes that are in it whole.
    pub nodes_collected: u64,
    /// When it was published, milliseconds since 1970.
    pub created_ms: i64,
}

/// What may be kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// For so long at most.
    pub age: Duration,
    /// Bytes of all at most; the oldest go first.
    pub bytes: u64,
    /// So many at most; the oldest go first.
    pub count: u32,
    /// What stays free on their disk.
    pub floor: Floor,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { age: Duration::from_secs(14 * 24 * 3600), bytes: 64 << 30, count: 100, floor: Floor::default() }
    }
}

/// Why kept bundles cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// The folder.
    #[error("the folder of kept bundles cannot be used")]
    Folder(#[source] std::io::Error),
    /// The object store.
    #[error("the store of kept bundles failed")]
    Objects(#[from] object_store::Error),
    /// The state.
    #[error(transparent)]
    State(#[from] StoreError),
}

impl From<StoredError> for Refusal {
    fn from(error: StoredError) -> Self {
        match error {
            StoredError::State(error) => error.into(),
            error => Self::internal("kept bundles failed", &error),
        }
    }
}

/// Keeps bundles; cheap to clone.
#[derive(Clone)]
pub struct Stored {
    store: Store,
    objects: Arc<dyn ObjectStore>,
    folder: Arc<Path>,
    bounds: Bounds,
    clock: Clock,
    /// Two evictions at the same time would both take the oldest.
    evicting: Arc<Mutex<()>>,
}

impl Stored {
    /// The kept bundles in `folder`, cleaned of what an earlier run left unfinished; from time to time until `shutdown`, of what is too
    /// old.
    ///
    /// # Errors
    /// When folder or state cannot be used.
    pub async fn open(
        store: Store,
        folder: &Path,
        bounds: Bounds,
        clock: Clock,
        shutdown: &Shutdown,
    ) -> Result<Self, StoredError> {
        let opening = folder.to_owned();
        let objects = tokio::task::spawn_blocking(move || {
            state::folder(&opening).map_err(StoredError::Folder)?;
            write::remove_unpublished(&opening).map_err(StoredError::Folder)?;
            Ok::<_, StoredError>(LocalFileSystem::new_with_prefix(&opening)?.with_fsync(true))
        });
        let objects = objects.await.map_err(|error| StoredError::Folder(error.into()))??;
        let stored =
            Self { store, objects: Arc::new(objects), folder: folder.into(), bounds, clock, evicting: Arc::default() };
        stored.reconcile().await?;
        stored.evict().await?;
        let (sweeping, stop) = (stored.clone(), shutdown.clone());
        shutdown.spawn(async move { sweeping.sweep(&stop).await });
        Ok(stored)
    }

    /// Brings rows and objects together: each alone is of no use.
    async fn reconcile(&self) -> Result<(), StoredError> {
        use futures_util::TryStreamExt as _;
        let mut objects: std::collections::BTreeMap<String, u64> =
            self.objects.list(None).map_ok(|meta| (meta.location.to_string(), meta.size)).try_collect().await?;
        for row in self.store.stored_bundles().await? {
            if objects.remove(key(&row).as_ref()) != Some(row.bytes) {
                warn!(bundle = %row.id, "a kept bundle is gone from its folder; it is no longer listed");
                self.store.forget_stored(row.id).await?;
                self.remove_object(&row).await;
            }
        }
        // What is not named as one of ours is not ours to remove.
        for orphan in objects.keys().filter(|name| is_ours(name)) {
            warn!(object = report::escape(orphan), "an object that no kept bundle belongs to is removed");
            self.objects.delete(&Key::from(orphan.as_str())).await?;
        }
        Ok(())
    }

    async fn sweep(&self, stop: &Shutdown) {
        loop {
            tokio::select! {
                () = stop.stopping() => return,
                () = tokio::time::sleep(SWEEP) => {}
            }
            if let Err(error) = self.evict().await {
                warn!(error = report::chain(&error), "old bundles could not be removed");
            }
        }
    }

    /// Publishes what was written, and removes what is too much by that.
    ///
    /// # Errors
    /// When it cannot; nothing of it is left then.
    pub async fn publish(&self, written: Written, row: StoredRow) -> Result<(), StoredError> {
        let mut upload = written.upload;
        upload.complete().await?;
        // From here on an object without a row is what the next start removes.
        if let Err(error) = self.store.add_stored(row.clone()).await {
            self.remove_object(&row).await;
            return Err(error.into());
        }
        info!(bundle = %row.id, user = row.user, bytes = row.bytes, verdict = %row.verdict, "bundle kept");
        if let Err(error) = self.evict().await {
            warn!(error = report::chain(&error), "old bundles could not be removed");
        }
        Ok(())
    }

    /// All kept bundles, newest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn list(&self) -> Result<Vec<StoredRow>, Refusal> {
        let alive = self.alive_since();
        let mut rows = self.store.stored_bundles().await?;
        rows.retain(|row| row.created_ms >= alive);
        Ok(rows)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn find(&self, id: BundleId) -> Result<StoredRow, Refusal> {
        let row = self.store.stored_bundle(id).await?.filter(|row| row.created_ms >= self.alive_since());
        row.ok_or_else(|| Refusal::not_found("kept bundle", &id.to_string()))
    }

    /// Removes one; whoever reads it reads on.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn remove(&self, id: BundleId) -> Result<StoredRow, Refusal> {
        let row = self.find(id).await?;
        if !self.store.forget_stored(id).await? {
            return Err(Refusal::not_found("kept bundle", &id.to_string()));
        }
        self.remove_object(&row).await;
        Ok(row)
    }

    /// When a bundle published now will be given up at the latest, milliseconds since 1970.
    pub fn expires_ms(&self, row: &StoredRow) -> i64 {
        row.created_ms.saturating_add(self.age_ms())
    }

    fn age_ms(&self) -> i64 {
        i64::try_from(self.bounds.age.as_millis()).unwrap_or(i64::MAX)
    }

    fn alive_since(&self) -> i64 {
        self.clock.now_ms().saturating_sub(self.age_ms())
    }

    /// Removes what is too old, and the oldest while there are too many or too much.
    async fn evict(&self) -> Result<(), StoredError> {
        let _alone = self.evicting.lock().await;
        let alive = self.alive_since();
        let (mut count, mut bytes) = (0, 0_u64);
        for row in self.store.stored_bundles().await? {
            (count, bytes) = (count + 1, bytes.saturating_add(row.bytes));
            // Newest first: whoever is past a bound is older than all that are within.
            if row.created_ms >= alive && count <= self.bounds.count && bytes <= self.bounds.bytes {
                continue;
            }
            if self.store.forget_stored(row.id).await? {
                info!(bundle = %row.id, name = %row.name, "a kept bundle is given up");
                self.remove_object(&row).await;
            }
        }
        Ok(())
    }

    /// Removes an object whose row is gone; the next start removes it otherwise.
    async fn remove_object(&self, row: &StoredRow) {
        match self.objects.delete(&key(row)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => warn!(bundle = %row.id, error = report::chain(&error), "a kept bundle cannot be removed yet"),
        }
    }
}

/// An object's key.
fn key(row: &StoredRow) -> Key {
    key_of(row.id, row.format)
}

/// Whether a name is one that [`key_of`] gives.
fn is_ours(name: &str) -> bool {
    name.split_once('.').is_some_and(|(id, ending)| {
        id.parse::<BundleId>().is_ok() && [Format::Tar, Format::TarZst].iter().any(|format| format.ending() == ending)
    })
}

fn key_of(id: BundleId, format: Format) -> Key {
    Key::from(format!("{id}.{}", format.ending()))
}

#[cfg(test)]
mod tests;
