//! manifest.json as lines: one object whose three arrays have one row a line, read and never held whole.

use super::{FORMAT, FileRow, NodeRow, SourceRow};

/// Bytes of one line at most; a writer keeps its rows below that.
pub const LINE: usize = 128 << 10;

/// What begins the manifest of `bundle`.
pub fn opening(bundle: &str) -> String {
    format!("{{\"format\":\"{FORMAT}\",\"bundle\":\"{bundle}\",\"files\":[\n")
}
/// What stands between `files` and `sources`.
pub const SOURCES: &str = "],\"sources\":[\n";
/// What stands between `sources` and `nodes`.
pub const NODES: &str = "],\"nodes\":[\n";
/// What ends the manifest.
pub const END: &str = "]}\n";

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// Of `files`.
    File(FileRow),
    /// Of `sources`.
    Source(SourceRow),
    /// Of `nodes`.
    Node(NodeRow),
}

/// One row as text, before it is parsed: a search need not parse the others.
#[derive(Clone, Copy, Debug)]
pub struct RawRow<'a> {
    section: Section,
    json: &'a [u8],
}

impl RawRow<'_> {
    /// The row itself.
    ///
    /// # Errors
    /// When it is not the JSON it should be.
    pub fn parse(self) -> Result<Row, ManifestError> {
        match self.section {
            Section::Files => serde_json::from_slice(self.json).map(Row::File),
            Section::Sources => serde_json::from_slice(self.json).map(Row::Source),
            _ => serde_json::from_slice(self.json).map(Row::Node),
        }
        .map_err(ManifestError::Row)
    }

    /// Whether it is the row of the file that `beginning` is of.
    pub fn is(self, beginning: &Beginning) -> bool {
        self.section == Section::Files && self.json.starts_with(&beginning.0)
    }
}

/// What the row of a file begins with: its path is its first member.
#[derive(Clone, Debug)]
pub struct Beginning(Vec<u8>);

impl Beginning {
    /// That of the file `path`.
    pub fn of(path: &str) -> Self {
        Self(format!("{{\"path\":{},", serde_json::Value::from(path)).into_bytes())
    }
}

/// Why bytes are no manifest of ours.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A line is longer than [`LINE`].
    #[error("manifest has a line that is too long")]
    Long,
    /// The lines around the rows are not those of our writer.
    #[error("manifest is not laid out as one row a line")]
    Layout,
    /// A row is not the JSON it should be.
    #[error("manifest has a row that is malformed")]
    Row(#[source] serde_json::Error),
    /// It ends too early.
    #[error("manifest is cut")]
    Cut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Opening,
    Files,
    Sources,
    Nodes,
    End,
}

/// Reads a manifest from pieces of any size.
#[derive(Debug)]
pub struct Lines {
    opening: String,
    line: Vec<u8>,
    section: Section,
    /// Whether the line before was a row, and whether a comma followed it.
    row: Option<bool>,
}

impl Lines {
    /// A reader for the manifest of `bundle`.
    pub fn new(bundle: &str) -> Self {
        Self { opening: opening(bundle), line: Vec::new(), section: Section::Opening, row: None }
    }

    /// Takes a piece, and gives every row that ends in it to `sink`.
    ///
    /// # Errors
    /// For anything that our writer would not have made; and whatever `sink` gives.
    pub fn feed<E: From<ManifestError>>(
        &mut self,
        mut piece: &[u8],
        mut sink: impl FnMut(RawRow<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !piece.is_empty() {
            let end = memchr::memchr(b'\n', piece).map_or(piece.len(), |at| at + 1);
            if self.line.len() + end > LINE {
                return Err(ManifestError::Long.into());
            }
            self.line.extend_from_slice(&piece[..end]);
            piece = &piece[end..];
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                if let Some(row) = self.line(&line)? {
                    sink(row)?;
                }
                self.line = line;
                self.line.clear();
            }
        }
        Ok(())
    }

    /// Says that there are no more pieces.
    ///
    /// # Errors
    /// When the manifest is not at its end.
    pub fn finish(&self) -> Result<(), ManifestError> {
        if self.section == Section::End && self.line.is_empty() { Ok(()) } else { Err(ManifestError::Cut) }
    }

    fn line<'a>(&mut self, line: &'a [u8]) -> Result<Option<RawRow<'a>>, ManifestError> {
        let (next, mark) = match self.section {
            Section::Opening => (Section::Files, self.opening.as_bytes()),
            Section::Files => (Section::Sources, SOURCES.as_bytes()),
            Section::Sources => (Section::Nodes, NODES.as_bytes()),
            Section::Nodes => (Section::End, END.as_bytes()),
            Section::End => return Err(ManifestError::Layout),
        };
        if line == mark {
            // A comma before the end would be no JSON.
            if self.row == Some(true) {
                return Err(ManifestError::Layout);
            }
            (self.section, self.row) = (next, None);
            return Ok(None);
        }
        // Every row but the last has a comma.
        if self.section == Section::Opening || self.row == Some(false) {
            return Err(ManifestError::Layout);
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let bare = line.strip_suffix(b",");
        self.row = Some(bare.is_some());
        Ok(Some(RawRow { section: self.section, json: bare.unwrap_or(line) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], step: usize) -> Result<Vec<Row>, ManifestError> {
        let mut lines = Lines::new("sheaf_x");
        let mut rows = Vec::new();
        for piece in text.chunks(step) {
            lines.feed::<ManifestError>(piece, |row| {
                rows.push(row.parse()?);
                Ok(())
            })?;
        }
        lines.finish().map(|()| rows)
    }

    fn sample() -> String {
        let file = serde_json::to_string(&FileRow { path: "a".into(), ..FileRow::default() }).expect("json");
        let node = serde_json::to_string(&NodeRow { name: "n".into(), ..NodeRow::default() }).expect("json");
        format!("{}{file},\n{file}\n{SOURCES}{NODES}{node}\n{END}", opening("sheaf_x"))
    }

    #[test]
    fn rows_come_back_whatever_the_pieces() {
        let text = sample();
        serde_json::from_str::<serde_json::Value>(&text).expect("the whole is one JSON object");
        for step in [1, 2, 7, 64, text.len()] {
            let rows = read(text.as_bytes(), step).expect("reads");
            assert!(matches!(rows[..], [Row::File(_), Row::File(_), Row::Node(_)]), "{rows:?}");
        }
    }

    #[test]
    fn every_cut_and_every_other_layout_is_refused() {
        let text = sample();
        for cut in 0..text.len() {
            assert!(read(&text.as_bytes()[..cut], 64).is_err(), "{cut}");
        }
        for (from, to) in
            [(",\n{", "\n{"), ("\n],\"s", ",\n],\"s"), ("{\"format", " {\"format"), ("sheaf_x", "sheaf_y")]
        {
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text);
            assert!(read(other.as_bytes(), 64).is_err(), "{other}");
        }
        assert!(read(format!("{text}x").as_bytes(), 64).is_err());
        let long = format!("{}{}", opening("sheaf_x"), "x".repeat(LINE + 1));
        assert!(matches!(read(long.as_bytes(), 4096), Err(ManifestError::Long)));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(noise: Vec<u8>, at: proptest::sample::Index, step in 1usize..99) {
            let mut text = sample().into_bytes();
            let at = at.index(text.len());
            text.splice(at..at, noise.iter().copied());
            let _ = read(&text, step);
            let _ = read(&noise, step);
        }
    }
}
