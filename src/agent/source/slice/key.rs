//! Private keys of which the first lines are left out: the rest would pass redaction for any other text.
//!
//! Whoever leaves lines out here and there shows each of them to a [`Key`], which says of the next ones whether they are that key's.

use memchr::memmem::find;

/// Lines with nothing like a key in them, behind which a key is over that did not end.
const IDLE: u32 = 16;
/// Digits of base64 that are like a key.
const RUN: usize = 24;

/// Whether lines are inside of a key.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Key {
    /// Lines that may come yet without being like a key; 0 where none is begun.
    left: u32,
}

impl Key {
    /// Whether a line is of a key that began before it.
    pub(super) fn holds(&mut self, line: &[u8]) -> bool {
        if self.left == 0 {
            return false;
        }
        let ends = find(line, b"END ").is_some();
        self.left = match ends {
            true => 0,
            false if like(line) => IDLE,
            false => self.left - 1,
        };
        ends || self.left > 0
    }

    /// Takes in a line that is left out.
    pub(super) fn pass(&mut self, line: &[u8]) {
        self.holds(line);
        if let Some(at) = find(line, b"BEGIN ")
            && find(&line[at..], b"PRIVATE KEY").is_some()
            && find(&line[at..], b"END ").is_none()
        {
            self.left = IDLE;
        }
    }
}

/// Whether a line has a run of base64 in both cases, as each line of a key but its last has.
fn like(line: &[u8]) -> bool {
    line.split(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')))
        .any(|run| run.len() >= RUN && run.iter().any(u8::is_ascii_uppercase) && run.iter().any(u8::is_ascii_lowercase))
}
