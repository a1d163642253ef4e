//! Where a file that is too large is cut: its head and its tail stay, at line ends, with a mark between them that says what is missing.
//!
//! Bytes come by a reader of places in the file; the gap and its mark go out. The lines that are left out are counted as they are read,
//! none is kept; where there are too many bytes to read for a number, the number is a guess and says so.

use std::io;

use crate::agent::source::slice::key;
use crate::bundle::outcome::{Counted, Cut, CutBy};

/// Part of what is kept that comes from the file's head.
pub(in super::super) const HEAD: u64 = 4;
/// Bytes that the mark may take.
pub(in super::super) const MARK: u64 = 256;
/// Bytes in which the end of a line is looked for.
const LINE: u64 = 64 << 10;
/// Bytes that are read to count lines at most.
pub(in super::super) const COUNT: u64 = 256 << 20;
/// Bytes that are read together.
const PIECE: usize = 256 << 10;

/// Reads at a place of the file.
pub(in super::super) type ReadAt<'a> = dyn FnMut(&mut [u8], u64) -> io::Result<usize> + 'a;

/// What is left out of the middle of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Gap {
    /// Where it begins.
    pub(in super::super) from: u64,
    /// Where the file goes on.
    pub(in super::super) to: u64,
    /// What stands in its place.
    pub(in super::super) mark: Vec<u8>,
    /// The same for the manifest.
    pub(in super::super) cut: Cut,
}

impl Gap {
    /// Finds the gap in a file of `size` bytes of which `most` may stay, which are fewer. `why` stands in the mark.
    ///
    /// # Errors
    /// Any error of `read`.
    pub(in super::super) fn find(
        size: u64,
        most: u64,
        (by, why): (CutBy, &str),
        read: &mut ReadAt<'_>,
    ) -> io::Result<Self> {
        let content = most.saturating_sub(MARK + why.len() as u64);
        let from = line_before(content / HEAD, read)?;
        let to = line_after(size - (content - from), size, read)?;
        let (lines, exact) = lines(from, to, read)?;
        let counted = if exact { Counted::All } else { Counted::Guess };
        let cut = Cut { by, bytes: to - from, lines, counted };
        let mark = mark(&cut, why);
        // The head may end inside a line that has no end nearby.
        let breaks = from > 0 && !ends_line(from, read)?;
        let mark = if breaks { format!("\n{mark}") } else { mark };
        Ok(Self { from, to, mark: mark.into_bytes(), cut })
    }

    /// Bytes that a file of `size` bytes then has.
    pub(in super::super) fn length(&self, size: u64) -> u64 {
        self.from + self.mark.len() as u64 + (size - self.to)
    }
}

/// What stands in the place of what a cut left out.
pub(in super::super) fn mark(cut: &Cut, why: &str) -> String {
    format!("--- sheaf: {cut} left out here ({why}) ---\n")
}

