//! Writing a bundle into the store: in parts of some MiB, invisible until it is published.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use object_store::{MultipartUpload, ObjectStoreExt as _, PutPayload};
use tracing::{info, warn};

use super::{Stored, key_of};
use crate::bundle::Format;
use crate::id::BundleId;
use crate::report;

/// Bytes of one part: object stores want 5 MiB at least.
const PART: usize = 8 << 20;

/// Why a bundle could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The bundle itself broke off.
    #[error("the bundle broke off")]
    Bundle(#[source] io::Error),
    /// It is larger than all kept bundles together may be.
    #[error("the bundle is larger than the {0} bytes that may be kept in all")]
    TooLarge(u64),
    /// The disk is at its floor.
    #[error("the bundle cannot be kept in {}", .0.display())]
    Floor(PathBuf, #[source] io::Error),
    /// The store.
    #[error("the bundle cannot be kept")]
    Objects(#[source] object_store::Error),
}

impl WriteError {
    /// Whether it is the bundle that failed, and not its keeping.
    pub fn is_the_bundle(&self) -> bool {
        matches!(self, Self::Bundle(_))
    }
}

/// A bundle that was written whole, and that nobody sees yet. Dropped, it is gone.
pub struct Written {
    pub(super) upload: Box<dyn MultipartUpload>,
    bytes: u64,
}

impl Written {
    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes it away again.
    pub async fn abandon(mut self) {
        abort(&mut self.upload).await;
    }
}

impl Stored {
    /// Writes a bundle to its end. What cannot be written whole is taken away again.
    ///
    /// # Errors
    /// When it breaks off, or cannot be written.
    ///
    /// # Cancel safety
    /// Dropped, it leaves nothing that anybody sees.
    pub async fn write(
        &self,
        id: BundleId,
        format: Format,
        mut bundle: impl Stream<Item = io::Result<Bytes>> + Unpin,
    ) -> Result<Written, WriteError> {
        let mut upload = self.objects.put_multipart(&key_of(id, format)).await.map_err(WriteError::Objects)?;
        match self.fill(&mut upload, &mut bundle).await {
            Ok(bytes) => Ok(Written { upload, bytes }),
            Err(error) => {
                abort(&mut upload).await;
                Err(error)
            }
        }
    }

    async fn fill(
        &self,
        upload: &mut Box<dyn MultipartUpload>,
        bundle: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin),
    ) -> Result<u64, WriteError> {
        let (mut part, mut held, mut bytes) = (Vec::new(), 0, 0_u64);
        while let Some(piece) = bundle.next().await {
            let piece = piece.map_err(WriteError::Bundle)?;
            bytes += piece.len() as u64;
            if bytes > self.bounds.bytes {
                return Err(WriteError::TooLarge(self.bounds.bytes));
            }
            held += piece.len();
            part.push(piece);
            if held >= PART {
                held = 0;
                self.room(PART as u64).await?;
                let payload = PutPayload::from_iter(part.drain(..));
                upload.put_part(payload).await.map_err(WriteError::Objects)?;
            }
        }
        if !part.is_empty() {
            self.room(held as u64).await?;
            upload.put_part(PutPayload::from_iter(part)).await.map_err(WriteError::Objects)?;
        }
        Ok(bytes)
    }

    /// Whether the disk has room for so much more.
    async fn room(&self, bytes: u64) -> Result<(), WriteError> {
        let (folder, floor) = (Arc::clone(&self.folder), self.bounds.floor);
        let checking = tokio::task::spawn_blocking(move || floor.check(File::open(&folder)?, bytes));
        let checked = checking.await.unwrap_or_else(|error| Err(error.into()));
        checked.map_err(|error| WriteError::Floor(self.folder.to_path_buf(), error))
    }
}

async fn abort(upload: &mut Box<dyn MultipartUpload>) {
    if let Err(error) = upload.abort().await {
        warn!(error = report::chain(&error), "an unfinished bundle cannot be taken away; the next start does");
    }
}

/// Removes what a process that died left half written: the store gives such files a `#` and a number, and lists them nowhere.
pub(super) fn remove_unpublished(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.rsplit_once('#')).map(|(_, number)| number);
        let left = number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
        if left && entry.file_type()?.is_file() {
            info!(file = report::escape(&name.to_string_lossy()), "removes an unfinished bundle of an earlier run");
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
