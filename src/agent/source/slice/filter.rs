//! Lets the lines of a window through, where a source cannot be searched: what is compressed, and logs that are not sorted.
//!
//! Bytes come from any reader and go out unchanged but for the lines left out. Memory is one block, however long a line is; where nothing
//! is to be left out, no line is looked at after the first.

use std::io::{self, Read};
use std::ops::Range;

use super::key::Key;
use super::lines::Place;
use super::reader::{LOOK, Reader};
use super::{Lens, search};
use crate::agent::source::Content;
use crate::bundle::outcome::{Cut, Outcome};
use crate::bundle::slice::{Rule, Slice};

/// Bytes that are looked at together.
const BLOCK: usize = 3 * LOOK;

/// A source without the lines that lie outside of a lens; as it is without a lens.
pub struct Filter<R> {
    source: R,
    lens: Option<Lens>,
    /// Whether the first time speaks for all that follow: of a rotated file nothing is read that begins after the window.
    rising: bool,
    state: State,
}

/// How far a reading is.
#[derive(Default)]
struct State {
    reader: Option<Reader>,
    buffer: Vec<u8>,
    /// What of the buffer is yet to be looked at, and to be handed out.
    rest: Range<usize>,
    ready: Range<usize>,
    /// Whether `rest` begins inside of a line, and whether that line, or the last one with a time, is let through.
    inside: bool,
    keep: bool,
    /// The key that began in what was left out, and whether this line is of it, whatever its time.
    key: Key,
    hidden: bool,
    /// Whether all that follows is let through.
    pass: bool,
    ended: bool,
    broken: Option<io::Error>,
    /// Bytes of the source that were looked at, those that were left out, and where the first of the others begins.
    seen: u64,
    left_out: u64,
    from: Option<u64>,
}

