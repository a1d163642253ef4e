//! The file with both rings: made at its full size, written in place, read by anyone.
//!
//! A page with the extent comes first, then the slots of the short ring, then those of the long one; each slot holds one record or zeros.
//! Records have numbers, and a number has one slot. So a reader knows what is newest and what is left over from an earlier round, in
//! whatever order a crash let the writes arrive; a record that is not whole is left out, and nothing else. Nothing here knows what is measured.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;

use super::sample::{Pace, RECORD, Sample};
use super::{Extent, HistoryError};

const MAGIC: &[u8; 16] = b"sheaf-history/1\n";
/// Bytes before the first slot.
const HEAD: usize = 4096;
/// Of them, what is more than zeros: its digest comes last.
const SAID: usize = 64;
/// Slots of one ring at most.
pub const SLOTS: u32 = 20_000;
/// Records that are read at once when all are looked at.
const BLOCK: usize = 16;

/// An open file, for reading.
#[derive(Debug)]
pub struct RingFile {
    file: File,
    extent: Extent,
}

/// What is in a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The newest record's number; 0 when there is none.
    pub newest: u64,
    /// The newest sample's number.
    pub newest_tick: u64,
    /// The oldest sample's number.
    pub oldest_tick: u64,
    /// Records that are not whole.
    pub damaged: u64,
}

/// What became of the file when it was opened for writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It was there.
    Continued,
    /// There was none.
    Begun,
    /// What was there could not go on; says why, and where it lies now.
    BegunAnew(&'static str, PathBuf),
}

impl Extent {
    fn slots(&self, pace: Pace) -> u64 {
        u64::from(if pace == Pace::Short { self.short_slots } else { self.long_slots })
    }

    /// Where a record stands.
    fn place(&self, pace: Pace, number: u64) -> u64 {
        let before = if pace == Pace::Short { 0 } else { self.slots(Pace::Short) };
        HEAD as u64 + (before + number % self.slots(pace)) * RECORD as u64
    }

    /// Bytes of the whole file.
    pub fn bytes(&self) -> u64 {
        HEAD as u64 + (self.slots(Pace::Short) + self.slots(Pace::Long)) * RECORD as u64
    }

    fn encode(&self) -> [u8; SAID] {
        let mut head = [0; SAID];
        head[..16].copy_from_slice(MAGIC);
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let said = [RECORD as u32, self.short_slots, self.long_slots, millis(self.short), millis(self.long)];
        for (place, number) in said.iter().enumerate() {
            head[16 + 4 * place..20 + 4 * place].copy_from_slice(&number.to_le_bytes());
        }
        let digest = blake3::hash(&head[..SAID - 8]);
        head[SAID - 8..].copy_from_slice(&digest.as_bytes()[..8]);
        head
    }

    fn decode(head: &[u8; SAID]) -> Result<Self, &'static str> {
        if head[..16] != *MAGIC {
            return Err("no history of this format");
        }
        let number = |place: usize| {
            let at = 16 + 4 * place;
            u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
        };
        let millis = |place| Duration::from_millis(number(place).into());
        let extent = Self { short_slots: number(1), long_slots: number(2), short: millis(3), long: millis(4) };
        let sane = [extent.short_slots, extent.long_slots].iter().all(|slots| (1..=SLOTS).contains(slots));
        // One way to write it: whatever differs is damage.
        if number(0) != RECORD as u32 || !sane || extent.encode() != *head {
            Err("damaged at its start")
        } else {
            Ok(extent)
        }
    }
}

