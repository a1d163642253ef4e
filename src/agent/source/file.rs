//! One opened file as a record's content, pinned at the size it had.
//!
//! A file comes in opened and checked; what goes out is a stream that ends where the file ended when it was opened, however it grows, and that
//! says so when it shrank. `bytes` reads it at any place, `course` says in which order its parts come. It never opens a path.

mod bytes;
mod course;

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;

use self::bytes::Bytes;
use self::course::{Course, Parts};
use super::budget::cut::{self, Gap};
use super::patience::Patient;
use super::{Content, Piece};
use crate::bundle::outcome::{Cut, CutBy, Outcome};
use crate::bundle::slice::Slice;

/// A file's bytes, as a record's content.
#[derive(Debug)]
pub struct FileContent {
    bytes: Bytes,
    extent: Extent,
    /// Where it begins: places and sizes count from there.
    base: u64,
    /// How that came about.
    slice: Option<Slice>,
    /// Bytes of a hole that it begins with, which is left out.
    hole: u64,
    /// What its collector lets pass.
    most: u64,
    opened: bool,
    /// How far behind its last byte the file is to be known, in it as a whole.
    after: Range<u64>,
    /// What is left out of the middle.
    gap: Option<Gap>,
    /// The way that is left of a reading; none before its first piece.
    course: Option<Course>,
    ended: bool,
    trouble: Option<(Outcome, String)>,
}

/// How far a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// To the size that it had when it was opened.
    Pinned(u64),
    /// To wherever it ends when it is read, as in `/proc`; once only.
    Stream,
}

impl FileContent {
    /// The content of an opened file, `most` bytes of it.
    pub fn new(file: File, extent: Extent, most: u64) -> Self {
        Self {
            bytes: Bytes::new(file),
            extent,
            base: 0,
            slice: None,
            hole: 0,
            most,
            opened: false,
            after: 0..0,
            gap: None,
            course: None,
            ended: false,
            trouble: None,
        }
    }

    /// Reads on threads that can be left behind, where `patient` is given.
    pub fn patiently(mut self, patient: Option<Patient>) -> Self {
        self.bytes = self.bytes.patiently(patient);
        self
    }

    /// Its size when it was opened, or of the part that is given; `None` for one that gives other bytes each time.
    pub fn size(&self) -> Option<u64> {
        match self.extent {
            Extent::Pinned(size) => Some(size),
            Extent::Stream => None,
        }
    }

    /// Gives only what stands between two places, both within its size; `slice` says so.
    pub fn part(mut self, from: u64, to: u64, slice: Slice) -> Self {
        let end = self.size().unwrap_or(to).min(to.saturating_add(cut::BESIDE as u64)).max(to);
        self.after = self.base + to..self.base + end;
        (self.base, self.extent, self.slice) = (self.base + from, Extent::Pinned(to - from), Some(slice));
        self
    }

    /// Leaves out the hole that it begins with, as a log does that was cut short under a writer that did not notice. Whether there is one.
    pub fn skip_hole(&mut self) -> bool {
        let Extent::Pinned(size) = self.extent else { return false };
        let Some(data) = self.bytes.data().filter(|data| self.base == 0 && (1..size).contains(data)) else {
            return false;
        };
        (self.base, self.hole, self.extent) = (data, data, Extent::Pinned(size - data));
        true
    }

    /// Whether there are holes in it, as far as anybody knows.
    pub(super) fn has_holes(&self) -> bool {
        self.size().is_some_and(|size| self.bytes.hole().is_some_and(|hole| hole < self.base + size))
    }

    /// Says how it was judged by a window that leaves nothing of it out.
    pub fn whole(mut self, slice: Slice) -> Self {
        self.slice = Some(slice);
        self
    }

    /// Lets so many bytes pass in place of what it was made with: somebody else cuts them.
    pub(super) fn let_pass(&mut self, most: u64) {
        self.most = most;
    }

