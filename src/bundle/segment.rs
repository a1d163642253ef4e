//! A segment: whole zstd frames of one node's tar entries, with a head that says which, numbered and digested.
//!
//! The agent packs and encodes it, the coordinator decodes and checks it; both ends stand here. The rule that keeps
//! merging simple: **a segment either holds only whole entries, or is one part of one large entry that begins at a
//! segment's start and ends at a segment's end.** It never carries the end of an archive.
//!
//! A restarted agent begins a new attempt, whose first segment may be the next part of the entry that the last attempt left
//! open; it says so ([`SegmentHead::continues`]), since else that entry is given up before the segment is looked at.
//!
//! On the wire: the head's length (`u32`, big-endian), the head as JSON, then the frames.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::outcome::{Cut, Outcome};
use super::path::EntryPath;
use super::slice::Slice;
use crate::id::TaskId;
use crate::limits::{SEGMENT_HEAD, SEGMENT_WIRE};

/// Version of the segment's shape.
pub const VERSION: u16 = 1;

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentHead {
    /// [`VERSION`].
    pub version: u16,
    /// The task it belongs to.
    pub task: TaskId,
    /// Counts the agent processes that worked on the task, from 1.
    pub attempt: u32,
    /// Counts the segments of the attempt, from 0.
    pub number: u64,
    /// BLAKE3 of the frames as sent, hex.
    pub digest: String,
    /// Whether the frames end where an entry ends.
    pub boundary: bool,
    /// Whether it goes on inside the entry that the attempt before left open; only the first segment of an attempt may.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
    /// Bytes of content that the node expects to send from this segment on, as far as it knows; a guess, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<u64>,
    /// What the node says of entries that end in this segment, and of sources that gave none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

/// What a node says of one entry, or of a source without one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Path below `nodes/<node>/` of the entry; for a source without an entry, where it would be, or its pattern.
    pub path: String,
    /// Whether an entry of that path stands in the bundle.
    pub entry: bool,
    /// The collector that asked for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub collector: String,
    /// What became of it.
    #[serde(default)]
    pub outcome: Outcome,
    /// Why, when it is not simply collected.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What was left out of its middle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// The name on the host where it differs from the path (percent-encoded bytes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// The mode on the host, as four octal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The symbolic link that led to it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// True bytes, where the entry was padded to a larger declared size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// How it was cut to the request's window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Slice>,
    /// Replacements per redaction rule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub redacted: BTreeMap<String, u64>,
}

impl Note {
    /// What stands for it where lists of notes must be short: the first half of its BLAKE3, in hex.
    pub fn key(&self) -> String {
        let json = serde_json::to_vec(self).expect("plain values serialise");
        blake3::hash(&json).to_hex()[..32].to_owned()
    }
}

/// An entry of which the coordinator holds the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenEntry {
    /// Path below `nodes/<node>/`.
    pub path: EntryPath,
    /// Bytes its header declares.
    pub size: u64,
    /// Bytes of content that are held.
    pub sent: u64,
    /// BLAKE3 of those, hex.
    pub blake3: String,
    /// Whether some of it is in the bundle already, so that its name stays taken if it is given up.
    #[serde(default)]
    pub placed: bool,
}

/// A segment as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What it says of itself.
    pub head: SegmentHead,
    /// Whole zstd frames, back to back.
    pub frames: Bytes,
}

/// Why bytes are no segment.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// Ends too early, or a length is beyond the limit.
    #[error("segment is cut or too large")]
    Size,
    /// The head is not the JSON it should be.
    #[error("segment's head is malformed")]
    Head(#[source] serde_json::Error),
    /// Made by a newer or older agent.
    #[error("segment version {0} is not spoken here")]
    Version(u16),
    /// The frames are not what the head says.
    #[error("segment's digest is wrong")]
    Digest,
}

