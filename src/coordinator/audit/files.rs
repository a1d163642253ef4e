//! The files of the audit log: numbered, appended to, replaced by size, read in pages.
//!
//! Records come from `coordinator::audit` one by one and go back in pages. A file that was closed never changes; what a crash
//! left half written is skipped when it is read, and never hides the record after it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::AuditSettings;
use crate::protocol::control::AuditRecord;
use crate::state;

/// Bytes that are looked through for one page.
const LOOK: u64 = 8 << 20;
/// Bytes of a line at most: more is no record of ours.
const LINE: u64 = 16 << 10;
/// How far a file's own time may be behind that of its last record.
const SLACK_MS: i64 = 60_000;

/// What is wanted of the log.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Not before, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Only what this user did.
    pub user: Option<String>,
    /// Go on where a page ended.
    pub after: Option<String>,
    /// Records at most.
    pub limit: usize,
}

/// A part of the log.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The records, oldest first. There may be none although there are more pages.
    pub records: Vec<AuditRecord>,
    /// Where it goes on; `None` at the end.
    pub next: Option<String>,
}

/// The current file, and how it is followed by the next.
pub(super) struct Files {
    pub(super) folder: PathBuf,
    settings: AuditSettings,
    number: u64,
    pub(super) current: File,
    size: u64,
    torn: bool,
}

impl Files {
    pub(super) fn open(folder: PathBuf, settings: AuditSettings) -> io::Result<Self> {
        state::folder(&folder)?;
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o700))?;
        let number = numbers(&folder)?.last().copied().unwrap_or(1);
        let (current, size) = open(&folder, number)?;
        let mut last = [b'\n'];
        if size > 0 {
            current.read_exact_at(&mut last, size - 1)?;
        }
        Ok(Self { folder, settings, number, current, size, torn: last != *b"\n" })
    }

    pub(super) fn append(&mut self, record: &AuditRecord) -> io::Result<()> {
        let mut line = Vec::with_capacity(256);
        if self.torn {
            line.push(b'\n');
        }
        serde_json::to_writer(&mut line, record)?;
        line.push(b'\n');
        if self.size > 0 && self.size + line.len() as u64 > self.settings.file_mib << 20 {
            self.replace()?;
        }
        let written = self.current.write_all(&line);
        self.torn = written.is_err();
        self.size += line.len() as u64;
        written
    }

    fn replace(&mut self) -> io::Result<()> {
        self.current.sync_data()?;
        let (current, size) = open(&self.folder, self.number + 1)?;
        (self.current, self.size, self.number, self.torn) = (current, size, self.number + 1, false);
        File::open(&self.folder)?.sync_all()?;
        let numbers = numbers(&self.folder)?;
        for old in &numbers[..numbers.len().saturating_sub(self.settings.files.max(1))] {
            fs::remove_file(path(&self.folder, *old))?;
        }
        Ok(())
    }
}

/// A page, oldest first.
pub(super) fn read(folder: &Path, query: &Query) -> io::Result<Page> {
    let (first, mut from) = match &query.after {
        None => (0, 0),
        Some(after) => place(after).ok_or(io::ErrorKind::InvalidInput)?,
    };
    let mut page = Page::default();
    let mut left = LOOK;
    let numbers = numbers(folder)?;
    let current = numbers.last().copied();
    for number in numbers.into_iter().filter(|number| *number >= first) {
        if number != first {
            from = 0;
        }
        let file = match File::open(path(folder, number)) {
            Ok(file) => file,
            // Its turn to go came meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if from == 0 && Some(number) != current && ended_before(&file, query.since_ms)? {
            continue;
        }
        if let Some(at) = read_file(file, from, query, &mut left, &mut page.records)? {
            page.next = Some(format!("{number}:{at}"));
            break;
        }
    }
    Ok(page)
}

/// Reads one file; answers where it stopped before the end.
fn read_file(
    mut file: File,
    from: u64,
    query: &Query,
    left: &mut u64,
    records: &mut Vec<AuditRecord>,
) -> io::Result<Option<u64>> {
    let mut at = file.seek(SeekFrom::Start(from))?;
    let mut file = BufReader::with_capacity(64 << 10, file);
    let mut line = Vec::new();
    loop {
        if records.len() >= query.limit || *left == 0 {
            return Ok(Some(at));
        }
        line.clear();
        let got = file.by_ref().take(LINE).read_until(b'\n', &mut line)? as u64;
        // What has no end yet is being written, or never will be.
        if got == 0 || (line.last() != Some(&b'\n') && got < LINE) {
            return Ok(None);
        }
        at += got;
        *left = left.saturating_sub(got);
        if let Ok(record) = serde_json::from_slice::<AuditRecord>(&line)
            && wanted(&record, query)
        {
            records.push(record);
        }
    }
}

fn wanted(record: &AuditRecord, query: &Query) -> bool {
    let late = query
        .since_ms
        .is_none_or(|since| record.time.parse::<jiff::Timestamp>().is_ok_and(|time| time.as_millisecond() >= since));
    late && query.user.as_ref().is_none_or(|user| *user == record.who)
}

fn ended_before(file: &File, since_ms: Option<i64>) -> io::Result<bool> {
    let Some(since) = since_ms.and_then(|since| u64::try_from(since - SLACK_MS).ok()) else { return Ok(false) };
    let modified: SystemTime = file.metadata()?.modified()?;
    Ok(modified < UNIX_EPOCH + Duration::from_millis(since))
}

fn place(text: &str) -> Option<(u64, u64)> {
    let (number, at) = text.split_once(':')?;
    Some((number.parse().ok()?, at.parse().ok()?))
}

fn open(folder: &Path, number: u64) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path(folder, number))?;
    file.set_permissions(PermissionsExt::from_mode(0o600))?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("audit-{number:06}.jsonl"))
}

/// The numbers of the files that are there, in order.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("audit-")?.strip_suffix(".jsonl"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}
