//! Head and tail of what has no size before it is read: output of commands, answers, logs of which lines are left out.
//!
//! A content comes in, and goes out as it is up to its bytes; of a longer one the middle is left out, with a mark in its place that says how
//! many bytes and lines that were. All of it is read, since only so its end is found; no more of it is held than a tail of [`TAIL`] bytes,
//! and nothing before it is known that it may be needed.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use super::budget::cut::{self, BESIDE, Begins, HEAD, MARK};
use super::command::Ending;
use super::file;
use super::{Content, Piece};
use crate::bundle::outcome::{Counted, Cut, CutBy, Outcome};
use crate::bundle::slice::Slice;

/// Bytes of a tail at most: it is held in memory.
const TAIL: u64 = 1 << 20;
/// Bytes below which a tail finds no room: there a head is all that is given, and the mark beyond what may be.
pub(super) const LEAST: u64 = 4 * MARK;

/// What lets no more pass: so many bytes, and for what reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Most {
    /// The bytes.
    pub bytes: u64,
    /// Whose they are.
    pub by: CutBy,
    /// What the mark says of it.
    pub why: String,
}

/// A content of which head and tail are given.
pub(crate) struct Ends<C> {
    source: C,
    most: Most,
    /// Where the bytes that were given are told.
    ending: Arc<Mutex<Ending>>,
    state: State,
}

/// How far a reading is.
#[derive(Debug, Default)]
struct State {
    /// Bytes that were given.
    given: u64,
    /// Whether the last byte of the head ended a line.
    at_line: bool,
    /// Whether the head is through: what comes is held.
    held: bool,
    tail: VecDeque<u8>,
    /// The last bytes of the head and the first behind it, for redaction.
    before: Vec<u8>,
    ahead: Vec<u8>,
    /// What goes out before the tail.
    ready: VecDeque<Ready>,
    /// Bytes and lines that fell out of the tail, and whether the last of them ended a line.
    bytes: u64,
    lines: u64,
    fell_at_line: bool,
    /// Whether the source is at its end: what is held goes out.
    ended: bool,
    cut: Option<Cut>,
}

/// Something that goes out on the way over the gap.
#[derive(Debug)]
enum Ready {
    Shown(io::Cursor<Vec<u8>>),
    Hidden(io::Cursor<Vec<u8>>),
    Gap,
}

impl<C: Content> Ends<C> {
    /// The ends of `source`; `ending` is told how many bytes that came to.
    pub(crate) fn new(source: C, most: Most, ending: Arc<Mutex<Ending>>) -> Self {
        Self { source, most, ending, state: State::default() }
    }

    fn tail_bytes(&self) -> u64 {
        if self.most.bytes < LEAST { 0 } else { (self.most.bytes - self.most.bytes / HEAD).min(TAIL) }
    }

    /// Reads some of the head; 0 when there is no more of it.
    fn head(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.most.bytes - self.tail_bytes() - self.state.given;
        let read = self.source.read(buffer)?;
        if read == 0 {
            (self.state.held, self.state.ended) = (true, true);
            return Ok(0);
        }
        let fits = usize::try_from(left).unwrap_or(usize::MAX);
        let mut kept = read;
        if read > fits {
            // The head ends with a line, if one ends here.
            self.state.held = true;
            kept = memchr::memrchr(b'\n', &buffer[..fits]).map_or(fits, |end| end + 1);
        }
        if kept > 0 {
            self.state.at_line = buffer[kept - 1] == b'\n';
            self.state.given += kept as u64;
            if fits.saturating_sub(kept) < BESIDE {
                let before = &mut self.state.before;
                before.extend_from_slice(&buffer[kept.saturating_sub(BESIDE)..kept]);
                before.drain(..before.len().saturating_sub(BESIDE));
            }
        }
        self.hold(&buffer[kept..read]);
        Ok(kept)
    }

    /// Takes bytes into the tail; what was there first falls out.
    fn hold(&mut self, bytes: &[u8]) {
        let state = &mut self.state;
        let room = BESIDE - state.ahead.len();
        state.ahead.extend_from_slice(&bytes[..room.min(bytes.len())]);
        state.tail.extend(bytes);
        let over = state.tail.len().saturating_sub(most(&self.most, state).saturating_add(BESIDE));
        state.fall(over);
    }