/// Fills as much of `buffer` as the file has there.
fn fill(buffer: &mut [u8], at: u64, read: &mut ReadAt<'_>) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The end of the last line that ends at or before `at`, or `at` itself where none is near.
fn line_before(at: u64, read: &mut ReadAt<'_>) -> io::Result<u64> {
    let start = at.saturating_sub(LINE);
    let mut buffer = vec![0; (at - start) as usize];
    let filled = fill(&mut buffer, start, read)?;
    Ok(memchr::memrchr(b'\n', &buffer[..filled]).map_or(at, |last| start + last as u64 + 1))
}

/// The start of the first line at or after `at`, or `at` itself where none is near, behind the rest of a key that `at` is inside of.
fn line_after(at: u64, size: u64, read: &mut ReadAt<'_>) -> io::Result<u64> {
    let mut buffer = vec![0; LINE.min(size - at) as usize];
    let filled = fill(&mut buffer, at, read)?;
    Ok(at + go_on(&buffer[..filled], false) as u64)
}

/// Where a text may go on of which the start is gone: behind the rest of a key, else where its first line begins, which is here if the start
/// ended `at_line`, and here too if no line ends nearby.
pub(in super::super) fn go_on(text: &[u8], at_line: bool) -> usize {
    match key::behind(text) {
        0 if at_line => 0,
        0 => memchr::memchr(b'\n', &text[..text.len().min(LINE as usize)]).map_or(0, |end| end + 1),
        behind => behind,
    }
}

fn ends_line(at: u64, read: &mut ReadAt<'_>) -> io::Result<bool> {
    let mut last = [0];
    Ok(fill(&mut last, at - 1, read)? == 1 && last[0] == b'\n')
}

/// Lines between two places, and whether they were all counted.
fn lines(from: u64, to: u64, read: &mut ReadAt<'_>) -> io::Result<(u64, bool)> {
    let until = to.min(from + COUNT);
    let (mut at, mut lines) = (from, 0_u64);
    let mut piece = vec![0; PIECE.min((until - from) as usize)];
    while at < until {
        let room = piece.len().min((until - at) as usize);
        let filled = fill(&mut piece[..room], at, read)?;
        if filled == 0 {
            break;
        }
        lines += memchr::memchr_iter(b'\n', &piece[..filled]).count() as u64;
        at += filled as u64;
    }
    if until == to {
        return Ok((lines, true));
    }
    let guess = u128::from(lines) * u128::from(to - from) / u128::from((until - from).max(1));
    Ok((u64::try_from(guess).unwrap_or(u64::MAX), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &[u8], most: u64) -> Gap {
        let mut read = |buffer: &mut [u8], at: u64| {
            let rest = text.get(at as usize..).unwrap_or_default();
            // Short reads are what a file system may do.
            let count = rest.len().min(buffer.len()).min(1000);
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        };
        Gap::find(text.len() as u64, most, (CutBy::Budget, "budget of 1 byte"), &mut read).expect("found")
    }

    fn cut(text: &[u8], most: u64) -> Vec<u8> {
        let gap = find(text, most);
        let cut = [&text[..gap.from as usize], &gap.mark, &text[gap.to as usize..]].concat();
        assert!(cut.len() as u64 <= most, "{} of {most}", cut.len());
        assert_eq!(cut.len() as u64, gap.length(text.len() as u64));
        cut
    }

    #[test]
    fn head_and_tail_stay_at_line_ends_and_the_mark_says_what_is_missing() {
        let lines: Vec<String> = (0..10_000).map(|n| format!("line {n:05}\n")).collect();
        let text = lines.concat();
        let kept = String::from_utf8(cut(text.as_bytes(), 20_000)).expect("text");
        let (marks, others): (Vec<&str>, Vec<&str>) = kept.lines().partition(|line| line.starts_with("--- sheaf"));
        let at = others.iter().position(|line| *line > "line 05000").expect("a tail");
        assert_eq!(others[..at].len() * 3 / others[at..].len(), 0, "a quarter is head");
        assert!(others[..at].len() > 400 && others[at..].len() > 1200, "{at}");
        assert_eq!((others[0], *others.last().expect("a line")), ("line 00000", "line 09999"));
        let left_out = 10_000 - others.len();
        let bytes = left_out * 11;
        assert_eq!(marks, [format!("--- sheaf: {bytes} bytes, {left_out} lines left out here (budget of 1 byte) ---")]);
    }

    #[test]
    fn one_line_without_an_end_is_cut_inside_and_the_mark_stands_alone() {
        let text = vec![b'x'; 300_000];
        let kept = cut(&text, 10_000);
        let gap = find(&text, 10_000);
        assert_eq!(gap.cut, Cut { by: CutBy::Budget, bytes: gap.to - gap.from, lines: 0, counted: Counted::All });
        assert!(kept.windows(11).any(|part| part == b"\n--- sheaf:"));
    }

    #[test]
    fn the_rest_of_a_key_whose_begin_is_gone_goes_too() {
        let mut text = "before\n".repeat(3000);
        text.push_str("-----BEGIN RSA PRIVATE KEY-----\n");
        text.push_str(&"c2VjcmV0IGtleSBtYXRlcmlhbCBpbiBiYXNlNjQ\n".repeat(100));
        text.push_str("-----END RSA PRIVATE KEY-----\n");
        text.push_str(&"after\n".repeat(500));
        let kept = String::from_utf8(cut(text.as_bytes(), 8000)).expect("text");
        assert!(!kept.contains("c2VjcmV0") && !kept.contains("END RSA"), "{kept}");
        assert!(kept.starts_with("before\n") && kept.ends_with("after\n"));
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_lines_are_it_fits_and_the_bytes_are_right(
            lines in proptest::collection::vec(0usize..300, 50..400), most in 1000u64..9000,
        ) {
            let text: Vec<u8> = lines.iter().flat_map(|n| [vec![b'y'; *n], vec![b'\n']].concat()).collect();
            if (text.len() as u64) > most {
                let gap = find(&text, most);
                proptest::prop_assert!(gap.from <= gap.to && gap.length(text.len() as u64) <= most);
                let gone = memchr::memchr_iter(b'\n', &text[gap.from as usize..gap.to as usize]).count() as u64;
                proptest::prop_assert_eq!(gap.cut, Cut { by: CutBy::Budget, bytes: gap.to - gap.from, lines: gone, counted: Counted::All });
            }
        }
    }
}
