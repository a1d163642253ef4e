//! Reads a bundle from front to end without trusting that it has one: a cut file, a pipe.
//!
//! What is there is given out entry by entry; nothing is held against a manifest, which a cut bundle does not have. The container's own
//! checks (frames, headers) still hold, and the first thing that is wrong ends the scan.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use super::entry::Head;
use super::stream::{Event, Parser};
use super::tape::{Broken, Tape};

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

/// Scans a bundle.
///
/// # Errors
/// When the input cannot be read, or the visitor fails.
pub fn scan(input: impl Read, spool: &Path, visitor: &mut dyn Visitor) -> io::Result<Ended> {
    match walk(input, spool, visitor) {
        Ok(()) => Ok(Ended::Well),
        Err(Broken::Cut(place)) => Ok(Ended::Cut(format!("file ends {place}"))),
        Err(Broken::Wrong(what)) => Ok(Ended::Wrong(what)),
        Err(Broken::Io(error)) => Err(error),
    }
}

fn walk(input: impl Read, spool: &Path, visitor: &mut dyn Visitor) -> Result<(), Broken> {
    let mut tape = Tape::new(input, spool)?;
    let mut parser = Parser::default();
    let mut closed = false;
    while let Some(mut chunk) = tape.chunk()? {
        while let Some(event) = parser.next(&mut chunk).map_err(|e| Broken::Wrong(e.to_string()))? {
            let flow = match event {
                Event::Head(head) => {
                    let path = head.entry.path.clone();
                    let (bundle, path) = path.as_str().split_once('/').unwrap_or(("", path.as_str()));
                    visitor.head(bundle, path, &head)?
                }
                Event::Data(data) => {
                    visitor.data(data)?;
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
    if closed { Ok(()) } else { Err(Broken::Cut("before the end of the archive")) }
}
