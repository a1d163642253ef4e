//! An export that keeps within its bytes: its oldest entries, a mark, and its newest, which matter most. Entries stay whole.
//!
//! It is handed on as it comes until a part of its bytes is through. Only then is it looked at from its end, to find the entry from which the
//! rest has room; where that is one already given, all is given. What lies between is read to be counted, as far as that is cheap, and the
//! newest entries are asked for again in their order. No entry is held but the one that is being read.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::entries::{Entries, First};
use crate::agent::source::budget::cut::HEAD;
use crate::agent::source::command::{Ending, Output, Program};
use crate::agent::source::ends::Most;
use crate::agent::source::{Content, file};
use crate::bundle::outcome::{Counted, Cut, Outcome};
use crate::bundle::slice::Slice;

/// Bytes of entries that are read only to be counted.
const COUNT: u64 = 64 << 20;
/// Bytes that are read together where nothing is handed on.
const PIECE: usize = 64 << 10;
/// Bytes that the mark takes, an entry of its own.
const MARK: u64 = 1024;
/// Part of the bytes that is left to what is logged meanwhile, and bytes of that at most.
const GROWTH: (u64, u64) = (64, 256 << 10);

/// How an export is asked for once more.
pub(super) struct Again {
    pub(super) program: Program,
    pub(super) path: Vec<PathBuf>,
    pub(super) stop: CancellationToken,
}

impl Again {
    fn output(&self, more: &str, keep: impl Fn(&str) -> bool, bytes: u64) -> Output {
        let mut program = Program { bytes, ..self.program.clone() };
        program.arguments.retain(|argument| keep(argument));
        // Matches of fields stand last.
        program.arguments.insert(0, more.to_owned());
        Output::new(program, self.path.clone(), self.stop.clone())
    }

    /// The newest entries, newest first.
    fn reverse(&self, bytes: u64) -> Output {
        self.output("--reverse", |_| true, bytes)
    }

    /// The entries from this one on; a beginning by time would contradict it.
    fn from(&self, cursor: &str) -> Output {
        self.output(&format!("--cursor={cursor}"), |argument| !argument.starts_with("--since="), u64::MAX)
    }
}

/// An export of so many bytes.
pub(super) struct Newest {
    /// What is read now, and where its ending will stand.
    source: Box<dyn Content>,
    source_ending: Arc<Mutex<Ending>>,
    again: Again,
    most: Most,
    slice: Option<Slice>,
    ending: Arc<Mutex<Ending>>,
    step: Step,
    entries: Entries,
    /// What is to be handed out before anything is read.
    ready: io::Cursor<Vec<u8>>,
    given: u64,
    cut: Option<Cut>,
    trouble: Option<(Outcome, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Head,
    Look,
    Rest,
    Over,
}

/// What a look from the end found.
enum Tail {
    /// It comes to the entry that was given last.
    Meets,
    /// The entry from which the rest has room: where it is, and when it was.
    From { cursor: String, times: String },
    /// Nothing that helps.
    Unknown,
}

impl Newest {
    /// The export that `source` is, whose ending will stand in `source_ending`; `again` asks for it once more.
    pub(super) fn new(
        (source, source_ending): (Box<dyn Content>, Arc<Mutex<Ending>>),
        again: Again,
        most: Most,
        slice: Option<Slice>,
    ) -> Self {
        let (ending, step, entries) = (Arc::default(), Step::Head, Entries::default());
        let (ready, given, cut, trouble) = (io::Cursor::default(), 0, None, None);
        Self { source, source_ending, again, most, slice, ending, step, entries, ready, given, cut, trouble }
    }

    /// Where its ending will stand once it was read.
    pub(super) fn ending(&self) -> Arc<Mutex<Ending>> {
        Arc::clone(&self.ending)
    }

    /// Hands on some of the source, within the bytes; the head ends with the first entry that ends behind its part of them.
    fn pass(&mut self, buffer: &mut [u8], read: usize) -> usize {
        let piece = &buffer[..read];
        let (room, head) = (self.most.bytes - self.given, self.most.bytes / HEAD);
        let (mut at, mut fits) = (0, 0);
        while let Some(end) = self.entries.end(&piece[at..]) {
            at += end;
            if self.step == Step::Head && self.given + at as u64 >= head && at as u64 <= room {
                self.ready = io::Cursor::new(piece[at..].to_vec());
                self.step = Step::Look;
                self.given += at as u64;
                return at;
            }
            fits = if at as u64 <= room { at } else { fits };
        }
        if read as u64 <= room {
            self.given += read as u64;
            return read;
        }
        // Whole entries, if there is one.
        let kept = if fits > 0 { fits } else { usize::try_from(room).unwrap_or(read) };
        self.given += kept as u64;
        let reason = format!("stopped at the limit of {} bytes", self.most.bytes);
        self.end(Some((Outcome::Truncated, reason)));
        kept
    }

    fn end(&mut self, trouble: Option<(Outcome, String)>) {
        let said = self.source_ending.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.trouble = trouble.or(said.trouble);
        self.step = Step::Over;
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        *ending = Ending { trouble: self.trouble.clone(), stderr: said.stderr, bytes: self.given };
    }

