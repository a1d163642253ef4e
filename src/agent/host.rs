//! The host that is read: `/`, or another root where a container or a fixture has it.
//!
//! Paths come in as the host sees them and are opened beneath the root, one component after the other, with no link
//! followed by the kernel: links are resolved here, inside the root, so that none leads out of it. It opens nothing for writing.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Links that one path may lead through, as the kernel counts them.
const LINKS: usize = 40;
/// Set once the kernel, or a filter before it, refuses openat2.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// The root that is read, held open; cheap to clone.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
    folder: Arc<OwnedFd>,
}

impl Host {
    /// Opens the root.
    ///
    /// # Errors
    /// When it is no folder that can be opened.
    pub fn open(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        let folder = rustix::fs::open(&root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { root, folder: Arc::new(folder) })
    }

    /// Whether this is the root that the agent itself lives in, so that its commands speak of this host.
    pub fn is_own(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where a host path stands for the agent's own process.
    pub fn below(&self, path: &Path) -> PathBuf {
        self.root.join(relative(path))
    }

    /// Opens a host path that must hold no link.
    ///
    /// # Errors
    /// `ELOOP` or `ENOTDIR` where a link stands, and any other error of the file system.
    pub fn open_plain(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        open_beneath(self.folder.as_fd(), &relative(path), flags)
    }

    /// The path without links, resolved inside the root. `bars` may refuse a path before it is touched.
    ///
    /// # Errors
    /// Any error of the file system, `ELOOP` for too many links, and what `bars` says.
    pub fn resolve(&self, path: &Path, bars: &dyn Fn(&Path) -> Option<String>) -> io::Result<PathBuf> {
        self.resolve_by(path, bars, &|_, work| work())
    }

    /// As [`Host::resolve`]; `touch` decides on which thread each component is looked at.
    ///
    /// # Errors
    /// As [`Host::resolve`], and what `touch` says.
    pub fn resolve_by(
        &self,
        path: &Path,
        bars: &dyn Fn(&Path) -> Option<String>,
        touch: &dyn Fn(&Path, Touch) -> io::Result<Option<OsString>>,
    ) -> io::Result<PathBuf> {
        let mut queue: VecDeque<OsString> = parts(path).map(OsStr::to_owned).collect();
        let mut done = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = queue.pop_front() {
            if part == ".." {
                done.pop();
                continue;
            }
            let next = done.join(&part);
            if let Some(reason) = bars(&next) {
                return Err(io::Error::other(reason));
            }
            let (host, place) = (self.clone(), next.clone());
            let Some(target) = touch(&next, Box::new(move || host.target(&place)))? else {
                done = next;
                continue;
            };
            links += 1;
            if links > LINKS {
                return Err(Errno::LOOP.into());
            }
            let target = Path::new(&target);
            if target.is_absolute() {
                done = PathBuf::from("/");
            }
            for part in parts(target).collect::<Vec<_>>().into_iter().rev() {
                queue.push_front(part.to_owned());
            }
        }
        Ok(done)
    }

    /// Where a link leads; `None` for what is no link.
    fn target(&self, path: &Path) -> io::Result<Option<OsString>> {
        let place = self.open_plain(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC)?;
        if FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode) != FileType::Symlink {
            return Ok(None);
        }
        Ok(Some(OsString::from_vec(rustix::fs::readlinkat(&place, "", Vec::new())?.into_bytes())))
    }

    /// Reads a small file, links resolved inside the root; at most `most` bytes of it.
    ///
    /// # Errors
    /// Any error of the file system, and anything but a regular file.
    pub fn read(&self, path: &str, most: u64) -> io::Result<Vec<u8>> {
        self.read_plain(&self.resolve(Path::new(path), &|_| None)?, most)
    }