    /// Reads to the end of the source, and finds out what is left out.
    fn rest(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        while !self.state.ended {
            match self.source.read(buffer) {
                Ok(0) => self.state.ended = true,
                Ok(read) => self.hold(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.state.cut.is_none() && self.state.tail.len() > most(&self.most, &self.state) {
            self.mark();
        }
        Ok(())
    }

    /// Puts the mark before the tail, in the place of as much of it.
    fn mark(&mut self) {
        let Most { by, why, .. } = &self.most;
        let room = most(&self.most, &self.state).saturating_sub(MARK as usize + why.len());
        let state = &mut self.state;
        // Where nothing fell out of the tail yet, what is before it is the head.
        let before = if state.bytes == 0 { std::mem::take(&mut state.before) } else { Vec::new() };
        let begins = match (state.bytes, state.given) {
            (0, given) if given == before.len() as u64 => Begins::Source,
            (1.., _) if state.fell_at_line => Begins::Line,
            _ => Begins::Inside,
        };
        let least = before.len() + state.tail.len() - room.min(state.tail.len());
        before.iter().rev().for_each(|byte| state.tail.push_front(*byte));
        let text = state.tail.make_contiguous();
        let (back, on) = cut::go_on(text, least, begins);
        let back = text[back..on].to_vec();
        state.tail.drain(..before.len());
        state.fall(on - before.len());
        let cut = Cut { by: *by, bytes: state.bytes, lines: state.lines, counted: Counted::All };
        let breaks = if state.at_line || state.given == 0 { "" } else { "\n" };
        let mark = format!("{breaks}{}", cut::mark(&cut, why));
        let ahead = std::mem::take(&mut state.ahead);
        state.ready.extend([
            Ready::Hidden(io::Cursor::new(ahead)),
            Ready::Gap,
            Ready::Shown(io::Cursor::new(mark.into_bytes())),
            Ready::Gap,
            Ready::Hidden(io::Cursor::new(back)),
        ]);
        state.cut = Some(cut);
    }
}

/// Bytes that may be given yet: what the head left of its part is the tail's.
fn most(most: &Most, state: &State) -> usize {
    usize::try_from(most.bytes - state.given).unwrap_or(usize::MAX)
}

impl State {
    /// Lets the first bytes of the tail go.
    fn fall(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let (first, second) = self.tail.as_slices();
        let first = &first[..bytes.min(first.len())];
        for gone in [first, &second[..bytes - first.len()]] {
            self.lines += memchr::memchr_iter(b'\n', gone).count() as u64;
        }
        self.fell_at_line = self.tail.get(bytes - 1) == Some(&b'\n');
        self.bytes += bytes as u64;
        self.tail.drain(..bytes);
    }
}

impl<C: Content> Read for Ends<C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Piece::Shown(read) = self.piece(buffer)? {
                return Ok(read);
            }
        }
    }
}

impl<C: Content> Content for Ends<C> {
    fn open(&mut self) -> io::Result<()> {
        self.state = State::default();
        self.source.open()
    }

    fn piece(&mut self, buffer: &mut [u8]) -> io::Result<Piece> {
        if buffer.is_empty() {
            return Ok(Piece::Shown(0));
        }
        if !self.state.held {
            let read = self.head(buffer)?;
            if read > 0 {
                return Ok(Piece::Shown(read));
            }
        }
        self.rest(buffer)?;
        let state = &mut self.state;
        while let Some(ready) = state.ready.front_mut() {
            let (read, hidden) = match ready {
                Ready::Shown(bytes) => (bytes.read(buffer)?, false),
                Ready::Hidden(bytes) => (bytes.read(buffer)?, true),
                Ready::Gap => {
                    state.ready.pop_front();
                    return Ok(Piece::Gap);
                }
            };
            if read > 0 {
                state.given += if hidden { 0 } else { read as u64 };
                return Ok(if hidden { Piece::Hidden(read) } else { Piece::Shown(read) });
            }
            state.ready.pop_front();
        }
        let read = state.tail.read(buffer)?;
        state.given += read as u64;
        if read == 0 {
            self.ending.lock().unwrap_or_else(PoisonError::into_inner).bytes = state.given;
        }
        Ok(Piece::Shown(read))
    }

    fn again(&self) -> bool {
        self.source.again()
    }