    /// Leaves out the middle of a file that is larger than `most`, which must be no stream; `why` stands in the mark between head and tail.
    ///
    /// # Errors
    /// Any error of the file system.
    pub(crate) fn cut_to(&mut self, most: u64, why: (CutBy, &str)) -> io::Result<()> {
        if let Extent::Pinned(size) = self.extent
            && size > most
        {
            self.gap = Some(Gap::find(size, most, why, &mut |buffer, at| self.at(buffer, at))?);
            self.most = u64::MAX;
        }
        Ok(())
    }

    /// The first bytes, for telling what it is. A stream is read from its start again afterwards.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn head(&mut self, most: usize) -> io::Result<Vec<u8>> {
        // A pinned file has no more than its size: nobody needs to ask.
        let most = self.length().map_or(most, |size| most.min(usize::try_from(size).unwrap_or(most)));
        let mut head = vec![0; most];
        let mut filled = 0;
        while filled < most {
            match self.at(&mut head[filled..], filled as u64)? {
                0 => break,
                n => filled += n,
            }
        }
        head.truncate(filled);
        Ok(head)
    }

    /// Bytes it will probably give.
    pub fn size_hint(&self) -> Option<u64> {
        match (self.extent, &self.gap) {
            (Extent::Pinned(size), Some(gap)) => Some(gap.length(size)),
            (Extent::Pinned(size), None) => Some(size.min(self.most)),
            (Extent::Stream, _) => None,
        }
    }

    /// Where it ends, as far as that is known.
    fn length(&self) -> Option<u64> {
        match self.extent {
            Extent::Pinned(size) => Some(size.min(self.most)),
            Extent::Stream => None,
        }
    }

    /// Whatever comes next; nothing at the end.
    fn next(&mut self, buffer: &mut [u8]) -> io::Result<Piece> {
        let end = self.base.saturating_add(self.length().unwrap_or(self.most));
        let parts = Parts { shown: self.base..end, gap: self.gap.as_ref(), after: self.after.clone() };
        let mut read = |buffer: &mut [u8], offset| self.bytes.at(buffer, offset);
        let course = match &mut self.course {
            Some(course) => course,
            course => course.insert(Course::over(&parts, &mut read)?),
        };
        course.next(buffer, &mut read)
    }

    /// Where the next byte would stand.
    fn place(&self) -> u64 {
        self.course.as_ref().map_or(0, Course::place)
    }

    /// Reads some bytes at a place; 0 behind its end, unless it has grown.
    pub(super) fn at(&mut self, buffer: &mut [u8], place: u64) -> io::Result<usize> {
        self.bytes.at(buffer, self.base + place)
    }

    fn end(&mut self, at: u64) {
        let size = match self.extent {
            Extent::Pinned(size) if at < size.min(self.most) => {
                let reason = format!("shrank from {size} to {at} bytes while it was read");
                return self.trouble = Some((Outcome::Truncated, reason));
            }
            Extent::Pinned(size) => {
                if let Some(Gap { cut, .. }) = &self.gap {
                    self.trouble = Some((Outcome::Truncated, said(cut)));
                }
                if self.gap.is_some() { at } else { size }
            }
            // One byte more tells whether the limit cut it.
            Extent::Stream => at + u64::from(at >= self.most && self.at(&mut [0], at).is_ok_and(|n| n > 0)),
        };
        if size > at {
            let whole = if self.extent == Extent::Stream { String::new() } else { format!(" of {size}") };
            self.trouble = Some((Outcome::Truncated, format!("cut at the limit: {at}{whole} bytes")));
        }
    }
}

/// What the manifest says of a cut.
fn said(cut: &Cut) -> String {
    let what = if cut.by == CutBy::Budget { "the budget" } else { "the limit" };
    format!("cut by {what}: {cut} left out of its middle")
}

/// What the manifest says of something that had trouble, or was cut, or both.
pub(super) fn with_cut(trouble: Option<(Outcome, String)>, cut: Option<&Cut>) -> Option<(Outcome, String)> {
    match (trouble, cut.map(said)) {
        (trouble, None) => trouble,
        (None, Some(cut)) => Some((Outcome::Truncated, cut)),
        (Some((Outcome::Collected, reason)), Some(cut)) => Some((Outcome::Truncated, format!("{reason}; {cut}"))),
        (Some((outcome, reason)), Some(cut)) => Some((outcome, format!("{reason}; {cut}"))),
    }
}

