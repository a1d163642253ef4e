//! Asks for a password on the terminal, without showing it.
//!
//! Reads and writes `/dev/tty`, so that standard input and output stay free for data; gives the terminal back as it was.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;

use anyhow::Context as _;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::secret::Secret;

/// Asks for a password.
///
/// # Errors
/// When there is no terminal, or it does not answer.
pub fn password(question: &str) -> anyhow::Result<Secret> {
    let mut terminal =
        OpenOptions::new().read(true).write(true).open("/dev/tty").context(
            "there is no terminal to ask for the password on; set SHEAF_PASSWORD or give --password-file FILE",
        )?;
    write!(terminal, "{question}: ")?;
    terminal.flush()?;
    let silence = Silence::new(&terminal)?;
    let mut line = String::new();
    let read = BufReader::new(&terminal).read_line(&mut line);
    drop(silence);
    writeln!(terminal)?;
    read.context("reading the password")?;
    Ok(Secret::new(line.trim_end_matches(['\n', '\r'])))
}

/// A password that a file holds, without the line's end.
///
/// # Errors
/// When the file cannot be read.
pub fn from_file(file: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    Ok(Secret::new(text.trim_end_matches(['\n', '\r'])))
}

/// The terminal without echo, until dropped.
struct Silence<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silence<'a> {
    fn new(terminal: &'a File) -> anyhow::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO;
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // A terminal that does not take its own settings back is gone: there is nobody to tell.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}