impl SegmentHead {
    /// What travels before the frames: the head's length and the head. For a writer that holds its frames one by one.
    pub fn prefix(&self) -> Bytes {
        let head = serde_json::to_vec(self).expect("a head of plain values serialises");
        let mut prefix = BytesMut::with_capacity(4 + head.len());
        prefix.put_u32(u32::try_from(head.len()).expect("heads are small"));
        prefix.put_slice(&head);
        prefix.freeze()
    }
}

impl Segment {
    /// The bytes on the wire.
    pub fn encode(&self) -> Bytes {
        let prefix = self.head.prefix();
        let mut wire = BytesMut::with_capacity(prefix.len() + self.frames.len());
        wire.put_slice(&prefix);
        wire.put_slice(&self.frames);
        wire.freeze()
    }

    /// Reads the bytes on the wire and checks the digest; what is in the frames is checked elsewhere.
    ///
    /// # Errors
    /// For anything that [`Segment::encode`] would not have made.
    pub fn decode(wire: &Bytes) -> Result<Self, SegmentError> {
        let length = wire.get(..4).ok_or(SegmentError::Size)?;
        let length = u32::from_be_bytes(length.try_into().map_err(|_| SegmentError::Size)?) as usize;
        if length > SEGMENT_HEAD || wire.len() > 4 + length + SEGMENT_WIRE {
            return Err(SegmentError::Size);
        }
        let head = wire.get(4..4 + length).ok_or(SegmentError::Size)?;
        let head: SegmentHead = serde_json::from_slice(head).map_err(SegmentError::Head)?;
        if head.version != VERSION {
            return Err(SegmentError::Version(head.version));
        }
        let frames = wire.slice(4 + length..);
        if blake3::hash(&frames).to_hex().as_str() != head.digest {
            return Err(SegmentError::Digest);
        }
        Ok(Self { head, frames })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(frames: Vec<u8>) -> Segment {
        let digest = blake3::hash(&frames).to_hex().to_string();
        let notes = vec![Note { path: "files/x".into(), entry: true, ..Note::default() }];
        let (task, attempt, number, boundary, continues) = (TaskId(7), 2, 0, true, true);
        let head = SegmentHead {
            version: VERSION,
            task,
            attempt,
            number,
            digest,
            boundary,
            continues,
            estimate: Some(9),
            notes,
        };
        Segment { head, frames: frames.into() }
    }

    #[test]
    fn a_wrong_digest_and_another_version_are_refused() {
        let mut segment = sample(b"frames".to_vec());
        segment.frames = Bytes::from_static(b"Frames");
        assert!(matches!(Segment::decode(&segment.encode()), Err(SegmentError::Digest)));
        let mut segment = sample(b"frames".to_vec());
        segment.head.version = 9;
        assert!(matches!(Segment::decode(&segment.encode()), Err(SegmentError::Version(9))));
    }

    #[test]
    fn beyond_the_limits_is_refused() {
        let wire = sample(vec![0; SEGMENT_WIRE + 1]).encode();
        assert!(matches!(Segment::decode(&wire), Err(SegmentError::Size)));
        let long =
            Bytes::from([(SEGMENT_HEAD as u32 + 1).to_be_bytes().as_slice(), &vec![b' '; SEGMENT_HEAD + 1]].concat());
        assert!(matches!(Segment::decode(&long), Err(SegmentError::Size)));
    }

    proptest::proptest! {
        #[test]
        fn what_is_encoded_is_decoded_and_no_cut_of_it(frames: Vec<u8>, cut: proptest::sample::Index) {
            let segment = sample(frames);
            let wire = segment.encode();
            proptest::prop_assert_eq!(Segment::decode(&wire).expect("reads"), segment);
            proptest::prop_assert!(Segment::decode(&wire.slice(..cut.index(wire.len()))).is_err());
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(wire: Vec<u8>, length in 0u32..64) {
            let _ = Segment::decode(&Bytes::from([length.to_be_bytes().as_slice(), &wire].concat()));
            let _ = Segment::decode(&Bytes::from(wire));
        }
    }
}