impl State {
    /// Moves the rest to the buffer's start and reads until the buffer is full or the source ends.
    fn fill(&mut self, source: &mut impl Read) -> io::Result<()> {
        self.buffer.copy_within(self.rest.clone(), 0);
        self.rest = 0..self.rest.len();
        self.buffer.resize(BLOCK, 0);
        while self.rest.end < BLOCK && !self.ended {
            match source.read(&mut self.buffer[self.rest.end..]) {
                Ok(0) => self.ended = true,
                Ok(count) => self.rest.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<R: Read> Filter<R> {
    /// The lines of `source` that lie in `lens`.
    pub fn new(source: R, lens: Option<Lens>) -> Self {
        Self { source, lens, rising: true, state: State::default() }
    }

    /// As [`Filter::new`], for a log whose lines do not rise.
    pub fn unsorted(source: R, lens: Lens) -> Self {
        Self { source, lens: Some(lens), rising: false, state: State::default() }
    }

    /// What the source begins with, whether that is let through or not; nothing without a lens.
    /// An error of the source comes with the first reading.
    pub fn head(&mut self) -> &[u8] {
        if self.lens.is_some()
            && self.state.reader.is_none()
            && let Err(error) = self.begin()
        {
            self.state.broken = Some(error);
        }
        &self.state.buffer
    }

    /// How the source was cut, as far as it was read; `None` without a lens.
    pub fn slice(&self) -> Option<Slice> {
        let reader = self.state.reader.as_ref()?;
        let (rule, zone_minutes) = (reader.rule().unwrap_or(Rule::Mtime), reader.calendar.zone_found());
        let from = self.state.from.unwrap_or(self.state.seen);
        Some(Slice { rule, from, left_out: self.state.left_out, zone_minutes })
    }

    /// Whether anything was left out so far, and whether that was all.
    pub fn left_out(&self) -> (bool, bool) {
        let cut = self.state.left_out > 0;
        (cut, cut && self.state.from.is_none())
    }

    /// The source again.
    pub fn into_inner(self) -> R {
        self.source
    }

    /// Reads the first block, and looks for the first time in it.
    fn begin(&mut self) -> io::Result<()> {
        let Some(lens) = &self.lens else { return Ok(()) };
        let mut reader = Reader::new(lens.calendar.clone());
        let window = lens.window;
        let state = &mut self.state;
        state.fill(&mut self.source)?;
        let mut head = Head(&state.buffer[state.rest.clone()]);
        let size = state.rest.len() as u64;
        match search::first(&mut head, &mut reader, size)? {
            None => state.pass = true,
            Some((_, first)) => {
                state.keep = lens.holds(first);
                state.pass = self.rising && window.until.is_none() && state.keep;
                if self.rising && window.until.is_some_and(|until| first.earliest > until) {
                    state.left_out = size;
                    (state.rest, state.ended) = (0..0, true);
                }
            }
        }
        if state.pass {
            state.from = Some(0);
            (state.ready, state.rest) = (state.rest.clone(), 0..0);
        }
        // The buffer is cut to what is there, for whoever asks for the head.
        state.buffer.truncate(usize::try_from(size).unwrap_or(BLOCK));
        state.reader = Some(reader);
        Ok(())
    }

    /// Looks at lines until some are to be handed out; `false` at the end.
    fn advance(&mut self) -> io::Result<bool> {
        loop {
            let known = self.state.inside || has_line(&self.state.buffer[self.state.rest.clone()]);
            if !known || self.state.rest.is_empty() {
                if !self.state.ended {
                    self.state.fill(&mut self.source)?;
                }
                if self.state.rest.is_empty() {
                    return Ok(false);
                }
            }
            if self.sift() {
                return Ok(true);
            }
        }
    }

    /// Goes over the lines in the buffer, to the end of those that are let through together; whether there are any.
    fn sift(&mut self) -> bool {
        let (Some(lens), state) = (&self.lens, &mut self.state) else { return false };
        let Some(reader) = &mut state.reader else { return false };
        state.ready = state.rest.start..state.rest.start;
        while !state.rest.is_empty() {
            let rest = &state.buffer[state.rest.clone()];
            if !state.inside {
                if !has_line(rest) && !state.ended {
                    break;
                }
                let keep = reader.stamp(&rest[..rest.len().min(LOOK)]).map_or(state.keep, |stamp| lens.holds(stamp));
                if state.keep && !keep && !state.ready.is_empty() {
                    // Those before go out first; this one is looked at again.
                    break;
                }
                state.keep = keep;
            }
            let line = memchr::memchr(b'\n', rest).map(|at| at + 1);
            let length = line.unwrap_or(rest.len());
            let begins = !std::mem::replace(&mut state.inside, line.is_none());
            if begins {
                state.hidden = state.keep && state.key.holds(&rest[..length]);
            }
            if !state.keep {
                state.key.pass(&rest[..length]);
            }
            let kept = state.keep && !state.hidden;
            if kept {
                state.from.get_or_insert(state.seen);
                if state.ready.is_empty() {
                    state.ready.start = state.rest.start;
                }
                state.ready.end = state.rest.start + length;
            } else {
                state.left_out += length as u64;
            }
            state.seen += length as u64;
            state.rest.start += length;
            if !kept && !state.ready.is_empty() {
                break;
            }
        }
        !state.ready.is_empty()
    }
}

/// Whether a line's time can be read: all of it is there, or as much as is looked at.
fn has_line(rest: &[u8]) -> bool {
    rest.len() >= LOOK || memchr::memchr(b'\n', rest).is_some()
}

impl<R: Read> Read for Filter<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.lens.is_none() {
            return self.source.read(out);
        }
        if let Some(error) = self.state.broken.take() {
            return Err(error);
        }
        if self.state.reader.is_none() {
            self.begin()?;
        }
        if self.state.ready.is_empty() {
            if self.state.pass {
                return self.source.read(out);
            }
            if !self.advance()? {
                return Ok(0);
            }
        }
        let state = &mut self.state;
        let count = out.len().min(state.ready.len());
        out[..count].copy_from_slice(&state.buffer[state.ready.start..state.ready.start + count]);
        state.ready.start += count;
        Ok(count)
    }
}

/// A content of which each line is looked at.
impl<C: Content> Content for Filter<C> {
    fn open(&mut self) -> io::Result<()> {
        self.state = State::default();
        self.source.open()
    }

    fn again(&self) -> bool {
        self.source.again()
    }

    fn after(&mut self) -> Option<(Outcome, String)> {
        self.source.after()
    }

    fn cut(&self) -> Option<Cut> {
        self.source.cut()
    }

    fn slice(&self) -> Option<Slice> {
        Filter::slice(self)
    }
}

/// The first block, as something to be read at offsets.
struct Head<'a>(&'a [u8]);

impl Place for Head<'_> {
    fn at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}
