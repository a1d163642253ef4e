//! How full the local disks are.
//!
//! The table of mounts comes from the kernel, each disk is asked with a time limit, one that hangs is not asked again before it answers,
//! and network file systems are never asked. It keeps nothing.

use std::path::Path;

use super::mounts::{self, Mount};
use super::patience::Patient;
use super::vitals::percent;
use crate::agent::host::Host;
use crate::protocol::agents::{Disk, Share};
use crate::report;

/// Disks that are asked.
const DISKS: usize = 64;
/// File systems that lie on a disk, or on top of one.
const ON_DISK: &[&str] =
    &["bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "reiserfs", "vfat", "xfs", "zfs"];

/// The local disks below the host's root. It blocks where one of them does, as long as `patient` waits.
pub(super) fn read(host: &Host, patient: Patient) -> Vec<Disk> {
    look(host, patient).into_iter().map(|(disk, _)| disk).collect()
}

/// The same, each with the KiB that others than root may still write.
pub(super) fn look(host: &Host, patient: Patient) -> Vec<(Disk, u64)> {
    let root = host.below(Path::new("/"));
    let mut devices: Vec<String> = Vec::new();
    let mut disks = Vec::new();
    for mount in mounts::table() {
        let Ok(below) = mount.point.strip_prefix(&root) else { continue };
        if !ON_DISK.contains(&mount.kind.as_str()) || disks.len() >= DISKS || devices.contains(&mount.device) {
            continue;
        }
        let shown = format!("/{}", below.to_string_lossy());
        if let Some(disk) = disk(&mount, &shown, patient) {
            // Bind mounts show the same disk again; overlays all call their device the same.
            devices.extend((mount.kind != "overlay").then_some(mount.device));
            disks.push(disk);
        }
    }
    disks
}

fn disk(mount: &Mount, shown: &str, patient: Patient) -> Option<(Disk, u64)> {
    let point = mount.point.clone();
    let found = patient.ask_about(&mount.point, move || rustix::fs::statvfs(&point)).ok()?.ok()?;
    let kb = |blocks: u64| blocks.saturating_mul(found.f_frsize) / 1024;
    if found.f_blocks == 0 {
        return None;
    }
    // What only root may use counts as used, as df has it.
    let used = kb(found.f_blocks.saturating_sub(found.f_bfree));
    let usable = used + kb(found.f_bavail);
    let space = Share { used_kb: used, total_kb: kb(found.f_blocks), percent: percent(used, usable) };
    let inode_percent = percent(found.f_files.saturating_sub(found.f_ffree), found.f_files);
    let disk = Disk { mount: report::brief(shown, 256), kind: mount.kind.clone(), space, inode_percent };
    Some((disk, kb(found.f_bavail)))
}
