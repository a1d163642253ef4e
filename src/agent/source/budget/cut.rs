//! Where a file that is too large is cut: its head and its tail stay, at line ends, with a mark between them that says what is missing.
//!
//! Bytes come by a reader of places in the file; the gap and its mark go out. The lines that are left out are counted as they are read,
//! none is kept; where there are too many bytes to read for a number, the number is a guess and says so.
//!
//! On both sides of a gap some of what it leaves out is shown to redaction, so that what stays is judged as if nothing was left out. Where
//! that does not reach far enough to know, more is left out.

use std::io;

use crate::bundle::outcome::{Counted, Cut, CutBy};

/// Part of what is kept that comes from the file's head.
pub(in super::super) const HEAD: u64 = 4;
/// Bytes that the mark may take.
pub(in super::super) const MARK: u64 = 256;
/// Bytes in which the end of a line is looked for.
const LINE: u64 = 64 << 10;
/// Bytes of what is left out that redaction is shown on each side of a gap.
pub(in super::super) const BESIDE: usize = 64 << 10;
/// Bytes behind a gap in which that ends which may have begun before all that is shown.
const BLOCK: u64 = 256 << 10;
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
    /// How far behind the start, and before the end, it is to be known what is left out.
    pub(in super::super) ahead: u64,
    pub(in super::super) back: u64,
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
        let (back, to) = behind(size - (content - from), size, read)?;
        let (lines, exact) = lines(from, to, read)?;
        let counted = if exact { Counted::All } else { Counted::Guess };
        let cut = Cut { by, bytes: to - from, lines, counted };
        let mark = mark(&cut, why);
        // The head may end inside a line that has no end nearby.
        let breaks = from > 0 && !ends_line(from, read)?;
        let mark = if breaks { format!("\n{mark}") } else { mark };
        let ahead = (to - from).min(BESIDE as u64);
        Ok(Self { from, to, ahead, back: to - back, mark: mark.into_bytes(), cut })
    }

    /// Bytes that a file of `size` bytes then has.
    pub(in super::super) fn length(&self, size: u64) -> u64 {
        self.from + self.mark.len() as u64 + (size - self.to)
    }
}

/// How a text begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Begins {
    /// With its source: nothing is before it.
    Source,
    /// With a line.
    Line,
    /// Somewhere in a line.
    Inside,
}

/// What stands in the place of what a cut left out.
pub(in super::super) fn mark(cut: &Cut, why: &str) -> String {
    format!("--- sheaf: {cut} left out here ({why}) ---\n")
}

