//! The walk: which files stand behind the globs of one block, opened safely, in sorted order.
//!
//! Globs and roots come from a collector; names come from the disk, where anyone may have made them. What goes out is a regular file that is open,
//! or why there is none. Every path is opened beneath the host's root without a link on the way; links are resolved here and lead
//! only to what lies below a declared root. It opens no FIFO, socket or device.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, OFlags, SeekFrom, Stat};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::collector::{Collector, Files};
use super::glob::{self, Progress, Step};
use super::mounts::Mounts;
use crate::agent::host::{Host, READ, Touch};
use crate::bundle::outcome::Outcome;
use crate::window::Window;

/// Names that one folder may have for us, since they are sorted in memory.
const NAMES: usize = 200_000;

/// A regular file, opened.
#[derive(Debug)]
pub struct FoundFile {
    /// Its path on the host, without links.
    pub path: PathBuf,
    /// The link that led to it.
    pub link: Option<PathBuf>,
    /// The file.
    pub file: File,
    /// What the system says of it.
    pub stat: Stat,
}

/// What a walk meets.
#[derive(Debug)]
pub enum Seen {
    /// A file.
    File(FoundFile),
    /// A file that was not opened, since sizes are all that is wanted.
    Sized {
        /// Its path on the host, without links.
        path: PathBuf,
        /// What the system says of it.
        stat: Stat,
    },
    /// Something that is wanted and is no file for us.
    Missed {
        /// Its path on the host.
        path: PathBuf,
        /// Skipped, or failed.
        outcome: Outcome,
        /// Why.
        reason: String,
    },
}

/// Which files were already met in one collection, so that each is read once.
#[derive(Debug, Default)]
pub struct Met {
    /// Device and inode, and a hash of the path under which it was met.
    files: HashMap<(u64, u64), u64>,
}

/// What all walks of one collection have in common.
pub struct Ground<'a> {
    /// The host.
    pub host: &'a Host,
    /// Its mounts.
    pub mounts: &'a Mounts,
    /// Asked between two names.
    pub stop: &'a CancellationToken,
    /// What is never opened, as the agent's process sees it.
    pub never: &'a [PathBuf],
    /// Bytes of a file at most, where its block does not say.
    pub file_bytes: u64,
    /// The time that logs are taken from, by this node's clock.
    pub window: Window,
}

/// A folder that can be asked about its names, and those of them that mean anything.
type Listed = (Option<OwnedFd>, Vec<(OsString, Step)>);

/// A walk over one block of files.
pub struct Walk<'a> {
    ground: &'a Ground<'a>,
    files: &'a Files,
    met: &'a mut Met,
    visit: &'a mut dyn FnMut(Seen) -> ControlFlow<()>,
    /// Whether files are opened, rather than only looked at.
    opens: bool,
    /// Declared roots without links.
    roots: Vec<PathBuf>,
    entered: HashSet<u64>,
    /// What was shown as missed: a folder that is entered in several ways has each fact once.
    told: HashSet<u64>,
    matched: bool,
}

impl<'a> Walk<'a> {
    /// Walks a block and shows what it meets; the value is whether anything matched.
    pub fn over(
        collector: &Collector,
        files: &'a Files,
        ground: &'a Ground<'a>,
        met: &'a mut Met,
        visit: &'a mut dyn FnMut(Seen) -> ControlFlow<()>,
    ) -> ControlFlow<(), bool> {
        Self::new(files, ground, met, visit, true).begin(collector)
    }

    /// As [`Walk::over`], but opens nothing but folders, and stays away from mounts that may hang: files are [`Seen::Sized`].
    pub fn sizes(
        collector: &Collector,
        files: &'a Files,
        ground: &'a Ground<'a>,
        met: &'a mut Met,
        visit: &'a mut dyn FnMut(Seen) -> ControlFlow<()>,
    ) -> ControlFlow<(), bool> {
        Self::new(files, ground, met, visit, false).begin(collector)
    }

