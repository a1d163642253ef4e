//! What is mounted where, so that a walk can leave out what is not local before it touches it.
//!
//! The table comes from `/proc/self/mountinfo`, which answers even when a mount hangs. Network and FUSE file systems are left out unless
//! the configuration says otherwise, and any other is asked once, with a time limit, before it is entered.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::patience::{Impatient, Patient};
use crate::agent::host::Host;

/// File systems that are served over a network or by a process, by the start of their names.
const REMOTE: &[&str] = &[
    "nfs", "cifs", "smb", "9p", "afs", "autofs", "beegfs", "ceph", "coda", "davfs", "fuse", "gfs", "gluster", "gpfs",
    "lustre", "ncp", "ocfs", "orangefs", "pvfs", "sshfs", "virtiofs", "vboxsf", "vmhgfs",
];
/// Of those, the ones that stand for local data.
const LOCAL: &[&str] = &["fuseblk", "fuse.lxcfs", "fusectl"];

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted, as the agent's process sees it.
    pub point: PathBuf,
    /// File system.
    pub kind: String,
    /// Device, or what stands for it.
    pub device: String,
}

impl Mount {
    /// Whether it is served over a network or by a process.
    pub fn is_remote(&self) -> bool {
        !LOCAL.contains(&self.kind.as_str()) && REMOTE.iter().any(|start| self.kind.starts_with(start))
    }
}

/// Reads the table of the agent's own process; empty where there is none.
pub fn table() -> Vec<Mount> {
    fs::read("/proc/self/mountinfo").map(|text| parse(&text)).unwrap_or_default()
}

fn parse(text: &[u8]) -> Vec<Mount> {
    let line = |line: &[u8]| {
        let mut fields = line.split(|b| *b == b' ');
        let point = unescape(fields.nth(4)?);
        let mut rest = fields.skip_while(|f| *f != b"-").skip(1);
        let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
        Some(Mount { point: OsString::from_vec(point).into(), kind: text(rest.next()?), device: text(rest.next()?) })
    };
    text.split(|b| *b == b'\n').filter_map(line).collect()
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut at = 0;
    while at < field.len() {
        let code = field.get(at + 1..at + 4).filter(|_| field[at] == b'\\');
        match code.and_then(|c| std::str::from_utf8(c).ok()).and_then(|c| u8::from_str_radix(c, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 4;
            }
            None => {
                plain.push(field[at]);
                at += 1;
            }
        }
    }
    plain
}

/// The mounts below a host's root, and what was found out about them.
#[derive(Debug)]
pub struct Mounts {
    /// By host path. The last mount at a point is the one on top.
    points: BTreeMap<PathBuf, Mount>,
    asked: std::cell::RefCell<BTreeMap<PathBuf, Option<String>>>,
    remote: bool,
    patient: Patient,
}

impl Mounts {
    /// The mounts below `host`; `remote` takes network file systems too, `wait` is each one's time to answer.
    pub fn of(host: &Host, remote: bool, wait: Duration) -> Self {
        Self::from_table(&host.below(Path::new("/")), table(), remote, Patient::with_mounts(wait))
    }

    fn from_table(root: &Path, table: Vec<Mount>, remote: bool, patient: Patient) -> Self {
        let inside = |mount: Mount| {
            let point = Path::new("/").join(mount.point.strip_prefix(root).ok()?);
            // The root itself was opened already; whatever it lies on, it answers.
            (point != Path::new("/")).then_some((point, mount))
        };
        let points = table.into_iter().filter_map(inside).collect();
        Self { points, asked: Default::default(), remote, patient }
    }

    /// Why nothing at or below `path` may be touched, if so: it lies on a mount that is remote, or one that does not answer.
    pub fn bar(&self, path: &Path) -> Option<String> {
        // Outermost first: asking an inner mount would walk through the outer one.
        let ancestors: Vec<&Path> = path.ancestors().collect();
        ancestors.into_iter().rev().find_map(|point| self.bar_at(point))
    }

    /// Whether `path` lies on a mount that is remote and read all the same; what touches it may hang at any time.
    pub fn may_hang(&self, path: &Path) -> bool {
        self.remote && path.ancestors().any(|point| self.points.get(point).is_some_and(Mount::is_remote))
    }

