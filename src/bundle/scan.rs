//! Reads a bundle from front to end without trusting that it has one: a cut file, a pipe.
//!
//! What is there is given out entry by entry; nothing is held against a manifest, which a cut bundle does not have. The container's own
//! checks (frames, headers) still hold, and the first thing that is wrong ends the scan. A bundle that is read to its end must have a
//! seal there that its key made; whose key that is, and whether what it states is true, is for `verify`.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use super::Format;
use super::entry::Head;
use super::reader::{ReadError, SMALL, sealed};
use super::stream::{Event, Parser};
use super::tape::{Broken, Tape, unreadable};

/// Takes what a scan finds.
pub trait Visitor {
    /// An entry begins; `path` is below the bundle's folder. Breaking ends the scan.
    ///
    /// # Errors
    /// Whatever ends the scan.
    fn head(&mut self, bundle: &str, path: &str, head: &Head) -> io::Result<ControlFlow<()>>;

    /// Some of its content.
    ///
    /// # Errors
    /// Whatever ends the scan.
    fn data(&mut self, data: &[u8]) -> io::Result<()>;

    /// It is whole. Breaking ends the scan.
    ///
    /// # Errors
    /// Whatever ends the scan.
    fn end(&mut self) -> io::Result<ControlFlow<()>>;
}

/// How a scan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// At the end of the archive, or where the visitor stopped it.
    Well,
    /// The file ends too early.
    Cut(String),
    /// Something in it is not as it was written.
    Wrong(String),
}

/// How much of a bundle was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Which format it is.
    pub format: Format,
    /// Bytes of the file.
    pub length: u64,
    /// Frames; none in a `.tar`.
    pub frames: usize,
    /// Bytes of tar.
    pub tar_length: u64,
}

/// Scans a bundle.
///
/// # Errors
/// When the input cannot be read, or the visitor fails.
pub fn scan(input: impl Read, spool: &Path, visitor: &mut dyn Visitor) -> io::Result<Ended> {
    measured(input, spool, visitor).map(|(ended, _)| ended)
}

/// The same, and how much was read; nothing where it could not even be told what it is.
///
/// # Errors
/// As [`scan`].
pub fn measured(input: impl Read, spool: &Path, visitor: &mut dyn Visitor) -> io::Result<(Ended, Option<Extent>)> {
    let mut tape = match Tape::new(input, spool) {
        Ok(tape) => tape,
        Err(broken) => return Ok((ends(broken)?, None)),
    };
    let mut tar_length = 0;
    let ended = match walk(&mut tape, &mut tar_length, visitor) {
        Ok(()) => Ended::Well,
        Err(broken) => ends(broken)?,
    };
    let extent = Extent { format: tape.format(), length: tape.consumed(), frames: tape.frames(), tar_length };
    Ok((ended, Some(extent)))
}

fn ends(broken: Broken) -> io::Result<Ended> {
    match broken {
        Broken::Cut(place) => Ok(Ended::Cut(format!("file ends {place}"))),
        Broken::Wrong(what) => Ok(Ended::Wrong(what)),
        Broken::Io(error) => Err(error),
    }
}

fn walk<R: Read>(tape: &mut Tape<R>, tar_length: &mut u64, visitor: &mut dyn Visitor) -> Result<(), Broken> {
    let mut parser = Parser::default();
    let (mut begun, mut closed) = (false, false);
    // The seal, once it is there, and whether it is what passes by.
    let (mut seal, mut in_seal) = (None, false);
    while let Some(mut chunk) = tape.chunk()? {
        *tar_length += chunk.len() as u64;
        while let Some(event) = parser.next(&mut chunk).map_err(|error| unreadable(begun, &error))? {
            let flow = match event {
                Event::Head(head) => {
                    begun = true;
                    let path = head.entry.path.clone();
                    let (bundle, path) = path.as_str().split_once('/').unwrap_or(("", path.as_str()));
                    in_seal = path == "SEAL.json" && head.entry.size <= SMALL;
                    if in_seal {
                        seal = Some(Vec::new());
                    }
                    visitor.head(bundle, path, &head)?
                }
                Event::Data(data) => {
                    visitor.data(data)?;
                    if let Some(seal) = seal.as_mut().filter(|_| in_seal) {
                        seal.extend_from_slice(data);
                    }
                    ControlFlow::Continue(())
                }
                Event::End => visitor.end()?,
                Event::ZeroBlock => {
                    closed = true;
                    ControlFlow::Continue(())
                }
            };
            if flow.is_break() {
                return Ok(());
            }
        }
    }
    match seal {
        _ if !closed => Err(Broken::Cut("before the end of the archive")),
        None => Err(Broken::Wrong("there is no seal at its end".to_owned())),
        Some(seal) => match sealed(&seal) {
            Err(ReadError::Io(error)) => Err(error.into()),
            Err(why) => Err(Broken::Wrong(why.to_string())),
            Ok(_) => Ok(()),
        },
    }
}
