//! Asks for a password on the terminal, without showing it.
//!
//! Reads and writes `/dev/tty`, so that standard input and output stay free for data; gives the terminal back as it was, also where it is
//! interrupted: the keys are read one by one, so that no signal ends the process while nothing that is typed shows.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Bytes of a password at most.
const MOST: usize = 4096;

/// Asks for a password. Interrupted, it ends the process as the interrupt would have.
///
/// # Errors
/// When there is no terminal, for which `instead` says what to do, or it does not answer.
pub fn password(question: &str, instead: &str) -> anyhow::Result<Secret> {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let mut terminal = opened.with_context(|| format!("there is no terminal to ask for the password on; {instead}"))?;
    write!(terminal, "{question}: ")?;
    terminal.flush()?;
    let silence = Silence::new(&terminal)?;
    let typed = typed(&terminal);
    drop(silence);
    writeln!(terminal)?;
    match typed.context("reading the password")? {
        Some(password) => Ok(password),
        None => {
            // Now that the terminal is as it was.
            let _ = kill_process(getpid(), Signal::INT);
            bail!("interrupted")
        }
    }
}

/// What is typed up to the end of the line, or nothing where it is interrupted.
fn typed(mut keys: impl Read) -> io::Result<Option<Secret>> {
    let mut line = Zeroizing::new(Vec::with_capacity(MOST));
    let mut key = [0];
    loop {
        let ends = keys.read(&mut key)? == 0;
        match key[0] {
            _ if ends && line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if ends => break,
            b'\n' | b'\r' => break,
            CTRL_C => return Ok(None),
            CTRL_D if line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            CTRL_D => break,
            CTRL_U => line.clear(),
            // A letter may be several bytes.
            BACKSPACE | DELETE => while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            _ if line.len() == MOST => return Err(io::ErrorKind::FileTooLarge.into()),
            byte => line.push(byte),
        }
    }
    let text = std::str::from_utf8(&line).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(Some(Secret::new(text)))
}

/// Keys that edit or end a line.
const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const CTRL_U: u8 = 21;
const BACKSPACE: u8 = 8;
const DELETE: u8 = 127;

/// A password that a file holds, without the line's end.
///
/// # Errors
/// When the file cannot be read.
pub fn from_file(file: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    Ok(Secret::new(text.trim_end_matches(['\n', '\r'])))
}

/// The terminal without echo and without signals by keys, each of which is read as it is typed, until dropped.
struct Silence<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silence<'a> {
    fn new(terminal: &'a File) -> anyhow::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO | LocalModes::ISIG | LocalModes::ICANON;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(keys: &str) -> io::Result<Option<String>> {
        typed(keys.as_bytes()).map(|typed| typed.map(|secret| secret.expose().to_owned()))
    }

    #[test]
    fn a_line_is_edited_as_it_is_typed() {
        let given = |keys| line(keys).expect("typed").expect("a password");
        assert_eq!(given("hunter2\nrest"), "hunter2");
        assert_eq!(given("hunter\u{7f}\u{7f}t\r"), "huntt");
        assert_eq!(given("ä\u{7f}\u{7f}ö\n"), "ö");
        assert_eq!(given("wrong\u{15}right\n"), "right");
        assert_eq!(given("end\u{4}"), "end");
        assert_eq!(given("\n"), "");
    }

    #[test]
    fn an_interrupt_and_an_end_are_no_password() {
        assert_eq!(line("hunt\u{3}er2\n").expect("typed"), None);
        assert_eq!(line("\u{4}").expect_err("an end").kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(line("").expect_err("an end").kind(), io::ErrorKind::UnexpectedEof);
        assert!(line(&"x".repeat(MOST + 1)).is_err());
    }
}
