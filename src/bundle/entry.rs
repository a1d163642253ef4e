//! Tar entries as our writer makes them, and the reading of those that come from elsewhere.
//!
//! There is one way to write an entry: [`EntryHead::encode`]. [`decode`] reads headers from hostile bytes, names the rule that
//! one breaks, and at last demands that they are byte for byte what our writer would have made, so that no field that some other
//! reader interprets can differ from what was checked. Nothing here reads or writes a file.

use tar::Header;

use crate::bundle::path::{EntryPath, PathError};
use crate::limits::PAX_BYTES;

/// Bytes of a tar block.
pub const BLOCK: usize = 512;
/// The largest size that fits into a ustar header: 8 GiB less one byte.
const USTAR_SIZE: u64 = 0o777_7777_7777;
/// The name of every pax header, which readers without pax extract as a file.
const PAX_NAME: &[u8] = b"././@PaxHeader";

/// What stands before an entry's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryHead {
    /// The whole path in the archive, the bundle's folder included.
    pub path: EntryPath,
    /// Bytes of content, before padding to 512.
    pub size: u64,
    /// 0600, 0644, 0700 or 0755.
    pub mode: u32,
    /// Nanoseconds since 1970; written to the microsecond at most, and within what ustar can say (1970 to 2242).
    pub mtime_ns: i128,
}

/// The kinds of entries there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder; our writer makes none.
    Folder,
}

/// A header as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// File or folder.
    pub kind: Kind,
    /// What it says.
    pub entry: EntryHead,
    /// The header blocks themselves, a pax header among them.
    pub blocks: Vec<u8>,
}

/// The rule of the format that an entry breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The header's checksum or magic is wrong.
    #[error("header is no ustar header, or its checksum is wrong")]
    Checksum,
    /// Neither a regular file nor a folder: a link, a device, a FIFO, another tar's extension.
    #[error("entry type {:?} is not allowed", char::from(*.0))]
    Kind(u8),
    /// The path is none of ours.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Set-id, sticky, or other bits than 0600, 0644 (files), 0700, 0755.
    #[error("mode {0:04o} is not allowed")]
    Mode(u32),
    /// Owned by someone, by number or by name.
    #[error("entry has an owner")]
    Owner,
    /// A size that is none, or that no entry of its kind has.
    #[error("size is not allowed")]
    Size,
    /// A pax header of other keys than path, mtime and size, or too large, or malformed.
    #[error("pax header is not allowed")]
    Pax,
    /// Anything else that our writer would have written otherwise.
    #[error("header is not canonical")]
    Canonical,
    /// Bytes between content and the next block that are not zero.
    #[error("padding is not zero")]
    Padding,
}

/// What [`decode`] makes of some blocks.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// So many bytes are needed in all, counted from the first.
    Need(usize),
    /// All of them: file or folder, and what it says.
    Whole(Kind, EntryHead),
}

/// Bytes of zeros after `size` bytes of content.
pub fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