    /// As [`Host::read`] for a path that must hold no link.
    ///
    /// # Errors
    /// As [`Host::read`], and `ELOOP` or `ENOTDIR` where a link stands.
    pub fn read_plain(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let file = File::from(self.open_plain(path, READ)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut content = Vec::new();
        file.take(most).read_to_end(&mut content)?;
        Ok(content)
    }

    /// As [`Host::read`] for one trimmed text; `None` when it cannot be read.
    pub fn text(&self, path: &str) -> Option<String> {
        let content = self.read(path, 1 << 20).ok()?;
        Some(String::from_utf8_lossy(&content).trim().to_owned())
    }
}

/// A look at one component of a path, which may be taken on another thread.
pub type Touch = Box<dyn FnOnce() -> io::Result<Option<OsString>> + Send>;

/// How files are opened: a FIFO does not block, a terminal does not become ours, a link fails.
pub const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOFOLLOW).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Opens `path` beneath `folder` with no link anywhere on the way: by openat2, else component by component.
///
/// # Errors
/// `ELOOP` or `ENOTDIR` where a link stands, `EXDEV` for a way out, and any other error of the file system.
pub fn open_beneath(folder: BorrowedFd<'_>, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if !NO_OPENAT2.load(Ordering::Relaxed) {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        match rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve) {
            // Old kernels say ENOSYS; container filters say EPERM, as a file may, so the slow way decides.
            Err(Errno::NOSYS) => NO_OPENAT2.store(true, Ordering::Relaxed),
            Err(Errno::PERM | Errno::AGAIN) => {}
            done => return done,
        }
    }
    open_by_component(folder, path, flags)
}

fn open_by_component(folder: BorrowedFd<'_>, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut parts = path.components().peekable();
    let mut held: Option<OwnedFd> = None;
    while let Some(part) = parts.next() {
        let name = match part {
            Component::Normal(name) => name,
            Component::CurDir => OsStr::new("."),
            _ => return Err(Errno::XDEV),
        };
        let from = held.as_ref().map_or(folder, |fd| fd.as_fd());
        if parts.peek().is_none() {
            return rustix::fs::openat(from, name, flags | OFlags::NOFOLLOW, Mode::empty());
        }
        held = Some(rustix::fs::openat(from, name, step, Mode::empty())?);
    }
    Err(Errno::NOENT)
}

/// A host path as one below the root's folder.
fn relative(path: &Path) -> PathBuf {
    parts(path).collect()
}

/// Components without `/` and `.`.
fn parts(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.as_os_str().as_bytes().split(|b| *b == b'/').filter(|p| !matches!(*p, b"" | b".")).map(OsStr::from_bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn fixture() -> (tempfile::TempDir, Host) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir_all(folder.path().join("host/etc/real")).expect("folders");
        fs::write(folder.path().join("host/etc/real/file"), "inside").expect("a file");
        fs::write(folder.path().join("outside"), "outside").expect("a file");
        let host = Host::open(&folder.path().join("host")).expect("opened");
        (folder, host)
    }

    #[test]
    fn links_are_resolved_inside_the_root() {
        let (folder, host) = fixture();
        symlink("/etc/real", folder.path().join("host/etc/absolute")).expect("a link");
        symlink("../../../../../../outside", folder.path().join("host/etc/out")).expect("a link");
        assert_eq!(host.text("/etc/absolute/file").as_deref(), Some("inside"));
        assert_eq!(host.text("/etc/absolute/../real/./file").as_deref(), Some("inside"));
        assert!(host.read("/etc/out", 10).is_err(), "`..` stops at the root");
        assert_eq!(
            host.below(Path::new("/etc/real")),
            folder.path().canonicalize().expect("path").join("host/etc/real")
        );
    }

    #[test]
    fn a_circle_of_links_ends() {
        let (folder, host) = fixture();
        symlink("b", folder.path().join("host/etc/a")).expect("a link");
        symlink("a", folder.path().join("host/etc/b")).expect("a link");
        let error = host.resolve(Path::new("/etc/a"), &|_| None).expect_err("a circle");
        assert_eq!(error.raw_os_error(), Some(Errno::LOOP.raw_os_error()));
    }

    #[test]
    fn both_ways_of_opening_refuse_links_and_ways_out() {
        let (folder, host) = fixture();
        symlink("real", folder.path().join("host/etc/link")).expect("a link");
        symlink("file", folder.path().join("host/etc/real/link")).expect("a link");
        for open in [open_beneath, open_by_component] {
            let open = |path: &str| open(host.folder.as_fd(), Path::new(path), READ);
            assert!(open("etc/real/file").is_ok());
            for bad in
                ["etc/link/file", "etc/real/link", "../outside", "etc/../../outside", "/etc/real/file", "etc/none"]
            {
                assert!(open(bad).is_err(), "{bad}");
            }
        }
    }

    #[test]
    fn a_bar_is_asked_before_the_path_is_touched() {
        let (_folder, host) = fixture();
        let bars = |path: &Path| (path == Path::new("/etc/real")).then(|| "barred".to_owned());
        assert_eq!(host.resolve(Path::new("/etc/real/file"), &bars).expect_err("barred").to_string(), "barred");
    }
}
