//! A mount that never answers: a FUSE file system whose server does nothing.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::{Fixture, plan, take};

const LOGS: &str = "roots = [\"/var/log\"]\n[[files]]\npaths = [\"/var/log/**/*.log\"]\n";

/// Mounts a FUSE file system that nobody serves; taken away when dropped.
struct Hung {
    point: PathBuf,
    _server: std::os::fd::OwnedFd,
}

impl Hung {
    fn at(point: &Path) -> Option<Self> {
        // Inherited by mount(8), which hands it to the kernel; so it must not be closed on exec.
        let server = rustix::fs::open("/dev/fuse", OFlags::RDWR, Mode::empty()).ok()?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        let mount = Command::new("mount").args(["-i", "-n", "-t", "fuse", "-o", &options, "hung"]).arg(point).output();
        mount.ok().filter(|done| done.status.success()).map(|_| Self { point: point.to_owned(), _server: server })
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.point).output();
    }
}

#[test]
fn a_mount_that_does_not_answer_is_left_out_and_the_rest_is_collected() {
    let fixture = Fixture::new();
    fixture.put("/var/log/a.log", "a");
    fixture.put("/var/log/z.log", "z");
    std::fs::create_dir(fixture.path("/var/log/hung")).expect("a folder");
    std::os::unix::fs::symlink("hung/x.log", fixture.path("/var/log/link.log")).expect("a link");
    let Some(_hung) = Hung::at(&fixture.path("/var/log/hung").canonicalize().expect("a path")) else {
        use rustix::thread::{CapabilitySet, capabilities};
        let may = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
        let required = std::env::var_os("SHEAF_TEST_REQUIRE_TOOLS").is_some_and(|value| value == "1");
        let why = "only root with /dev/fuse can mount a file system that hangs";
        assert!(!(required && may && Path::new("/dev/fuse").exists()), "required, and cannot be had: {why}");
        // Past what captures the output of tests that pass.
        let _ = writeln!(std::io::stderr(), "skipped: 1 check: {why}");
        return;
    };
    let mut plan = plan(LOGS);
    let taken = take(&fixture.host(), &plan, &mut |_| {});
    taken.skipped("files/var/log/hung", "FUSE file system");
    taken.skipped("files/var/log/link.log", "FUSE file system");
    plan.remote = true;
    plan.bounds.mount_wait = Duration::from_millis(50);
    let asked = take(&fixture.host(), &plan, &mut |_| {});
    asked.skipped("files/var/log/hung", "does not answer");
    for taken in [taken, asked] {
        assert_eq!(taken.order, ["files/var/log/a.log", "files/var/log/z.log"]);
    }
}
