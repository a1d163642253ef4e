//! Where a downloaded bundle goes: to its file, or to standard output, and through the verifier on the way.
//!
//! Bytes come from the download and are written and verified in one pass on one thread, so that a bundle of any size is read
//! once. A file is `<name>.partial` until its seal was seen. It decides nothing about what the verdict means to the caller.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal as _, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::sync::mpsc::Receiver;

/// Where the bundle is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// On standard output.
    Stdout,
    /// In this file.
    File(PathBuf),
}

impl Destination {
    /// `-` is standard output.
    pub fn parse(text: &Path) -> Self {
        if text == Path::new("-") { Self::Stdout } else { Self::File(text.to_owned()) }
    }

    /// Whether a bundle may go there, so that nobody waits for one in vain. With `json` something else goes to standard output.
    ///
    /// # Errors
    /// For a terminal, for a file that is there already, and where two things want standard output.
    pub fn check(&self, json: bool) -> anyhow::Result<()> {
        match self {
            Self::Stdout if json => anyhow::bail!("--json and --output - both want standard output"),
            Self::Stdout if io::stdout().is_terminal() => {
                anyhow::bail!("a bundle is not for a terminal; give --output FILE, or send it through a pipe")
            }
            Self::Stdout => Ok(()),
            Self::File(path) => is_free(path),
        }
    }

    /// Opens it: for a file, its `.partial`.
    ///
    /// # Errors
    /// When the file is there already, which may be the only bundle of an incident, or cannot be made.
    pub fn open(self) -> anyhow::Result<Opened> {
        match self {
            Self::Stdout => Ok(Opened::to_stdout()),
            Self::File(path) => {
                is_free(&path)?;
                Opened::anew(path, ".partial")
            }
        }
    }

    /// Opens it to go on with what an earlier try left of the same bundle, `size` bytes long; `mark` tells the partial files of one
    /// bundle from those of another.
    ///
    /// # Errors
    /// When the file is there already, or cannot be made or read.
    pub fn resume(self, mark: &str, size: u64) -> anyhow::Result<Opened> {
        let Self::File(path) = self else { return Ok(Opened::to_stdout()) };
        is_free(&path)?;
        let ending = format!(".{mark}.partial");
        let partial = beside(&path, &ending);
        match partial.metadata() {
            Ok(found) if found.is_file() && (1..=size).contains(&found.len()) => {
                Opened::again(path, partial, found.len())
            }
            _ => Opened::anew(path, &ending),
        }
    }
}

/// Whether a bundle may come to be there.
fn is_free(path: &Path) -> anyhow::Result<()> {
    if path.is_dir() {
        anyhow::bail!("{} is a folder; say the file's name too", path.display());
    }
    if path.is_file() {
        anyhow::bail!("{} is there already; name another file, or remove it first", path.display());
    }
    Ok(())
}

/// The file of this name with an ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(ending);
    name.into()
}

/// An open destination.
pub struct Opened {
    to: Box<dyn Write + Send>,
    place: Option<Place>,
    /// What an earlier try left, to be inspected before what comes.
    before: Box<dyn Read + Send>,
    had: u64,
}

