//! A tar stream, cut into entries as it comes: chunks of any size in, events out, nothing read or written.
//!
//! The checker of a node's segments and the verifier of whole bundles both stand on it, so that there is one idea of where an
//! entry begins and ends. Only one entry's header is ever held.

use super::entry::{BLOCK, Decoded, EntryError, Head, decode, padding};

/// What stands next in the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// An entry begins.
    Head(Head),
    /// Some of its content.
    Data(&'a [u8]),
    /// It ends, its padding included.
    End,
    /// A block of zeros where a header would stand.
    ZeroBlock,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Bytes of header wanted in all.
    Head { need: usize },
    /// Bytes of content and of padding still to come.
    Content { left: u64, padding: u64 },
}

/// Cuts a tar stream into [`Event`]s.
#[derive(Clone, Debug)]
pub struct Parser {
    state: State,
    blocks: Vec<u8>,
}

impl Default for Parser {
    fn default() -> Self {
        Self { state: State::Head { need: BLOCK }, blocks: Vec::new() }
    }
}

impl Parser {
    /// The next event, taken off the front of `input`; `None` when more input is needed.
    ///
    /// # Errors
    /// For an entry that our writer would not have made; the parser is of no use after that.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, EntryError> {
        loop {
            match &mut self.state {
                State::Head { need } => {
                    let missing = *need - self.blocks.len();
                    self.blocks.extend_from_slice(take(input, missing as u64));
                    if self.blocks.len() < *need {
                        return Ok(None);
                    }
                    if *need == BLOCK && self.blocks.iter().all(|b| *b == 0) {
                        self.blocks.clear();
                        return Ok(Some(Event::ZeroBlock));
                    }
                    match decode(&self.blocks)? {
                        Decoded::Need(more) => *need = more,
                        Decoded::Whole(kind, entry) => {
                            self.state = State::Content { left: entry.size, padding: padding(entry.size) };
                            return Ok(Some(Event::Head(Head {
                                kind,
                                entry,
                                blocks: std::mem::take(&mut self.blocks),
                            })));
                        }
                    }
                }
                State::Content { left: 0, padding: 0 } => {
                    self.state = State::Head { need: BLOCK };
                    return Ok(Some(Event::End));
                }
                State::Content { .. } if input.is_empty() => return Ok(None),
                State::Content { left: 0, padding } => {
                    let zeros = take(input, *padding);
                    *padding -= zeros.len() as u64;
                    if zeros.iter().any(|b| *b != 0) {
                        return Err(EntryError::Padding);
                    }
                }
                State::Content { left, .. } => {
                    let data = take(input, *left);
                    *left -= data.len() as u64;
                    return Ok(Some(Event::Data(data)));
                }
            }
        }
    }

    /// Bytes of content and padding that the open entry still lacks; `None` between entries and inside a header.
    pub fn missing(&self) -> Option<u64> {
        match self.state {
            State::Head { .. } => None,
            State::Content { left, padding } => Some(left.saturating_add(padding)),
        }
    }

    /// Whether the stream stands inside a header.
    pub fn inside_head(&self) -> bool {
        !self.blocks.is_empty()
    }
}

/// Takes at most `most` bytes off the front.
fn take<'a>(input: &mut &'a [u8], most: u64) -> &'a [u8] {
    let length = usize::try_from(most).unwrap_or(usize::MAX).min(input.len());
    let (front, rest) = input.split_at(length);
    *input = rest;
    front
}