    fn after(&mut self) -> Option<(Outcome, String)> {
        file::with_cut(self.source.after(), self.state.cut.as_ref())
    }

    fn cut(&self) -> Option<Cut> {
        self.state.cut
    }

    fn slice(&self) -> Option<Slice> {
        self.source.slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something that is read in pieces of a size of their own.
    struct Pieces(io::Cursor<Vec<u8>>, usize);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(self.1);
            self.0.read(&mut buffer[..most])
        }
    }

    impl Content for Pieces {
        fn open(&mut self) -> io::Result<()> {
            self.0.open()
        }

        fn again(&self) -> bool {
            true
        }
    }

    fn ends(text: &[u8], piece: usize, bytes: u64) -> (Vec<u8>, Option<Cut>) {
        let most = Most { bytes, by: CutBy::Limit, why: "limit of some".to_owned() };
        let mut ends = Ends::new(Pieces(io::Cursor::new(text.to_vec()), piece), most, Arc::default());
        let mut both = Vec::new();
        // What can be read again gives the same again.
        for _ in 0..2 {
            let mut given = Vec::new();
            ends.open().expect("opened");
            ends.read_to_end(&mut given).expect("read");
            assert_eq!(ends.ending.lock().expect("not poisoned").bytes, given.len() as u64);
            both.push((given, ends.cut()));
        }
        assert_eq!(both[0], both[1]);
        both.remove(0)
    }

    fn lines(count: usize) -> Vec<u8> {
        (0..count).flat_map(|n| format!("line {n:05}\n").into_bytes()).collect()
    }

    #[test]
    fn what_fits_to_the_byte_is_as_it_was() {
        let text = lines(1000);
        for piece in [1, 7, 4096, 1 << 20] {
            assert_eq!(ends(&text, piece, text.len() as u64), (text.clone(), None));
        }
        assert!(ends(&text, 4096, text.len() as u64 - 1).1.is_some());
        assert_eq!(ends(b"", 1, 1000), (Vec::new(), None));
    }

    #[test]
    fn of_more_head_and_tail_stay_and_the_mark_counts_the_rest() {
        let text = lines(100_000);
        for piece in [1000, 65_536] {
            let (given, cut) = ends(&text, piece, 40_000);
            assert!(given.len() <= 40_000);
            let given = String::from_utf8(given).expect("text");
            let cut = cut.expect("a cut");
            assert!(given.starts_with("line 00000\n") && given.ends_with("\nline 99999\n"));
            let mark = format!(
                "\n--- sheaf: {} bytes, {} lines left out here (limit of some) ---\nline ",
                cut.bytes, cut.lines
            );
            assert_eq!(given.matches(&mark).count(), 1, "{given}");
            assert_eq!(given.lines().count() - 1 + cut.lines as usize, 100_000);
            let head = given.split("--- sheaf").next().expect("a head").len();
            assert!((9000..=10_000).contains(&head), "{head}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_it_fits_and_the_numbers_are_right(
            lengths in proptest::collection::vec(0usize..300, 0..400), piece in 1usize..5000, bytes in 1024u64..60_000,
        ) {
            let text: Vec<u8> = lengths.iter().flat_map(|n| [vec![b'y'; *n], vec![b'\n']].concat()).collect();
            let (given, cut) = ends(&text, piece, bytes);
            proptest::prop_assert!(given.len() as u64 <= bytes);
            let Some(cut) = cut else {
                proptest::prop_assert_eq!(given, text);
                return Ok(());
            };
            proptest::prop_assert!(text.len() as u64 > bytes);
            let given = String::from_utf8(given).expect("text");
            let (head, rest) = given.split_once("--- sheaf: ").expect("a mark");
            let (_, tail) = rest.split_once('\n').expect("its end");
            proptest::prop_assert!(text.ends_with(tail.as_bytes()));
            let from = text.len() - tail.len() - cut.bytes as usize;
            let broken = !text[..from].ends_with(b"\n") && from > 0;
            proptest::prop_assert_eq!(head.as_bytes(), [&text[..from], if broken { b"\n" } else { b"" }].concat());
            let gone = &text[from..from + cut.bytes as usize];
            proptest::prop_assert_eq!(cut.lines, memchr::memchr_iter(b'\n', gone).count() as u64);
        }
    }
}