/// A file that is being written; what is neither kept nor left is taken away.
struct Place {
    path: PathBuf,
    partial: PathBuf,
    file: File,
    settled: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.settled {
            // Nobody is left to be told that it is gone already.
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

impl Opened {
    fn to_stdout() -> Self {
        Self { to: Box::new(io::stdout()), place: None, before: Box::new(io::empty()), had: 0 }
    }

    fn anew(path: PathBuf, ending: &str) -> anyhow::Result<Self> {
        let partial = beside(&path, ending);
        // What is in a bundle is nobody else's business.
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial);
        let file = opened.with_context(|| format!("cannot write {}", partial.display()))?;
        let to = Box::new(BufWriter::with_capacity(1 << 20, file.try_clone()?));
        Ok(Self {
            to,
            place: Some(Place { path, partial, file, settled: false }),
            before: Box::new(io::empty()),
            had: 0,
        })
    }

    fn again(path: PathBuf, partial: PathBuf, had: u64) -> anyhow::Result<Self> {
        let opened = OpenOptions::new().append(true).open(&partial);
        let file = opened.with_context(|| format!("cannot write {}", partial.display()))?;
        let before = File::open(&partial).with_context(|| format!("cannot read {}", partial.display()))?;
        let to = Box::new(BufWriter::with_capacity(1 << 20, file.try_clone()?));
        let place = Some(Place { path, partial, file, settled: false });
        Ok(Self { to, place, before: Box::new(before.take(had)), had })
    }

    /// Whether it is standard output.
    pub fn is_stdout(&self) -> bool {
        self.place.is_none()
    }

    /// Bytes that are there already.
    pub fn had(&self) -> u64 {
        self.had
    }

    /// Begins anew after all: what is there is of no use.
    ///
    /// # Errors
    /// When the file cannot be emptied.
    pub fn discard(&mut self) -> anyhow::Result<()> {
        if let Some(place) = &self.place {
            place.file.set_len(0).with_context(|| format!("cannot write {}", place.partial.display()))?;
        }
        (self.before, self.had) = (Box::new(io::empty()), 0);
        Ok(())
    }

    /// Writes all pieces, while `inspect` reads the same bytes. Runs on a thread of its own, until the pieces end.
    ///
    /// # Errors
    /// When the destination cannot be written; the partial file is then taken away, since the disk may be full because of it.
    pub fn take<T>(
        mut self,
        pieces: Receiver<Bytes>,
        inspect: impl FnOnce(&mut dyn Read) -> T,
    ) -> anyhow::Result<(T, Written)> {
        let (before, bytes) = (&mut self.before, self.had);
        let mut tee = Tee { before, pieces, to: &mut self.to, left: Bytes::new(), bytes, failed: None };
        let seen = inspect(&mut tee);
        // An inspection that has seen enough does not end the download.
        let drained = io::copy(&mut tee, &mut io::sink());
        let (failed, bytes) = (tee.failed.take(), tee.bytes);
        let written = match failed {
            Some(error) => Err(error),
            None => drained.and_then(|_| self.to.flush()),
        };
        match (written, self.place) {
            (Ok(()), place) => Ok((seen, Written { bytes, place })),
            (Err(error), None) => Err(error).context("cannot write the bundle to standard output"),
            (Err(error), Some(place)) => {
                Err(error).with_context(|| format!("cannot write {}", place.partial.display()))
            }
        }
    }
}

/// What was written.
pub struct Written {
    /// How many bytes.
    pub bytes: u64,
    place: Option<Place>,
}

impl Written {
    /// Gives the file its name.
    ///
    /// # Errors
    /// When it cannot be made durable or renamed.
    pub fn keep(self) -> anyhow::Result<Option<PathBuf>> {
        let Some(mut place) = self.place else { return Ok(None) };
        place.file.sync_all().with_context(|| format!("cannot write {}", place.partial.display()))?;
        std::fs::rename(&place.partial, &place.path)
            .with_context(|| format!("cannot rename {} to {}", place.partial.display(), place.path.display()))?;
        place.settled = true;
        Ok(Some(place.path.clone()))
    }

