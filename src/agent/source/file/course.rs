//! The course over a file's parts: what is given of it, what is only to be known, and what stands where something is left out.
//!
//! Parts come in, and bytes by a reader of places in the file; pieces go out, leg by leg. It never opens or holds a file, and reads
//! nothing before the first piece is asked for.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use super::super::Piece;
use super::super::budget::cut::{self, Begins, Gap, ReadAt};

/// What a file is taken in; places are those of the file as a whole.
#[derive(Clone, Debug)]
pub(super) struct Parts<'a> {
    /// From where to where it is given.
    pub(super) shown: Range<u64>,
    /// What of that is left out, counted from its start.
    pub(super) gap: Option<&'a Gap>,
    /// What is to be known behind the last byte that is given.
    pub(super) after: Range<u64>,
}

/// One leg of a course.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Leg {
    /// Bytes to be given.
    Shown(Range<u64>),
    /// Bytes to be known only.
    Hidden(Range<u64>),
    /// Something is left out here.
    Gap,
    /// What stands in its place, from here on.
    Mark(io::Cursor<Vec<u8>>),
}

/// A reading's way over a file.
#[derive(Debug)]
pub(super) struct Course {
    legs: VecDeque<Leg>,
    /// Where the part begins.
    base: u64,
    place: u64,
}

impl Course {
    /// The course over these parts.
    ///
    /// # Errors
    /// Any error of `read`, which is asked for what stands before a part.
    pub(super) fn over(parts: &Parts<'_>, read: &mut ReadAt<'_>) -> io::Result<Self> {
        let Range { start: base, end } = parts.shown;
        let (mut legs, mut from) = (VecDeque::new(), base);
        if base > 0 {
            legs.push_back(Leg::Hidden(before(base, read)?));
        }
        if let Some(gap) = parts.gap {
            let out = base + gap.from;
            from = base + gap.to;
            legs.extend([
                Leg::Shown(base..out),
                Leg::Hidden(out..out + gap.ahead),
                Leg::Gap,
                Leg::Mark(io::Cursor::new(gap.mark.clone())),
                Leg::Gap,
                Leg::Hidden(from - gap.back..from),
            ]);
        }
        legs.push_back(Leg::Shown(from..end));
        if !parts.after.is_empty() {
            legs.extend([Leg::Hidden(parts.after.clone()), Leg::Gap]);
        }
        Ok(Self { legs, base, place: 0 })
    }

    /// How far it has come in the part: where the next byte to be given stands, gaps included.
    pub(super) fn place(&self) -> u64 {
        self.place
    }

    /// Whatever comes next; nothing to be given at the end, and where bytes to be given are missing.
    ///
    /// # Errors
    /// Any error of `read`; it goes on where it was then.
    pub(super) fn next(&mut self, buffer: &mut [u8], read: &mut ReadAt<'_>) -> io::Result<Piece> {
        while let Some(leg) = self.legs.front_mut() {
            let (count, piece) = match leg {
                Leg::Gap => {
                    self.legs.pop_front();
                    return Ok(Piece::Gap);
                }
                Leg::Mark(mark) => {
                    let count = io::Read::read(mark, buffer)?;
                    (count, Piece::Shown(count))
                }
                Leg::Shown(range) => {
                    self.place = range.start - self.base;
                    let is_left = !range.is_empty();
                    let count = some(range, buffer, read)?;
                    if count == 0 && is_left {
                        self.legs.clear();
                        break;
                    }
                    self.place = range.start - self.base;
                    (count, Piece::Shown(count))
                }
                Leg::Hidden(range) => {
                    let count = some(range, buffer, read)?;
                    (count, Piece::Hidden(count))
                }
            };
            if count > 0 {
                return Ok(piece);
            }
            self.legs.pop_front();
        }
        Ok(Piece::Shown(0))
    }
}

/// Reads some of a range, which then begins behind that.
fn some(range: &mut Range<u64>, buffer: &mut [u8], read: &mut ReadAt<'_>) -> io::Result<usize> {
    let most = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX).min(buffer.len());
    let count = if most == 0 { 0 } else { read(&mut buffer[..most], range.start)? };
    range.start += count as u64;
    Ok(count)
}