/// Fills as much of `buffer` as the file has there.
pub(in super::super) fn fill(buffer: &mut [u8], at: u64, read: &mut ReadAt<'_>) -> io::Result<usize> {
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

/// Where a file goes on at `at` or later, before which something is left out, and from where on that is to be known.
fn behind(at: u64, size: u64, read: &mut ReadAt<'_>) -> io::Result<(u64, u64)> {
    let start = at.saturating_sub(BESIDE as u64);
    let mut text = vec![0; (at - start + BLOCK.min(size - at)) as usize];
    let filled = fill(&mut text, start, read)?;
    let begins = match start {
        0 => Begins::Source,
        _ if ends_line(start, read)? => Begins::Line,
        _ => Begins::Inside,
    };
    let (back, on) = go_on(&text[..filled], ((at - start) as usize).min(filled), begins);
    let (back, mut on) = (start + back as u64, start + on as u64);
    if back < on || on < start + filled as u64 {
        return Ok((back, on));
    }
    // All of it may belong to what began before: it goes on with another line.
    while on < size {
        let filled = fill(&mut text, on, read)?;
        if let Some(end) = memchr::memchr(b'\n', &text[..filled]) {
            on += end as u64 + 1;
            break;
        }
        on = if filled == 0 { size } else { on + filled as u64 };
    }
    Ok((on, on))
}

/// Where a text may go on at `at` or later, of which what is before is left out: from where on that is to be known, and where it goes on.
/// Both are the same where nothing is known, and the text's length where it must not go on.
pub(in super::super) fn go_on(text: &[u8], at: usize, begins: Begins) -> (usize, usize) {
    let line = |from: usize| memchr::memchr(b'\n', &text[from..]).map(|end| from + end + 1);
    let is_line = |at: usize| if at == 0 { begins != Begins::Inside } else { text[at - 1] == b'\n' };
    let start = at.saturating_sub(BESIDE);
    let back = if is_line(start) { Some(start) } else { line(start).filter(|back| *back <= at) };
    let Some(back) = back else {
        // It is inside of a line of which the start is not known; what stands below may belong to the same.
        let below = line(at).map(|on| on + block(&text[on..]));
        return below.map_or_else(|| apart(text, start, at), |on| (on, on));
    };
    let on = if is_line(at) { at } else { line(at).filter(|on| on - at <= LINE as usize).unwrap_or(at) };
    match block(&text[back..]) {
        end if back + end > on && (back, begins) != (0, Begins::Source) => (back + end, back + end),
        _ => (back, on),
    }
}

/// The same inside of a line that ends nowhere near: behind a word, where whatever is near is plain words. What stands in brackets or quotes
/// may belong to a name that is farther away than anything here, so nothing goes on there.
fn apart(text: &[u8], start: usize, at: usize) -> (usize, usize) {
    let behind = |from: usize| text[from..].iter().position(u8::is_ascii_whitespace).map(|end| from + end + 1);
    let is_plain = |text: &[u8]| !text.iter().any(|b| b"{}[]()<>\"'`".contains(b));
    match (behind(start), behind(at)) {
        (Some(back), Some(on)) if back <= at && on - at <= LINE as usize && is_plain(&text[start..on]) => (back, on),
        _ => (text.len(), text.len()),
    }
}

/// Where that ends which may be the inside of a block: lines of base64, or of a text that is further in.
fn block(text: &[u8]) -> usize {
    let base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let inside = |line: &[u8]| {
        let inner = line.trim_ascii();
        let opens = matches!(inner, [b'{' | b'}' | b'[' | b']', ..] | [.., b'{' | b'[']);
        let further = line.first().is_some_and(u8::is_ascii_whitespace) && !opens;
        further || inner.is_empty() || inner.len() > 16 && inner.iter().all(base64)
    };
    let mut lines = text.split_inclusive(|b| *b == b'\n').scan(0, |end, line| {
        let start = *end;
        *end += line.len();
        Some((start, line))
    });
    lines.find(|(_, line)| !inside(line)).map_or(text.len(), |(start, _)| start)
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
    fn one_line_of_plain_words_keeps_its_tail_and_one_of_anything_else_does_not() {
        let words: String = (0..100_000).map(|n| format!("word{n:05} ")).collect();
        let kept = String::from_utf8(cut(words.as_bytes(), 20_000)).expect("text");
        let (head, tail) = kept.split_once("--- sheaf: ").expect("a mark");
        assert!(head.starts_with("word00000 ") && head.len() > 4000, "{head}");
        let (_, tail) = tail.split_once('\n').expect("its end");
        assert!(tail.starts_with("word") && tail.ends_with(" word99999 ") && tail.len() > 14_000, "{}", tail.len());
        assert!(words.ends_with(tail));
        // Of a progress that overwrites itself too.
        let bars: String = (0..100_000).map(|n| format!("{n:06}\r")).collect();
        assert!(cut(bars.as_bytes(), 20_000).ends_with(b"\r099999\r"));
        // What belongs to what is not known: a list, quotes, one word without an end.
        let list = format!("{{\"passwords\":[{}]}}", "\"a b\", ".repeat(60_000));
        for text in [list, "0123456789abcdef".repeat(60_000)] {
            assert!(cut(text.as_bytes(), 20_000).ends_with(b" ---\n"), "{:.30}", text);
        }
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