impl RingFile {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// When there is none, or it is no history.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        Self::with(OpenOptions::new().read(true), path)
    }

    fn with(options: &mut OpenOptions, path: &Path) -> Result<Self, HistoryError> {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file = match options.custom_flags(flags.bits().cast_signed()).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(HistoryError::Absent),
            Err(source) => return Err(HistoryError::Io { doing: "open the history", source }),
        };
        if !file.metadata().is_ok_and(|about| about.is_file()) {
            return Err(HistoryError::Damaged("no regular file"));
        }
        let mut head = [0; SAID];
        match file.read_exact_at(&mut head, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(HistoryError::Damaged("too short")),
            Err(source) => return Err(HistoryError::Io { doing: "read the history", source }),
        }
        let extent = Extent::decode(&head).map_err(HistoryError::Damaged)?;
        Ok(Self { file, extent })
    }

    /// Opens the file for writing, or makes it; one that cannot go on is set aside, in the place of one that was before.
    ///
    /// # Errors
    /// When there is no room for it, it cannot be written, or another process writes it.
    pub fn open_to_write(path: &Path, extent: Extent) -> Result<(Self, Opening), HistoryError> {
        let opened = Self::with(OpenOptions::new().read(true).write(true), path);
        let why = match opened {
            Ok(ring) => {
                ring.take()?;
                if ring.extent == extent {
                    // A part that was cut off is there again, empty.
                    if ring.file.metadata().is_ok_and(|about| about.len() < extent.bytes()) {
                        reserve(&ring.file, extent.bytes())
                            .map_err(HistoryError::io("take the room for the history"))?;
                    }
                    return Ok((ring, Opening::Continued));
                }
                "of another extent"
            }
            Err(HistoryError::Absent) => return Ok((Self::create(path, extent)?, Opening::Begun)),
            Err(HistoryError::Damaged(why)) => why,
            Err(error) => return Err(error),
        };
        let aside = path.with_extension("ring.aside");
        fs::rename(path, &aside).map_err(HistoryError::io("set the old history aside"))?;
        Ok((Self::create(path, extent)?, Opening::BegunAnew(why, aside)))
    }

    fn create(path: &Path, extent: Extent) -> Result<Self, HistoryError> {
        let new = path.with_extension("ring.new");
        let made = Self::create_at(&new, extent).and_then(|ring| {
            fs::rename(&new, path).map_err(HistoryError::io("give the history its name"))?;
            Ok(ring)
        });
        if made.is_err() && !matches!(made, Err(HistoryError::Taken)) {
            // What room there is belongs to others.
            let _ = fs::remove_file(&new);
        }
        made
    }

    fn create_at(new: &Path, extent: Extent) -> Result<Self, HistoryError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let file = options
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(new)
            .map_err(HistoryError::io("make the history"))?;
        let ring = Self { file, extent };
        ring.take()?;
        let file = &ring.file;
        file.set_len(0)
            .and_then(|()| reserve(file, extent.bytes()))
            .map_err(HistoryError::io("take the room for the history"))?;
        file.write_all_at(&extent.encode(), 0)
            // Once in its life: a crash must not leave its name and nothing in it.
            .and_then(|()| file.sync_all())
            .map_err(HistoryError::io("begin the history"))?;
        Ok(ring)
    }

    /// One writer at a time.
    fn take(&self) -> Result<(), HistoryError> {
        match rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Err(HistoryError::Taken),
            // A file system that knows no locks: better a history than none.
            _ => Ok(()),
        }
    }

    /// How often samples are taken, and how long they are kept.
    pub fn extent(&self) -> &Extent {
        &self.extent
    }

    /// Looks at all records of a ring.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn look(&self, pace: Pace) -> io::Result<Found> {
        let (slots, mut found) = (self.extent.slots(pace), Found::default());
        let mut oldest = u64::MAX;
        self.each(pace, &mut |slot, bytes| match Sample::decode(bytes, pace) {
            Some((number, sample)) if number > 0 && number % slots == slot => {
                found.newest = found.newest.max(number);
                found.newest_tick = found.newest_tick.max(sample.ticks.1);
            }
            Some(_) => found.damaged += 1,
            None => found.damaged += u64::from(bytes.iter().any(|byte| *byte != 0)),
        })?;
        // What a lost write left over from the round before is older than what the ring holds.
        self.each(pace, &mut |slot, bytes| {
            if let Some((number, sample)) = Sample::decode(bytes, pace)
                && number % slots == slot
                && number + slots > found.newest
            {
                oldest = oldest.min(sample.ticks.0);
            }
        })?;
        found.oldest_tick = if oldest == u64::MAX { 0 } else { oldest };
        Ok(found)
    }

    fn each(&self, pace: Pace, visit: &mut dyn FnMut(u64, &[u8; RECORD])) -> io::Result<()> {
        let slots = self.extent.slots(pace);
        let mut block = [0; BLOCK * RECORD];
        let mut slot = 0;
        while slot < slots {
            let wanted = (BLOCK as u64).min(slots - slot) as usize * RECORD;
            let read = read_some(&self.file, &mut block[..wanted], self.extent.place(pace, slot))?;
            for (n, bytes) in block[..read].as_chunks::<RECORD>().0.iter().enumerate() {
                visit(slot + n as u64, bytes);
            }
            if read < wanted {
                // Cut off: the rest is not there.
                break;
            }
            slot += BLOCK as u64;
        }
        Ok(())
    }

    /// A record, where it is there and whole.
    pub fn read(&self, pace: Pace, number: u64) -> Option<Sample> {
        let mut bytes = [0; RECORD];
        // It may be written this very moment: the second look sees it whole.
        for _ in 0..2 {
            self.file.read_exact_at(&mut bytes, self.extent.place(pace, number)).ok()?;
            if let Some((found, sample)) = Sample::decode(&bytes, pace) {
                return (found == number).then_some(sample);
            }
        }
        None
    }

    /// Writes a record into its slot; the file was opened for writing.
    ///
    /// # Errors
    /// When it cannot be written; the record before it in that slot may be lost then.
    pub fn write(&self, pace: Pace, number: u64, sample: &Sample) -> io::Result<()> {
        self.file.write_all_at(&sample.encode(pace, number), self.extent.place(pace, number))
    }
}

/// Takes the file's full size on the disk.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        done => return done.map_err(io::Error::from),
    }
    let (zeros, mut at) = ([0; 4096], file.metadata()?.len());
    while at < bytes {
        let most = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all_at(&zeros[..most], at)?;
        at += most as u64;
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends.
fn read_some(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], at + read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