impl EntryHead {
    /// The header blocks of a regular file.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_as(Kind::File)
    }

    /// The header blocks of an entry of `kind`: a pax header where ustar is too small, then a ustar header.
    fn encode_as(&self, kind: Kind) -> Vec<u8> {
        let mut path = self.path.as_str().to_owned();
        if kind == Kind::Folder {
            path.push('/');
        }
        let mut header = Header::new_ustar();
        let mut pax = Vec::new();
        let (prefix, name) = ustar_split(&path).unwrap_or_else(|| {
            record(&mut pax, "path", &path);
            ("", &path[..path.floor_char_boundary(100)])
        });
        if let Some(ustar) = header.as_ustar_mut() {
            ustar.name[..name.len()].copy_from_slice(name.as_bytes());
            ustar.prefix[..prefix.len()].copy_from_slice(prefix.as_bytes());
        }
        let (seconds, micros) = self.time();
        if micros != 0 {
            record(&mut pax, "mtime", format!("{seconds}.{micros:06}").trim_end_matches('0'));
        }
        if self.size > USTAR_SIZE {
            record(&mut pax, "size", &self.size.to_string());
        }
        header.set_size(if self.size > USTAR_SIZE { 0 } else { self.size });
        header.set_mtime(seconds);
        header.set_mode(self.mode);
        let mut blocks = if pax.is_empty() { Vec::with_capacity(BLOCK) } else { pax_blocks(&pax) };
        blocks.extend_from_slice(finish(header, if kind == Kind::File { b'0' } else { b'5' }).as_bytes());
        blocks
    }

    /// Whole seconds and microseconds, within what ustar can say.
    fn time(&self) -> (u64, u64) {
        let micros = u64::try_from(self.mtime_ns.div_euclid(1000).max(0)).unwrap_or(u64::MAX);
        let seconds = micros / 1_000_000;
        if seconds > USTAR_SIZE { (USTAR_SIZE, 0) } else { (seconds, micros % 1_000_000) }
    }
}

/// Sets what all headers have in common.
fn finish(mut header: Header, kind: u8) -> Header {
    header.as_mut_bytes()[156] = kind;
    header.set_uid(0);
    header.set_gid(0);
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.set_device_major(0);
        ustar.set_device_minor(0);
    }
    header.set_cksum();
    header
}

/// Prefix and name, where a ustar header can hold them: the prefix as short as it can be.
fn ustar_split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= 100 {
        return Some(("", path));
    }
    let from = path.len() - 101;
    let slash = from + path.as_bytes()[from..path.len() - 1].iter().position(|b| *b == b'/')?;
    (slash <= 155).then(|| (&path[..slash], &path[slash + 1..]))
}

/// Appends the pax record `<length> <key>=<value>\n`; its length counts itself.
fn record(pax: &mut Vec<u8>, key: &str, value: &str) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    pax.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
}

fn pax_blocks(records: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_mut_bytes()[..PAX_NAME.len()].copy_from_slice(PAX_NAME);
    header.set_size(records.len() as u64);
    header.set_mode(0o644);
    let mut blocks = finish(header, b'x').as_bytes().to_vec();
    blocks.extend_from_slice(records);
    blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
    blocks
}

/// Reads the header blocks at the start of `blocks`, which hold whole blocks and at least one.
///
/// # Errors
/// For everything that our writer would not have made.
pub fn decode(blocks: &[u8]) -> Result<Decoded, EntryError> {
    let Some(first) = blocks.get(..BLOCK) else { return Ok(Decoded::Need(BLOCK)) };
    let first = checked(first)?;
    if kind_of(first) != b'x' {
        return whole(first, &Pax::default(), &blocks[..BLOCK]);
    }
    let size = usize::try_from(number(first.entry_size())?).ok().filter(|s| (1..=PAX_BYTES).contains(s));
    let size = size.ok_or(EntryError::Pax)?;
    let last = BLOCK + size.next_multiple_of(BLOCK);
    let Some(second) = blocks.get(last..last + BLOCK) else { return Ok(Decoded::Need(last + BLOCK)) };
    let pax = Pax::read(&blocks[BLOCK..BLOCK + size])?;
    let second = checked(second)?;
    whole(second, &pax, &blocks[..last + BLOCK])
}

/// A header whose magic and checksum are right.
fn checked(block: &[u8]) -> Result<&Header, EntryError> {
    let header = Header::from_byte_slice(block);
    let mut again = header.clone();
    again.set_cksum();
    if again.cksum().ok() != header.cksum().ok() || header.as_ustar().is_none() {
        return Err(EntryError::Checksum);
    }
    Ok(header)
}

/// The type byte as it stands; the tar crate would fold old ones together.
fn kind_of(header: &Header) -> u8 {
    header.as_bytes()[156]
}

fn number<T>(value: std::io::Result<T>) -> Result<T, EntryError> {
    value.map_err(|_| EntryError::Size)
}