impl Read for FileContent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Piece::Shown(read) = self.piece(buffer)? {
                return Ok(read);
            }
        }
    }
}

impl Content for FileContent {
    fn open(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.opened, true) && !self.again() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "this file gives other bytes each time"));
        }
        (self.course, self.ended, self.trouble) = (None, false, None);
        Ok(())
    }

    fn piece(&mut self, buffer: &mut [u8]) -> io::Result<Piece> {
        if self.ended || buffer.is_empty() {
            return Ok(Piece::Shown(0));
        }
        match self.next(buffer) {
            Ok(Piece::Shown(0)) => {
                self.ended = true;
                self.end(self.place());
                Ok(Piece::Shown(0))
            }
            // What came before a bad sector is worth having.
            Err(error) if self.place() > 0 && error.kind() != io::ErrorKind::Interrupted => {
                self.ended = true;
                let reason = format!("reading failed after {} bytes: {error}", self.place());
                self.trouble = Some((Outcome::Truncated, reason));
                Ok(Piece::Shown(0))
            }
            piece => piece,
        }
    }

    fn again(&self) -> bool {
        self.extent != Extent::Stream
    }

    fn after(&mut self) -> Option<(Outcome, String)> {
        let hole = format!("begins with a hole of {} bytes, which is left out", self.hole);
        match self.trouble.clone() {
            trouble if self.hole == 0 => trouble,
            None => Some((Outcome::Collected, hole)),
            Some((outcome, reason)) => Some((outcome, format!("{reason}; {hole}"))),
        }
    }

    fn cut(&self) -> Option<Cut> {
        self.gap.as_ref().map(|gap| gap.cut)
    }

    fn slice(&self) -> Option<Slice> {
        self.slice
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Seek as _, Write as _};
    use std::time::Duration;

    use super::super::patience::Patience;
    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(content).expect("written");
        file.rewind().expect("rewound");
        file
    }

    fn all(content: &mut FileContent) -> Vec<u8> {
        let mut bytes = Vec::new();
        content.open().expect("opened");
        content.read_to_end(&mut bytes).expect("read");
        bytes
    }

    #[test]
    fn a_file_that_grows_ends_where_it_ended() {
        let mut grows = file(b"first");
        let mut content = FileContent::new(grows.try_clone().expect("cloned"), Extent::Pinned(5), 100);
        grows.seek(io::SeekFrom::End(0)).expect("sought");
        grows.write_all(b" and more").expect("written");
        assert_eq!(all(&mut content), b"first");
        assert_eq!(content.after(), None);
        assert_eq!(all(&mut content), b"first", "again gives the same");
    }

    #[test]
    fn a_file_that_shrinks_while_read_says_so() {
        let bytes = vec![b'x'; 1 << 20];
        let shrinks = file(&bytes);
        let mut content = FileContent::new(shrinks.try_clone().expect("cloned"), Extent::Pinned(1 << 20), u64::MAX);
        let mut read = vec![0; 600_000];
        content.open().expect("opened");
        content.read_exact(&mut read).expect("the first part");
        shrinks.set_len(700_000).expect("shrunk");
        let mut rest = Vec::new();
        content.read_to_end(&mut rest).expect("read");
        assert_eq!(rest.len(), 100_000);
        let (outcome, reason) = content.after().expect("trouble");
        assert_eq!(outcome, Outcome::Truncated);
        assert_eq!(reason, "shrank from 1048576 to 700000 bytes while it was read");
    }

    #[test]
    fn a_file_above_the_limit_is_cut_and_says_so() {
        let mut content = FileContent::new(file(b"0123456789"), Extent::Pinned(10), 4);
        assert_eq!(all(&mut content), b"0123");
        assert_eq!(content.after(), Some((Outcome::Truncated, "cut at the limit: 4 of 10 bytes".into())));
        let mut content = FileContent::new(file(b"0123"), Extent::Pinned(4), 4);
        assert_eq!((all(&mut content).len(), content.after()), (4, None));
    }

    #[test]
    fn a_hole_at_the_start_is_left_out_and_told_of() {
        const HOLE: u64 = 1 << 20;
        let mut holed = file(b"");
        holed.seek(io::SeekFrom::Start(HOLE)).expect("sought");
        holed.write_all(b"first\nsecond\n").expect("written");
        let size = holed.metadata().expect("asked").len();
        let mut content = FileContent::new(holed, Extent::Pinned(size), u64::MAX);
        assert!(content.skip_hole() && !content.skip_hole());
        assert_eq!((content.size(), content.head(5).expect("a head")), (Some(13), b"first".to_vec()));
        assert_eq!(all(&mut content), b"first\nsecond\n");
        let said = format!("begins with a hole of {HOLE} bytes, which is left out");
        assert_eq!(content.after(), Some((Outcome::Collected, said.clone())));
        // A part of it counts from its data.
        let mut part = content.part(6, 13, Slice::whole(crate::bundle::slice::Rule::Mtime));
        assert_eq!((all(&mut part), part.after()), (b"second\n".to_vec(), Some((Outcome::Collected, said))));
        let only = file(b"");
        only.set_len(HOLE).expect("a hole");
        for (whole, size) in [(only, HOLE), (file(b"data"), 4), (file(b""), 0)] {
            let mut content = FileContent::new(whole, Extent::Pinned(size), u64::MAX);
            assert!(!content.skip_hole() && all(&mut content).len() as u64 == size && content.after().is_none());
        }
    }

    #[test]
    fn a_file_is_cut_in_its_middle_and_gives_the_same_again() {
        let lines: Vec<u8> = (0..20_000).flat_map(|n| format!("line {n:05}\n").into_bytes()).collect();
        let mut content = FileContent::new(file(&lines), Extent::Pinned(lines.len() as u64), u64::MAX);
        content.cut_to(10_000, (CutBy::Budget, "budget of 10000 bytes")).expect("cut");
        assert_eq!(content.head(10).expect("a head"), b"line 00000");
        let bytes = all(&mut content);
        assert_eq!(Some(bytes.len() as u64), content.size_hint());
        let text = String::from_utf8(bytes.clone()).expect("text");
        assert!(text.starts_with("line 00000\n") && text.ends_with("\nline 19999\n"), "{text}");
        assert_eq!(text.matches("--- sheaf: ").count(), 1);
        let cut = content.cut().expect("a cut");
        assert_eq!(cut.lines as usize + text.lines().count() - 1, 20_000);
        let reason = format!("cut by the budget: {} bytes, {} lines left out of its middle", cut.bytes, cut.lines);
        assert_eq!(content.after(), Some((Outcome::Truncated, reason)));
        assert!(all(&mut content) == bytes, "again gives the same");
    }

    #[test]
    fn a_stream_is_read_to_its_end_and_once() {
        let mut content = FileContent::new(File::open("/proc/self/status").expect("opened"), Extent::Stream, 1 << 20);
        assert!(content.head(5).expect("a head").starts_with(b"Name:"));
        assert!(all(&mut content).starts_with(b"Name:"));
        assert_eq!(content.after(), None);
        assert!(!content.again() && content.open().is_err());
        let mut content = FileContent::new(File::open("/proc/self/status").expect("opened"), Extent::Stream, 5);
        assert_eq!(all(&mut content), b"Name:");
        assert_eq!(content.after(), Some((Outcome::Truncated, "cut at the limit: 5 bytes".into())));
    }

    #[test]
    fn patient_reads_give_the_same_bytes() {
        static PATIENCE: Patience = Patience::new();
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
        let content = FileContent::new(file(&bytes), Extent::Pinned(bytes.len() as u64), u64::MAX);
        let mut content = content.patiently(Some(Patient::of(&PATIENCE, Duration::from_secs(60))));
        assert_eq!(content.head(3).expect("a head"), [0, 1, 2]);
        assert!(all(&mut content) == bytes);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("x"), "x").expect("written");
        let closed = File::options().write(true).open(folder.path().join("x")).expect("opened");
        let mut content = FileContent::new(closed, Extent::Pinned(1), 10);
        assert!(content.head(1).is_err());
        content.open().expect("opened");
        assert!(content.read(&mut [0; 1]).is_err());
    }
}