    /// Finds out whether the rest has room, and leaves out of it what has none.
    fn look(&mut self) -> io::Result<()> {
        self.step = Step::Rest;
        let growth = (self.most.bytes / GROWTH.0).min(GROWTH.1);
        let room = self.most.bytes.saturating_sub(self.given + MARK + growth);
        let Some(here) = self.entries.first().cursor().map(str::to_owned) else { return Ok(()) };
        if let Tail::From { cursor, times } = self.tail(&here, room)? {
            let (cut, entries) = self.count(&cursor)?;
            let text = format!("--- sheaf: {cut}, {entries} entries left out here ({}) ---", self.most.why);
            let mark = format!("{times}SYSLOG_IDENTIFIER=sheaf\nPRIORITY=5\nMESSAGE={text}\n\n");
            self.given += mark.len() as u64;
            self.ready = io::Cursor::new(mark.into_bytes());
            self.cut = Some(cut);
            let mut output = self.again.from(&cursor);
            output.open()?;
            self.source_ending = output.ending();
            self.source = Box::new(output);
            self.entries = Entries::default();
        } else {
            // What was read of it already is still to be counted.
            let first = std::mem::take(&mut self.ready);
            let source = std::mem::replace(&mut self.source, Box::new(io::Cursor::default()));
            self.source = Box::new(Ahead { first, source });
        }
        Ok(())
    }

    /// The entry from which the newest have room.
    fn tail(&self, here: &str, room: u64) -> io::Result<Tail> {
        let mut output = self.again.reverse(room);
        output.open()?;
        let (mut entries, mut buffer, mut first) = (Entries::default(), vec![0; PIECE], Vec::new());
        loop {
            let read = output.read(&mut buffer)?;
            let mut at = 0;
            while let Some(end) = entries.end(&buffer[at..read]) {
                at += end;
                if entries.first().cursor() == Some(here) {
                    return Ok(Tail::Meets);
                }
                first.clear();
                first.extend_from_slice(entries.first().0);
            }
            if read == 0 {
                break;
            }
        }
        let first = First(&first);
        let Some(cursor) = first.cursor().map(str::to_owned) else { return Ok(Tail::Unknown) };
        // Its times are the mark's: without them an entry is none.
        let times = ["__REALTIME_TIMESTAMP", "__MONOTONIC_TIMESTAMP", "_BOOT_ID"];
        let times = times.iter().filter_map(|name| Some(format!("{name}={}\n", first.field(name)?))).collect();
        Ok(Tail::From { cursor, times })
    }

    /// Counts what lies before an entry: bytes and lines, and entries.
    fn count(&mut self, cursor: &str) -> io::Result<(Cut, u64)> {
        let mut piece = std::mem::take(&mut self.ready).into_inner();
        let (mut read, mut passed, mut found) = (piece.len(), 0_u64, false);
        // What entries that ended have, and the one that is being read.
        let (mut whole, mut open) = ((0, 0, 0), (0, 0));
        piece.resize(PIECE.max(read), 0);
        while !found && passed < COUNT {
            let mut at = 0;
            while let Some(end) = self.entries.end(&piece[at..read]) {
                let part = &piece[at..at + end];
                at += end;
                found = self.entries.first().cursor() == Some(cursor);
                if found {
                    break;
                }
                whole = (whole.0 + open.0 + end as u64, whole.1 + open.1 + lines(part), whole.2 + 1);
                open = (0, 0);
            }
            open = (open.0 + (read - at) as u64, open.1 + lines(&piece[at..read]));
            passed += read as u64;
            if !found {
                read = self.source.read(&mut piece)?;
                if read == 0 {
                    break;
                }
            }
        }
        let counted = if found { Counted::All } else { Counted::AtLeast };
        Ok((Cut { by: self.most.by, bytes: whole.0, lines: whole.1, counted }, whole.2))
    }
}

fn lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// What was read of a source already, and the source behind it.
struct Ahead {
    first: io::Cursor<Vec<u8>>,
    source: Box<dyn Content>,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.first.read(buffer)? {
            0 => self.source.read(buffer),
            read => Ok(read),
        }
    }
}

impl Content for Ahead {
    fn open(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn again(&self) -> bool {
        false
    }
}

impl Read for Newest {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.step == Step::Look {
                self.look()?;
            }
            let ready = self.ready.read(buffer)?;
            if ready > 0 || buffer.is_empty() || self.step == Step::Over {
                return Ok(ready);
            }
            match self.source.read(buffer)? {
                0 => self.end(None),
                read => {
                    let kept = self.pass(buffer, read);
                    if kept > 0 {
                        return Ok(kept);
                    }
                }
            }
        }
    }
}

impl Content for Newest {
    fn open(&mut self) -> io::Result<()> {
        self.source.open()
    }

    fn again(&self) -> bool {
        false
    }

    fn after(&mut self) -> Option<(Outcome, String)> {
        file::with_cut(self.trouble.clone(), self.cut.as_ref())
    }

    fn cut(&self) -> Option<Cut> {
        self.cut
    }

    fn slice(&self) -> Option<Slice> {
        self.slice
    }
}