    fn new(
        files: &'a Files,
        ground: &'a Ground<'a>,
        met: &'a mut Met,
        visit: &'a mut dyn FnMut(Seen) -> ControlFlow<()>,
        opens: bool,
    ) -> Self {
        Self {
            ground,
            files,
            met,
            visit,
            opens,
            roots: Vec::new(),
            entered: HashSet::new(),
            told: HashSet::new(),
            matched: false,
        }
    }

    fn begin(self, collector: &Collector) -> ControlFlow<(), bool> {
        let mut walk = self;
        let mut starts = Vec::new();
        let mut declared: Vec<&Path> = collector.roots_of(walk.files).collect();
        declared.sort_unstable();
        declared.dedup();
        for root in declared {
            match walk.resolve(root) {
                Ok(real) => {
                    walk.roots.push(real.clone());
                    starts.push((root, real));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => walk.missed(root, &error)?,
            }
        }
        for (root, real) in starts {
            walk.root(root, &real)?;
        }
        ControlFlow::Continue(walk.matched)
    }

    /// Goes down from a root, with the globs brought as far as the root's own path.
    fn root(&mut self, root: &Path, real: &Path) -> ControlFlow<()> {
        let mut step = Step { file: false, below: glob::start(&self.files.paths) };
        for name in names(root) {
            step = self.step(&step.below, name);
        }
        if !step.file && step.below.is_empty() {
            return ControlFlow::Continue(());
        }
        match self.stat(real) {
            Ok(stat) => self.typed(real, None, &stat, &step),
            Err(error) => self.missed(real, &error),
        }
    }

    fn step(&self, states: &[Progress], name: &OsStr) -> Step {
        glob::step(&self.files.paths, states, name, self.files.rotated, self.files.depth)
    }

    /// Whether it is left out without a word, by rule.
    fn is_left_out(&self, path: &Path) -> bool {
        let own = self.ground.host.below(path);
        self.ground.never.iter().any(|never| own.starts_with(never))
            || self.files.exclude.iter().any(|exclude| exclude.covers(path))
    }

    fn folder(&mut self, path: &Path, states: &[Progress]) -> ControlFlow<()> {
        // A folder is entered once for each way the globs may go on below it: so links in a circle end.
        let mut key = DefaultHasher::new();
        (path, states).hash(&mut key);
        if !self.entered.insert(key.finish()) {
            return ControlFlow::Continue(());
        }
        if !self.opens && self.ground.mounts.may_hang(path) {
            return ControlFlow::Continue(());
        }
        let (folder, listed) = match self.list(path, states) {
            Ok(listed) => listed,
            Err(error) => return self.missed(path, &error),
        };
        if listed.len() >= NAMES {
            let reason = format!("holds more than {NAMES} names; the rest is left out");
            self.show(path, Outcome::Skipped, reason)?;
        }
        for (name, step) in listed {
            if self.ground.stop.is_cancelled() {
                return ControlFlow::Break(());
            }
            self.entry(folder.as_ref(), &path.join(name), &step)?;
        }
        ControlFlow::Continue(())
    }

    /// The names in a folder that mean anything to the globs, sorted; and the folder, where looking into it cannot hang.
    fn list(&self, path: &Path, states: &[Progress]) -> io::Result<Listed> {
        let (mut listed, mut opened) = (Vec::new(), None);
        let mut take = |name: &OsStr| {
            let step = self.step(states, name);
            if (step.file || !step.below.is_empty()) && listed.len() < NAMES {
                listed.push((name.to_owned(), step));
            }
        };
        if self.ground.mounts.may_hang(path) {
            let (host, folder) = (self.ground.host.clone(), path.to_owned());
            let read = move || {
                let mut names = Vec::new();
                each_name(&host, &folder, &mut |name| names.push(name.to_owned())).map(|_| names)
            };
            let names: Vec<OsString> = self.ground.mounts.patiently(path, read)?;
            names.iter().for_each(|name| take(name));
        } else {
            opened = Some(each_name(self.ground.host, path, &mut take)?);
        }
        listed.sort_unstable_by(|a: &(OsString, Step), b| a.0.cmp(&b.0));
        Ok((opened, listed))
    }

    fn entry(&mut self, folder: Option<&OwnedFd>, path: &Path, step: &Step) -> ControlFlow<()> {
        if self.is_left_out(path) {
            return ControlFlow::Continue(());
        }
        if let Some(reason) = self.ground.mounts.bar(path) {
            return self.show(path, Outcome::Skipped, reason);
        }
        let looked = match (folder, path.file_name()) {
            // The folder was opened without a link on the way, and one name in it is no way at all.
            (Some(folder), Some(name)) if !self.ground.mounts.may_hang(path) => {
                rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT).map_err(Into::into)
            }
            _ => self.stat(path),
        };
        match looked {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => self.link(path, step),
            Ok(stat) => self.typed(path, None, &stat, step),
            Err(error) => self.missed(path, &error),
        }
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let (host, place) = (self.ground.host.clone(), path.to_owned());
        self.ground.mounts.patiently(path, move || {
            let place = host.open_plain(&place, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC)?;
            Ok(rustix::fs::statat(&place, "", AtFlags::EMPTY_PATH)?)
        })
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mounts = self.ground.mounts;
        let touch = |path: &Path, work: Touch| mounts.patiently(path, work);
        self.ground.host.resolve_by(path, &|path| mounts.bar(path), &touch)
    }

