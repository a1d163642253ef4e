//! Reading a kept bundle, whole or a range of it, in pieces.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectStore as _};

use super::{Stored, StoredError, StoredRow, key};
use crate::coordinator::refusal::Refusal;
use crate::id::BundleId;

/// Bytes of one piece.
const PIECE: usize = 256 << 10;

/// Pieces of a kept bundle as they are read.
pub type Pieces = BoxStream<'static, io::Result<Bytes>>;

/// A part of a kept bundle, on its way.
pub struct Part {
    /// The bundle.
    pub row: StoredRow,
    /// Which bytes.
    pub range: Range<u64>,
    /// The bytes.
    pub pieces: Pieces,
}

impl Stored {
    /// Reads a kept bundle from byte `from`, up to `to` (exclusive) or its end. A removal meanwhile does not end it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Invalid`] for a range that is outside of it.
    pub async fn read(&self, id: BundleId, from: u64, to: Option<u64>) -> Result<Part, Refusal> {
        let row = self.find(id).await?;
        let range = from..to.unwrap_or(row.bytes).min(row.bytes);
        if range.is_empty() {
            return Err(Refusal::Invalid(format!("the bundle has {} bytes; there is none from {from} on", row.bytes)));
        }
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let found = match self.objects.get_opts(&key(&row), options).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => {
                return Err(Refusal::not_found("kept bundle", &id.to_string()));
            }
            Err(error) => return Err(StoredError::Objects(error).into()),
        };
        let pieces = match found.payload {
            // Its own reader takes small pieces, each with a thread's turn.
            GetResultPayload::File(file, _) => of_file(file, range.clone()),
            GetResultPayload::Stream(stream) => stream.map_err(io::Error::other).boxed(),
        };
        Ok(Part { row, range, pieces })
    }
}

fn of_file(file: File, range: Range<u64>) -> Pieces {
    futures_util::stream::try_unfold((Some(file), range.start), move |(file, at)| async move {
        let Some(file) = file.filter(|_| at < range.end) else { return Ok(None) };
        let want = usize::try_from(range.end - at).unwrap_or(PIECE).min(PIECE);
        let read = tokio::task::spawn_blocking(move || read_at(file, at, want));
        let (file, piece) = read.await.map_err(io::Error::other)??;
        let next = at + piece.len() as u64;
        Ok(Some((piece, (Some(file), next))))
    })
    .boxed()
}

fn read_at(mut file: File, at: u64, length: usize) -> io::Result<(File, Bytes)> {
    let mut piece = vec![0; length];
    file.seek(SeekFrom::Start(at))?;
    // A file that became shorter must not look like a bundle that ended.
    file.read_exact(&mut piece)?;
    Ok((file, piece.into()))
}