    /// Does something with `path` that may hang, on a thread that can be left behind; a mount that hung once is not touched again.
    ///
    /// # Errors
    /// What `work` says, and that nothing came in time.
    pub fn patiently<T, F>(&self, path: &Path, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> io::Result<T> + Send + 'static,
    {
        if !self.may_hang(path) {
            return work();
        }
        self.patient.ask(work).unwrap_or_else(|error| {
            let reason = format!("file system does not answer: {error}");
            if let Some(point) = path.ancestors().find(|point| self.points.contains_key(*point)) {
                self.asked.borrow_mut().insert(point.to_owned(), Some(reason.clone()));
            }
            Err(io::Error::other(reason))
        })
    }

    /// How what touches `path` has to be asked; `None` where it may be asked directly.
    pub fn patient(&self, path: &Path) -> Option<Patient> {
        self.may_hang(path).then_some(self.patient)
    }

    fn bar_at(&self, point: &Path) -> Option<String> {
        let mount = self.points.get(point)?;
        if let Some(known) = self.asked.borrow().get(point) {
            return known.clone();
        }
        let answer = self.ask(mount);
        self.asked.borrow_mut().insert(point.to_owned(), answer.clone());
        answer
    }

    fn ask(&self, mount: &Mount) -> Option<String> {
        if mount.is_remote() && !self.remote {
            return Some(format!("network or FUSE file system ({}), which the configuration leaves out", mount.kind));
        }
        let point = mount.point.clone();
        match self.patient.ask_about(&mount.point, move || rustix::fs::statfs(&point).map(|_| ())) {
            Ok(_) => None,
            Err(error @ (Impatient::Late(_) | Impatient::Full | Impatient::Hangs)) => {
                Some(format!("file system ({}) does not answer: {error}", mount.kind))
            }
            Err(error) => Some(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::patience::Patience;
    use super::*;

    const TABLE: &[u8] = b"22 1 0:20 / / rw - ext4 /dev/vda rw\n\
        23 22 0:21 / /srv/with\\040space rw,relatime shared:1 master:2 - nfs4 server:/x rw\n\
        24 22 0:22 / /proc rw - proc proc rw\n\
        garbage\n\
        25 22 0:23 / /var/lib/lxcfs rw - fuse.lxcfs lxcfs rw\n";

    #[test]
    fn the_kernels_table_is_read() {
        let mounts = parse(TABLE);
        assert_eq!(mounts.len(), 4);
        assert_eq!(mounts[1].point, Path::new("/srv/with space"));
        assert_eq!(mounts[1].device, "server:/x");
        assert_eq!(mounts.iter().map(Mount::is_remote).collect::<Vec<_>>(), [false, true, false, false]);
        assert!(!table().is_empty(), "this machine has mounts");
    }

    #[test]
    fn a_network_file_system_is_barred_without_being_touched() {
        // Neither path exists, so an answer can only come from the table.
        let mounts =
            Mounts::from_table(Path::new("/"), parse(TABLE), false, Patient::with_mounts(Duration::from_secs(5)));
        let reason = mounts.bar(Path::new("/srv/with space/log/x")).expect("barred");
        assert!(reason.contains("nfs4"), "{reason}");
        assert_eq!(mounts.bar(Path::new("/srv/other")), None);
        assert_eq!(mounts.bar(Path::new("/proc/meminfo")), None);
    }

    #[test]
    fn a_mount_that_hung_once_is_not_touched_again() {
        static PATIENCE: Patience = Patience::new();
        let patient = Patient::of(&PATIENCE, Duration::from_millis(20));
        let mounts = Mounts::from_table(Path::new("/"), parse(TABLE), true, patient);
        let (wake, hang) = std::sync::mpsc::channel::<()>();
        let path = Path::new("/srv/with space/x");
        assert!(mounts.may_hang(path) && !mounts.may_hang(Path::new("/proc/x")));
        let hung = mounts.patiently(path, move || hang.recv().map_err(io::Error::other));
        assert!(hung.expect_err("late").to_string().contains("does not answer"));
        assert!(mounts.bar(path).is_some_and(|reason| reason.contains("does not answer")));
        drop(wake);
        assert_eq!(mounts.patiently(Path::new("/var"), || Ok(7)).ok(), Some(7), "local ones are asked directly");
    }

    #[test]
    fn mounts_are_seen_from_another_root() {
        let table = b"23 22 0:21 / /host/srv rw - nfs server:/x rw\n24 22 0:21 / /host rw - nfs server:/ rw\n";
        let mounts =
            Mounts::from_table(Path::new("/host"), parse(table), false, Patient::with_mounts(Duration::from_secs(5)));
        assert!(mounts.bar(Path::new("/srv/x")).is_some());
        assert_eq!(mounts.bar(Path::new("/var")), None, "the root itself is never barred");
    }
}
