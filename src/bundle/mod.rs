//! The bundle format, `sheaf-bundle/1`: how bundles are written, read and verified. This page is enough to write a reader.
//!
//! A bundle is evidence of many nodes in one file. It is a plain POSIX tar, or the same tar in zstd frames; both unpack with standard tools
//! (`tar --zstd -xf`, `bsdtar -xf`), and inside the unpacked folder `b3sum --check B3SUMS` holds every file against its digest. Only the seal at
//! the end says that a bundle is whole: a file cut at a frame's end unpacks without complaint. **Verify before you rely on it.**
//!
//! # The rooms
//!
//! Written: [`entry`] makes headers, [`frame`] compresses, [`check`] takes in a node's [`segment`]s, [`assemble`] puts the whole together under a
//! [`seal`]. Read: [`verify`] goes from front to end, [`reader`] goes through the seek table, [`scan`] takes what is there, [`extract`] writes
//! files where they belong. [`path`], [`outcome`] and [`manifest`] are the values they share. Nothing here opens a socket or knows a coordinator.
//!
//! # The tar
//!
//! Entries in this order, all below one folder named like the bundle, `sheaf_<cluster>_<UTC basic time>_<short id>` (`[A-Za-z0-9._-]`, at most 128
//! bytes), then two blocks of 512 zeros, then nothing:
//!
//! | entry | content |
//! |---|---|
//! | `REQUEST.json` | who asked for what: [`manifest::Request`] |
//! | `nodes/<node>/…` | the nodes' files, each node's together or in turns, never one entry inside another |
//! | `WARNINGS.txt` | a line for each node or source that is not simply there |
//! | `manifest.json` | a row for each file before it, each source without a file, each node |
//! | `B3SUMS` | a line for each file before it: 64 hexadecimal digits of BLAKE3, two spaces, the path below the bundle's folder |
//! | `SEAL.json` | the signed statement |
//!
//! Every entry is a regular file (type `0`), or a folder (type `5`; our writer makes none, no list names them, the root covers them). There are
//! no links, devices or other types. User and group are 0 and have no names; modes are 0600 or 0644 (folders 0700 or 0755). Paths are relative,
//! UTF-8, without empty, `.` or `..` components, control characters or backslashes; at most 1024 bytes, and 255 a component. No path comes twice,
//! and no file stands where a folder has to be. Padding is zero.
//!
//! Headers are ustar (magic `ustar\0`, version `00`) and **canonical**: there is one way to write each, and everything else is refused.
//!
//! | bytes | field | value |
//! |---|---|---|
//! | 0–99, 345–499 | name, prefix | the path where it has at most 100 bytes; else divided at the first `/` after which at most 100 bytes are left, if at most 155 stand before it; else its first 100 bytes (fewer, to end at a character) and a pax `path` |
//! | 100–107 | mode | seven octal digits, NUL; so are user and group, and both device numbers |
//! | 124–135 | size | eleven octal digits, NUL; 0 with a pax `size`, from 8 GiB on |
//! | 136–147 | mtime | eleven octal digits, NUL: whole seconds |
//! | 148–155 | checksum | seven octal digits, NUL |
//! | 156 | type | `0`, `5` or `x` |
//!
//! A pax header stands before the header only where it is needed: named `././@PaxHeader`, type `x`, mode 0644, mtime 0, its body at most 8 KiB of records `path`,
//! `mtime` (six digits of fraction at most, no trailing zeros; only with a fraction), `size`, in this order and no others.
//!
//! # The files of a node
//!
//! Below `nodes/<node>/`: `node.json`, what the node is; `files/…`, host paths kept verbatim; `journal/…` and `commands/<name>.txt`; `vitals/now.json`,
//! how the node was when it was collected; and `vitals/history.ndjson`, how it was before: lines of JSON, oldest first, the first of them with `format`,
//! `sheaf-history/1`, and in `fields` a sentence for each member of the others. `at` is the node's clock at the end of `interval_seconds`,
//! `uptime_seconds` the time since boot, which a clock that is set leaves alone; `event`, `gap_seconds` and `clock_set_seconds` say what happened since the
//! line before. Averages of a minute come first, with a `…_max` or `…_min` beside them, then the last hour's single samples. A member whose value
//! is not known is not there. Readers ignore members that they do not know.
//!
//! # The frames of a `.tar.zst`
//!
//! The tar, cut anywhere, in independent zstd frames (RFC 8878) of 1 byte to 1 MiB of content; `manifest.json`, `B3SUMS` and `SEAL.json` begin frames
//! of their own, and the last frame holds `SEAL.json` and the end of the archive and nothing else. The frame header is canonical too:
//!
//! | bytes | field | value |
//! |---|---|---|
//! | 0–3 | magic | `28 B5 2F FD` |
//! | 4 | descriptor | `0x24 + (width << 6)`: single segment, checksum, no dictionary |
//! | 5– | content size | little-endian: one byte up to 255 (width 0); two bytes, less 256, up to 65,791 (width 1); else four bytes (width 2) |
//!
//! Then blocks, then four bytes of XXH64. After the last frame come two skippable frames, and then the file ends:
//!
//! | bytes | the digest's frame |
//! |---|---|
//! | 0–3 | `5D 2A 4D 18` |
//! | 4–7 | 32, little-endian |
//! | 8–39 | BLAKE3 of every byte of the file before this frame |
//!
//! | bytes | the seek table, in the public "Zstandard seekable format" |
//! |---|---|
//! | 0–3 | `5E 2A 4D 18` |
//! | 4–7 | bytes that follow, little-endian |
//! | 8 each | compressed size, content size (`u32`, little-endian) of each frame in order, the digest's frame (40, 0) last |
//! | last 9 | count of rows (`u32`, little-endian), descriptor 0, `B1 EA 92 8F` |
//!
//! # The manifest
//!
//! One JSON object with one row a line, so that it can be read and never held:
//!
//! ```text
//! {"format":"sheaf-bundle/1","bundle":"<name>","files":[
//! <row>,
//! <row>
//! ],"sources":[
//! ],"nodes":[
//! <row>
//! ]}
//! ```
//!
//! Rows are [`manifest::FileRow`], [`manifest::SourceRow`] and [`manifest::NodeRow`] as JSON, at most 128 KiB each; every row but the last of its array ends
//! with a comma. The rows of `files` are in the archive's order, and the first member of each is `path`. `offset` is where the entry's first header
//! block, pax or not, stands in the tar; `blake3` and `size` are of the content in the bundle; `length`, where there is one, says that only so many
//! bytes of it are true and zeros follow. Readers ignore members that they do not know.
//!
//! A row with `cut` is of something of which head and tail are there, with a line `--- sheaf: … left out here (…) ---` between them; in an export of the
//! journal that is an entry. Its `bytes` and `lines` are what was left out as it was on the host, and `by` says whether a source's own `limit` or the
//! `budget` did it. They are exact, unless `counted` says `guess` (the bytes are exact; a file's middle of more than 256 MiB is read for its lines up
//! to there) or `at-least` (of a journal's middle 64 MiB are read, and more was left out). `window` says by which rule entries and lines were taken by
//! their time, and what of a file lies outside; of a journal nobody knows, since that is not read. Without `window` no time bounded it.
//!
//! # What was redacted
//!
//! `nodes/<node>/REDACTION.json` is a node's own account, the last file that it gives: one JSON object, [`manifest::RedactionHead`] with a member `rows`
//! at its end, one [`manifest::RedactedRow`] a line. It says by which rules was redacted, how often each mark `[redacted:<mark>]` was put in place of
//! something, in all and in each source, and which sources were withheld and why. It never holds a value or a site's pattern. It has rows for as many
//! sources as it has room for, and counts the others; those that were sent before the agent was restarted inside a collection are among them. The
//! manifest's rows have the counts too. A node that was cut has none.
//!
//! # The seal
//!
//! `SEAL.json` is `{"statement":"…","signature":"…","key":"…"}` and a line feed, with no other spaces. `statement` is a string that holds a JSON object,
//! [`manifest::Statement`]; `signature` is Ed25519 over the exact bytes of that string after JSON's escapes are undone; `key` the public key; both in base64.
//! The header of `SEAL.json` has mode 0644 and for mtime the whole seconds of `sealed_at`. The statement's members:
//!
//! - `root`: BLAKE3 over, for each entry before the seal in order, its header blocks (pax header, its body with padding, and header) and then the 32
//!   bytes of its content's BLAKE3. It is the same for both formats.
//! - `manifest`, `b3sums`: BLAKE3 of these two; `manifest_at`, `b3sums_at`: where their first header blocks stand in the tar.
//! - `entries`, `bytes`: entries, and bytes of tar, before the seal. `nodes`, `nodes_collected`: expected, and whole.
//! - `verdict`: `complete`, `partial` or `aborted`. Partial means that a node is not collected or an entry is truncated; a source that is absent is
//!   a warning and leaves a bundle complete.
//!
//! The key in the seal proves nothing about who made the bundle: hold it against one that you got elsewhere (`sheaf bundle verify --key`).
//!
//! # Verdicts
//!
//! | exit code | verdict | when |
//! |---|---|---|
//! | 0 | complete | everything above holds, and the statement says so |
//! | 3 | partial | everything holds, and the statement says that something is missing |
//! | 4 | truncated | the file ends before its end, and what is there is in order |
//! | 5 | corrupt | anything else is not as it was written |
//! | 6 | wrong signer | everything holds, and the key is not the given one |
//! | 7 | aborted | everything holds, and its writer says that it gave up |
//!
//! # To read one file
//!
//! Read the last 9 bytes, then the table; decompress the last frame but the digest's; check the seal; decompress the frames from `manifest_at` on and check their
//! digest; look the path up; decompress the frames from its `offset` on; check its digest. In a plain tar the seal's header is found by going back from the
//! end, block by block.
//!
//! # Readers that go wrong
//!
//! Readers that stop after the first frame lose most of a bundle without an error. Known ones: python-zstandard's `.decompress()`, `decompressobj()` and
//! `read_to_iter()` (use `zstandard.open` or `stream_reader(…, read_across_frames=True)`), async-compression without `multiple_members(true)`, and HTTP clients that take
//! `zstd` as a content coding, for which reason bundles are never sent as one.

pub mod assemble;
pub mod check;
pub mod entry;
pub mod extract;
#[cfg(test)]
mod fixture;
pub mod frame;
pub mod index;
pub mod manifest;
pub mod names;
pub mod outcome;
pub mod path;
pub mod reader;
pub mod scan;
pub mod seal;
pub mod seek;
pub mod segment;
pub mod slice;
pub mod stream;
pub mod tape;
pub mod verify;

/// How the bytes of a bundle are laid out; the content is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Format {
    /// The plain tar.
    #[serde(rename = "tar")]
    Tar,
    /// Independent zstd frames with a seek table.
    #[serde(rename = "tar.zst")]
    TarZst,
}

impl Format {
    /// How files of it end, and the word for it.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::TarZst => "tar.zst",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Tar => "application/tar",
            Self::TarZst => "application/zstd",
        }
    }
}
