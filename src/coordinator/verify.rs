//! Verifying: what a node sent is checked against every rule before anything else may see it.
//!
//! [`Inbound`]s come in, [`Verified`]s go out, and only this module can make one: nothing unverified is merged. The checks
//! run on blocking threads, as many at once as there are processors, so that the raw bytes of few segments are in memory.
//! It writes nothing and knows nothing of other nodes.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::bundle::Format;
use crate::bundle::check::{Budget, Checker, EntryRow, Fault, Inside, Piece};
use crate::bundle::frame::Frame;
use crate::bundle::segment::{Note, Segment};
use crate::coordinator::receive::{Inbound, Lease, Share};
use crate::id::{BundleName, NodeName};

/// A segment that broke no rule, or zeros in place of one that never came.
#[derive(Debug)]
pub struct Verified {
    piece: Piece,
    notes: Vec<Note>,
    _leases: (Lease, Option<Lease>),
}

impl Verified {
    /// Its frames, as they came.
    pub fn frames(&self) -> &[Frame] {
        &self.piece.frames
    }

    /// What they decompress to, where it was worth keeping.
    pub fn raw(&self) -> Option<&[u8]> {
        self.piece.raw.as_deref()
    }

    /// The entries that end in it.
    pub fn rows(&self) -> &[EntryRow] {
        &self.piece.rows
    }

    /// What the node says of them, and of sources without an entry.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Whether it ends where an entry ends.
    pub fn boundary(&self) -> bool {
        self.piece.boundary
    }

    /// Bytes its frames decompress to.
    pub fn raw_bytes(&self) -> u64 {
        self.piece.frames.iter().map(|frame| u64::from(frame.raw)).sum()
    }

    /// Bytes of its frames.
    pub fn wire_bytes(&self) -> u64 {
        self.piece.frames.iter().map(|frame| frame.bytes.len() as u64).sum()
    }
}

/// Why a segment was not taken.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It breaks a rule.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The check itself broke.
    #[error("the check broke off")]
    Broken,
}

/// Checks that may run at once, all downloads together; cheap to clone.
#[derive(Clone, Debug)]
pub struct Bench(Arc<Semaphore>);

impl Default for Bench {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        Self(Arc::new(Semaphore::new(processors.min(8))))
    }
}

/// The check of one node's stream.
pub struct Verifier {
    // Away only while a check runs, and for good when one panicked.
    checker: Option<Box<Checker>>,
    keep_raw: bool,
    share: Share,
    bench: Bench,
}

impl Verifier {
    /// A new one. A plain tar needs what frames decompress to; it is kept where there is memory.
    pub fn new(
        bundle: &BundleName,
        node: &NodeName,
        budget: Budget,
        format: Format,
        share: Share,
        bench: Bench,
    ) -> Self {
        let keep_raw = format == Format::Tar;
        let checker = Checker::new(bundle, node, budget).keep_raw(keep_raw);
        Self { checker: Some(Box::new(checker)), keep_raw, share, bench }
    }

    /// Checks the node's next segment.
    ///
    /// # Errors
    /// The rule that it breaks; the stream then stands where it stood before.
    ///
    /// # Cancel safety
    /// Not cancel safe: a cancelled check loses the stream.
    pub async fn check(&mut self, inbound: Inbound) -> Result<Verified, VerifyError> {
        let (segment, lease) = inbound.into_parts();
        let Segment { head, frames } = segment;
        let mut checker = self.checker.take().ok_or(VerifyError::Broken)?;
        let permit = Arc::clone(&self.bench.0).acquire_owned().await.map_err(|_| VerifyError::Broken)?;
        let checking = tokio::task::spawn_blocking(move || {
            let lost = head.continues && (head.number > 0 || checker.inside().is_none());
            let piece = if lost { Err(Fault::Continues) } else { checker.check(&frames, head.boundary) };
            drop(permit);
            (checker, piece)
        });
        let (checker, piece) = checking.await.map_err(|_| VerifyError::Broken)?;
        self.checker = Some(checker);
        Ok(self.verified(piece?, head.notes, lease))
    }

    fn verified(&self, mut piece: Piece, notes: Vec<Note>, lease: Lease) -> Verified {
        let more = match &piece.raw {
            Some(raw) if self.keep_raw => self.share.more(raw.len()),
            _ => None,
        };
        if more.is_none() {
            // Without room it is decompressed once more when it is written: time in place of memory.
            piece.raw = None;
        }
        Verified { piece, notes, _leases: (lease, more) }
    }

    /// The entry that the stream stands inside.
    pub fn inside(&self) -> Option<Inside> {
        self.checker.as_ref()?.inside()
    }

    /// What is left of the node's budget; nothing once a check broke.
    pub fn left(&self) -> Budget {
        self.checker.as_ref().map_or(Budget { bytes: 0, entries: 0 }, |checker| checker.left())
    }

    /// Forgets the entry that the stream stands inside; its node may send it anew.
    pub fn abandon(&mut self) {
        if let Some(checker) = &mut self.checker {
            checker.abandon();
        }
    }

    /// The next piece of zeros for an entry whose rest will never come; `None` between entries.
    ///
    /// # Cancel safety
    /// Not cancel safe: a cancelled call loses the stream.
    pub async fn pad(&mut self) -> Option<Verified> {
        let mut checker = self.checker.take()?;
        let padding = tokio::task::spawn_blocking(move || {
            let piece = checker.pad();
            (checker, piece)
        });
        let (checker, piece) = padding.await.ok()?;
        self.checker = Some(checker);
        let mut piece = piece?;
        // Frames of zeros are tiny, and opening them is cheap.
        piece.raw = None;
        Some(Verified { piece, notes: Vec::new(), _leases: (Lease::none(), None) })
    }
}