    /// Leaves the partial file under its own name, for what it is worth; one without a byte is worth nothing.
    pub fn leave(self) -> Option<PathBuf> {
        self.place.filter(|_| self.bytes > 0).map(|mut place| {
            place.settled = true;
            place.partial.clone()
        })
    }
}

/// Gives out the pieces as they come, each after it was written.
struct Tee<'a> {
    before: &'a mut (dyn Read + Send),
    pieces: Receiver<Bytes>,
    to: &'a mut (dyn Write + Send),
    left: Bytes,
    bytes: u64,
    failed: Option<io::Error>,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let before = self.before.read(buffer)?;
        if before > 0 {
            return Ok(before);
        }
        while self.left.is_empty() {
            // After a failure the download is ended by taking nothing more of it.
            if self.failed.is_some() {
                return Ok(0);
            }
            let Some(piece) = self.pieces.blocking_recv() else { return Ok(0) };
            if let Err(error) = self.to.write_all(&piece) {
                self.failed = Some(error);
                self.pieces.close();
                return Ok(0);
            }
            self.bytes += piece.len() as u64;
            self.left = piece;
        }
        let count = self.left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.left.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(texts: &[&'static str]) -> Receiver<Bytes> {
        let (sender, receiver) = tokio::sync::mpsc::channel(texts.len().max(1));
        texts.iter().for_each(|text| sender.try_send(Bytes::from_static(text.as_bytes())).expect("room"));
        receiver
    }

    #[test]
    fn a_file_is_partial_until_it_is_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("b.tar");
        let opened = Destination::parse(&path).open().expect("opened");
        let mut first = [0; 3];
        let (seen, written) =
            opened.take(pieces(&["ab", "cd", "", "ef"]), |bytes| bytes.read_exact(&mut first)).expect("written");
        seen.expect("read");
        assert_eq!((&first, written.bytes), (b"abc", 6));
        assert!(!path.exists());
        assert_eq!(written.keep().expect("kept").as_deref(), Some(path.as_path()));
        assert_eq!(std::fs::read(&path).expect("read"), b"abcdef");
        assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 1);
    }

    #[test]
    fn what_is_given_up_is_taken_away_and_what_is_left_stays() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("b.tar");
        drop(Destination::parse(&path).open().expect("opened"));
        assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 0);
        let opened = Destination::parse(&path).open().expect("opened");
        let (_, written) = opened.take(pieces(&["ab"]), |_| ()).expect("written");
        assert_eq!(std::fs::read(written.leave().expect("a file")).expect("read"), b"ab");
        assert!(!path.exists());
        std::fs::remove_file(beside(&path, ".partial")).expect("removed");
        let (_, written) =
            Destination::parse(&path).open().expect("opened").take(pieces(&[]), |_| ()).expect("written");
        assert_eq!(written.leave(), None, "nothing came");
        assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 0);
    }

    #[test]
    fn a_bundle_that_is_there_is_not_written_over() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("b.tar");
        std::fs::write(&path, "evidence").expect("written");
        for opened in [Destination::parse(&path).open(), Destination::parse(&path).resume("1234", 9)] {
            let error = opened.map(|_| ()).expect_err("refused");
            assert!(format!("{error:#}").contains("b.tar is there already"), "{error:#}");
        }
        assert_eq!(std::fs::read(&path).expect("read"), b"evidence");
        assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 1);
    }

    #[test]
    fn what_cannot_be_written_says_so() {
        let device = File::options().write(true).open("/dev/full").expect("a full device");
        let full = Opened { to: Box::new(device), ..Opened::to_stdout() };
        let error = full.take(pieces(&["x"]), |bytes| io::copy(bytes, &mut io::sink())).map(|_| ()).expect_err("full");
        assert!(format!("{error:#}").contains("No space left"), "{error:#}");
        let nowhere = Destination::parse(Path::new("/nonexistent/x.tar")).open().map(|_| ()).expect_err("no folder");
        assert!(format!("{nowhere:#}").contains("/nonexistent/x.tar.partial"), "{nowhere:#}");
    }

    #[test]
    fn what_an_earlier_try_left_is_inspected_and_gone_on_with() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("b.tar");
        let resume = |size| Destination::parse(&path).resume("1234", size).expect("opened");
        let first = resume(6);
        assert_eq!(first.had(), 0);
        let (_, written) = first.take(pieces(&["ab", "cd"]), |_| ()).expect("written");
        written.leave().expect("a file");
        assert_eq!(Destination::parse(&path).resume("5678", 6).expect("opened").had(), 0, "another bundle's is none");
        let second = resume(6);
        assert_eq!(second.had(), 4);
        let mut all = Vec::new();
        let (_, written) = second.take(pieces(&["ef"]), |bytes| bytes.read_to_end(&mut all)).expect("written");
        assert_eq!((&all[..], written.bytes), (&b"abcdef"[..], 6));
        written.keep().expect("kept");
        assert_eq!(std::fs::read(&path).expect("read"), b"abcdef");
        std::fs::remove_file(&path).expect("removed");
        let (_, written) = resume(6).take(pieces(&["abc"]), |_| ()).expect("written");
        written.leave().expect("a file");
        assert_eq!(resume(2).had(), 0, "longer than the bundle is");
        let (_, written) = resume(6).take(pieces(&["abc"]), |_| ()).expect("written");
        written.leave().expect("a file");
        let mut anew = resume(6);
        anew.discard().expect("emptied");
        let (_, written) = anew.take(pieces(&["xyz"]), |_| ()).expect("written");
        assert_eq!(std::fs::read(written.leave().expect("a file")).expect("read"), b"xyz");
    }
}