/// Reads the real header, each rule with its own name, and then demands that it is the one we would write.
fn whole(header: &Header, pax: &Pax, blocks: &[u8]) -> Result<Decoded, EntryError> {
    let kind = match kind_of(header) {
        b'0' => Kind::File,
        b'5' => Kind::Folder,
        other => return Err(EntryError::Kind(other)),
    };
    let path = match &pax.path {
        Some(path) => path.clone(),
        None => String::from_utf8(header.path_bytes().into_owned()).map_err(|_| PathError::Character)?,
    };
    let path = if kind == Kind::Folder { path.strip_suffix('/').unwrap_or(&path) } else { &path };
    let path = EntryPath::parse(path)?;
    let mode = header.mode().map_err(|_| EntryError::Mode(u32::MAX))?;
    let fits = match kind {
        Kind::File => matches!(mode, 0o600 | 0o644),
        Kind::Folder => matches!(mode, 0o700 | 0o755),
    };
    if !fits {
        return Err(EntryError::Mode(mode));
    }
    let named = |name: Option<&[u8]>| name.is_some_and(|n| !n.is_empty());
    let owner = header.uid().ok() != Some(0) || header.gid().ok() != Some(0);
    if owner || named(header.username_bytes()) || named(header.groupname_bytes()) {
        return Err(EntryError::Owner);
    }
    let size = match pax.size {
        Some(size) => size,
        None => number(header.entry_size())?,
    };
    if (kind == Kind::Folder && size != 0) || size > i64::MAX as u64 - BLOCK as u64 {
        return Err(EntryError::Size);
    }
    let seconds = header.mtime().map_err(|_| EntryError::Canonical)?;
    let mtime_ns = pax.mtime_ns.unwrap_or(i128::from(seconds) * 1_000_000_000);
    let entry = EntryHead { path, size, mode, mtime_ns };
    if entry.encode_as(kind) != blocks {
        return Err(EntryError::Canonical);
    }
    Ok(Decoded::Whole(kind, entry))
}

/// The three pax keys there are.
#[derive(Default)]
struct Pax {
    path: Option<String>,
    mtime_ns: Option<i128>,
    size: Option<u64>,
}

impl Pax {
    fn read(mut records: &[u8]) -> Result<Self, EntryError> {
        let mut pax = Self::default();
        while !records.is_empty() {
            let space = records.iter().take(6).position(|b| *b == b' ').ok_or(EntryError::Pax)?;
            let length = std::str::from_utf8(&records[..space]).ok().and_then(|t| t.parse::<usize>().ok());
            let length = length.filter(|l| *l > space + 1 && *l <= records.len()).ok_or(EntryError::Pax)?;
            let (record, rest) = records.split_at(length);
            let record = record[space + 1..].strip_suffix(b"\n").ok_or(EntryError::Pax)?;
            let record = std::str::from_utf8(record).map_err(|_| EntryError::Pax)?;
            pax.take(record.split_once('=').ok_or(EntryError::Pax)?)?;
            records = rest;
        }
        Ok(pax)
    }

    fn take(&mut self, (key, value): (&str, &str)) -> Result<(), EntryError> {
        match key {
            "path" => self.path = Some(value.to_owned()),
            "mtime" => self.mtime_ns = Some(nanoseconds(value).ok_or(EntryError::Pax)?),
            "size" => self.size = Some(value.parse().map_err(|_| EntryError::Size)?),
            _ => return Err(EntryError::Pax),
        }
        Ok(())
    }
}

/// `seconds.fraction`, with six digits of fraction at most.
fn nanoseconds(text: &str) -> Option<i128> {
    let (seconds, fraction) = text.split_once('.')?;
    if fraction.len() > 6 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros: i128 = format!("{fraction:0<6}").parse().ok()?;
    let seconds: u64 = seconds.parse().ok()?;
    Some((i128::from(seconds) * 1_000_000 + micros) * 1000)
}