/// What is to be known before a part that begins at `base`; nothing where that does not reach far enough to know.
fn before(base: u64, read: &mut ReadAt<'_>) -> io::Result<Range<u64>> {
    let start = base.saturating_sub(cut::BESIDE as u64);
    let mut text = vec![0; (base - start) as usize];
    let filled = cut::fill(&mut text, start, read)?;
    let begins = if start == 0 { Begins::Source } else { Begins::Inside };
    let (back, on) = cut::go_on(&text[..filled], filled, begins);
    Ok(if filled == text.len() && on == filled { start + back as u64..base } else { base..base })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::outcome::{Counted, Cut, CutBy};

    const TEXT: &[u8] = b"one\ntwo\nthree\nfour\nfive\nsix\nseven\n";

    fn gap(from: u64, to: u64, ahead: u64, back: u64) -> Gap {
        let cut = Cut { by: CutBy::Limit, bytes: to - from, lines: 0, counted: Counted::All };
        Gap { from, to, ahead, back, mark: b"--\n".to_vec(), cut }
    }

    fn parts(shown: Range<u64>, gap: Option<&Gap>, after: Range<u64>) -> Parts<'_> {
        Parts { shown, gap, after }
    }

    /// What a course gives of a text, `step` bytes at once: `+` what is given, `-` what is to be known, `|` a gap; and its place then.
    fn told(text: &[u8], step: usize, parts: &Parts<'_>) -> (String, u64) {
        let mut read = |buffer: &mut [u8], at: u64| {
            let rest = usize::try_from(at).ok().and_then(|at| text.get(at..)).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        };
        let mut course = Course::over(parts, &mut read).expect("a course");
        let (mut told, mut last, mut buffer) = (String::new(), None, vec![0; step]);
        loop {
            let piece = course.next(&mut buffer, &mut read).expect("read");
            let (sign, count) = match piece {
                Piece::Shown(0) => return (told, course.place()),
                Piece::Shown(count) => ('+', count),
                Piece::Hidden(count) => ('-', count),
                Piece::Gap => ('|', 0),
            };
            if last.replace(sign) != Some(sign) || sign == '|' {
                told.push(sign);
            }
            told.push_str(std::str::from_utf8(&buffer[..count]).expect("text"));
        }
    }

    #[test]
    fn a_whole_file_is_one_leg() {
        for step in [1, 3, 1000] {
            assert_eq!(told(b"one\ntwo\n", step, &parts(0..8, None, 8..8)), ("+one\ntwo\n".into(), 8));
            assert_eq!(told(b"one\ntwo\n", step, &parts(0..4, None, 4..4)), ("+one\n".into(), 4), "cut at a limit");
        }
        assert_eq!(told(b"", 9, &parts(0..0, None, 0..0)), (String::new(), 0));
    }

    #[test]
    fn a_part_is_given_with_what_stands_around_it_to_be_known() {
        let expected = "-one\ntwo\n+three\nfour\n-five\nsix\nseven\n|";
        for step in [1, 4, 1000] {
            assert_eq!(told(TEXT, step, &parts(8..19, None, 19..34)), (expected.into(), 11));
        }
        // Nothing is behind its end.
        assert_eq!(told(TEXT, 9, &parts(24..34, None, 34..34)).0, "-one\ntwo\nthree\nfour\nfive\n+six\nseven\n");
    }

    #[test]
    fn a_gap_is_crossed_by_way_of_what_is_known_of_both_its_sides() {
        let gap = gap(4, 24, 4, 5);
        let expected = "+one\n-two\n|+--\n|-five\n+six\nseven\n";
        for step in [1, 2, 5, 1000] {
            assert_eq!(told(TEXT, step, &parts(0..34, Some(&gap), 34..34)), (expected.into(), 34));
        }
    }

    #[test]
    fn a_gap_in_a_part_counts_from_the_parts_start() {
        let gap = gap(4, 15, 6, 0);
        let expected = "-one\n+two\n-three\n|+--\n|+five\n-six\n|";
        assert_eq!(told(TEXT, 1000, &parts(4..24, Some(&gap), 24..28)), (expected.into(), 20));
    }

    #[test]
    fn a_gap_may_leave_nothing_before_or_behind_it() {
        let (head, tail) = (gap(0, 28, 0, 0), gap(28, 34, 0, 0));
        assert_eq!(told(TEXT, 1000, &parts(0..34, Some(&head), 34..34)), ("|+--\n|+seven\n".into(), 34));
        let expected = "+one\ntwo\nthree\nfour\nfive\nsix\n|+--\n|";
        assert_eq!(told(TEXT, 1000, &parts(0..34, Some(&tail), 34..34)), (expected.into(), 34));
    }

    #[test]
    fn missing_bytes_end_all_where_they_were_to_be_given_and_their_leg_where_not() {
        let gap = gap(4, 24, 10, 4);
        let of = |length: usize| told(&TEXT[..length], 1000, &parts(0..34, Some(&gap), 34..34));
        assert_eq!(of(2), ("+on".into(), 2));
        assert_eq!(of(8), ("+one\n-two\n|+--\n|".into(), 24), "the tail is gone");
        assert_eq!(of(28), ("+one\n-two\nthree\n|+--\n|-ive\n+six\n".into(), 28));
        // What stands behind is gone, and what is given is not.
        assert_eq!(told(&TEXT[..8], 1000, &parts(0..8, None, 8..20)), ("+one\ntwo\n|".into(), 8));
    }

    #[test]
    fn an_error_leaves_the_course_where_it_was() {
        let mut fails = true;
        let mut read = |buffer: &mut [u8], at: u64| {
            fails = !fails;
            if fails {
                return Err(io::ErrorKind::Interrupted.into());
            }
            buffer[0] = TEXT[at as usize];
            Ok(1)
        };
        let gap = gap(4, 28, 4, 0);
        let mut course = Course::over(&parts(0..34, Some(&gap), 34..34), &mut read).expect("a course");
        let (mut given, mut buffer, mut errors) = (Vec::new(), [0; 100], 0);
        loop {
            match course.next(&mut buffer, &mut read) {
                Ok(Piece::Shown(0)) => break,
                Ok(Piece::Shown(count)) => given.extend_from_slice(&buffer[..count]),
                Ok(_) => {}
                Err(_) => errors += 1,
            }
        }
        assert_eq!((given.as_slice(), errors > 10), (b"one\n--\nseven\n".as_slice(), true));
    }

    #[test]
    fn nothing_is_known_before_a_part_inside_of_a_line_that_begins_too_far_away() {
        let text = [b'x'; cut::BESIDE + 1000];
        let from = cut::BESIDE as u64 + 500;
        assert_eq!(told(&text, 1000, &parts(from..from + 4, None, from + 4..from + 4)), ("+xxxx".into(), 4));
        assert_eq!(told(TEXT, 1000, &parts(10..14, None, 14..14)), ("-one\ntwo\nth+ree\n".into(), 4));
    }
}