    fn open(&self, path: &Path) -> io::Result<(File, Stat)> {
        let (host, place) = (self.ground.host.clone(), path.to_owned());
        self.ground.mounts.patiently(path, move || {
            let file = host.open_plain(&place, READ)?;
            let stat = rustix::fs::fstat(&file)?;
            Ok((File::from(file), stat))
        })
    }

    /// Goes on with a path of known type that is no link.
    fn typed(&mut self, path: &Path, link: Option<&Path>, stat: &Stat, step: &Step) -> ControlFlow<()> {
        let what = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if step.below.is_empty() => return ControlFlow::Continue(()),
            FileType::Directory => return self.folder(path, &step.below),
            _ if !step.file => return ControlFlow::Continue(()),
            FileType::RegularFile if self.opens => return self.file(path, link),
            FileType::RegularFile => return self.sized(path, stat),
            FileType::Fifo => "a FIFO",
            FileType::Socket => "a socket",
            FileType::CharacterDevice | FileType::BlockDevice => "a device",
            _ => "no regular file",
        };
        self.show(path, Outcome::Skipped, format!("is {what}, which is never opened"))
    }

    /// Resolves a link and goes on with its target, if that lies below a declared root.
    fn link(&mut self, link: &Path, step: &Step) -> ControlFlow<()> {
        let target = match self.resolve(link) {
            Ok(target) => target,
            Err(_) if !step.file => return ControlFlow::Continue(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.show(link, Outcome::Skipped, "is a link to nothing".to_owned());
            }
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                return self.show(link, Outcome::Skipped, "is a link in a circle".to_owned());
            }
            Err(error) if error.raw_os_error().is_none() => {
                return self.show(link, Outcome::Skipped, format!("is a link to a {error}"));
            }
            Err(error) => return self.missed(link, &error),
        };
        let stat = match self.stat(&target) {
            Ok(stat) => stat,
            Err(error) => return self.missed(link, &error),
        };
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if (is_folder && step.below.is_empty()) || (!is_folder && !step.file) {
            return ControlFlow::Continue(());
        }
        if !self.roots.iter().any(|root| target.starts_with(root)) {
            let reason = format!("is a link to {}, outside of the declared roots", target.display());
            return self.show(link, Outcome::Skipped, reason);
        }
        if self.is_left_out(&target) {
            return ControlFlow::Continue(());
        }
        self.typed(&target, Some(link), &stat, step)
    }

    /// Shows a file that is not opened, if it was not met before.
    fn sized(&mut self, path: &Path, stat: &Stat) -> ControlFlow<()> {
        self.matched = true;
        if self.met.files.insert((stat.st_dev, stat.st_ino), 1).is_some() {
            return ControlFlow::Continue(());
        }
        (self.visit)(Seen::Sized { path: path.to_owned(), stat: *stat })
    }

    fn file(&mut self, path: &Path, link: Option<&Path>) -> ControlFlow<()> {
        let (file, stat) = match self.open(path) {
            Ok(found) => found,
            Err(error) => return self.missed(path, &error),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return self.show(path, Outcome::Skipped, "was replaced by what is no regular file".to_owned());
        }
        let mut hash = DefaultHasher::new();
        path.hash(&mut hash);
        let first = self.met.files.entry((stat.st_dev, stat.st_ino)).or_insert(0);
        let hash = hash.finish() | 1;
        match *first {
            0 => *first = hash,
            same if same == hash => {
                self.matched = true;
                return match link {
                    Some(link) => {
                        let reason = format!("is a link to {}, which is collected there", path.display());
                        self.show(link, Outcome::Skipped, reason)
                    }
                    None => ControlFlow::Continue(()),
                };
            }
            _ => {
                let reason = "is the same file as one that is collected under another name".to_owned();
                return self.show(path, Outcome::Skipped, reason);
            }
        }
        if let Some(reason) = self.reads_as_nothing(path, &file, &stat) {
            return self.show(path, Outcome::Skipped, reason);
        }
        self.matched = true;
        let found = FoundFile { path: path.to_owned(), link: link.map(Path::to_owned), file, stat };
        (self.visit)(Seen::File(found))
    }

    /// Files that would give nothing but zeros, or that a unit's sandbox has put an empty file over.
    fn reads_as_nothing(&self, path: &Path, file: &File, stat: &Stat) -> Option<String> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size == 0 && stat.st_mode & 0o7777 == 0 {
            return Some("is masked: empty, with mode 0000".to_owned());
        }
        let most = self.files.max_bytes.unwrap_or(self.ground.file_bytes);
        let on_disk = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
        let has_hole = || rustix::fs::seek(file, SeekFrom::Hole(0)).is_ok_and(|first| first < size);
        (size > most && on_disk <= most && !self.ground.mounts.may_hang(path) && has_hole())
            .then(|| format!("is a hole: {size} bytes, of which {on_disk} are on disk; the limit is {most}"))
    }

    /// An error becomes an outcome: absent is skipped, all else failed.
    fn missed(&mut self, path: &Path, error: &io::Error) -> ControlFlow<()> {
        let (outcome, reason) = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::STALE) => (Outcome::Skipped, "vanished while it was looked at".to_owned()),
            Some(Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => {
                (Outcome::Skipped, "was replaced while it was looked at".to_owned())
            }
            None => (Outcome::Skipped, error.to_string()),
            Some(errno) => (Outcome::Failed, said(errno)),
        };
        self.show(path, outcome, reason)
    }

    fn show(&mut self, path: &Path, outcome: Outcome, reason: String) -> ControlFlow<()> {
        self.matched = true;
        let mut fact = DefaultHasher::new();
        (path, &reason).hash(&mut fact);
        if !self.told.insert(fact.finish()) {
            return ControlFlow::Continue(());
        }
        (self.visit)(Seen::Missed { path: path.to_owned(), outcome, reason })
    }
}

/// The system's own words for an error, without its number.
fn said(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Shows the names in a folder; the folder itself comes back open.
fn each_name(host: &Host, path: &Path, take: &mut dyn FnMut(&OsStr)) -> io::Result<OwnedFd> {
    let mut folder = rustix::fs::Dir::new(host.open_plain(path, READ | OFlags::DIRECTORY)?)?;
    while let Some(entry) = folder.read() {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            take(name);
        }
    }
    folder.fd()?.try_clone_to_owned()
}

fn names(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.as_os_str().as_bytes().split(|b| *b == b'/').filter(|part| !part.is_empty()).map(OsStr::from_bytes)
}
