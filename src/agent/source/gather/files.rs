//! Files, as a part of a collection: each judged by its window, cut to what it may be, and handed on.
//!
//! Opened files come from a walk; records go out, and notes on what gives none. Nothing here opens a path.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::Stat;

use super::{Gather, skipped};
use crate::agent::source::budget;
use crate::agent::source::collector::{self, Collector};
use crate::agent::source::command::Ending;
use crate::agent::source::ends::Most;
use crate::agent::source::file::{Extent, FileContent};
use crate::agent::source::mounts::Mounts;
use crate::agent::source::patience::Patient;
use crate::agent::source::slice::{self, Lens, Outside, Sliced};
use crate::agent::source::walk::{FoundFile, Met, Seen, Walk};
use crate::agent::source::{Kind, Record, kind};
use crate::bundle::outcome::{CutBy, Outcome};
use crate::bundle::path::EntryPath;
use crate::bundle::segment::Note;
use crate::report;

/// Characters of a reason.
const REASON: usize = 400;
/// What redaction withholds: it costs a note, whatever its size is.
const WITHHELD: Kind = Kind::Binary { declared: false };
/// Bytes that a file with holes may give in any case.
const HOLED: u64 = 64 << 10;
/// Bytes below which a file is not cut but left out.
const PARTS: u64 = 4096;

impl<'a> Gather<'a> {
    /// Reads those blocks of files that are `meant`.
    pub(super) fn files(
        &mut self,
        collector: &Collector,
        mounts: &'a Mounts,
        met: &mut Met,
        meant: &dyn Fn(&collector::Files) -> bool,
    ) -> ControlFlow<()> {
        let ground = self.ground(mounts);
        for files in collector.files.iter().filter(|files| meant(files)) {
            let mut outside = Outside::default();
            let mut visit = |seen| match seen {
                Seen::File(found) if !self.plan.wants(collector.name.as_str(), &found.path) => {
                    ControlFlow::Continue(())
                }
                Seen::File(found) => {
                    let patient = mounts.patient(&found.path);
                    self.file(collector, files, found, patient, &mut outside)
                }
                Seen::Sized { .. } => ControlFlow::Continue(()),
                Seen::Missed { path, outcome, reason } => self.missed(collector, &path, outcome, &reason),
            };
            let matched = Walk::over(collector, files, &ground, met, &mut visit)?;
            if !matched && let Some(first) = files.paths.first() {
                let path = format!("files{}", report::brief(&first.to_string(), REASON));
                self.missing(skipped(path, collector, "is not there".to_owned()))?;
            }
            if let Some(reason) = outside.reason() {
                self.missing(skipped(outside.path(), collector, reason))?;
            }
            if self.full {
                break;
            }
        }
        ControlFlow::Continue(())
    }

    fn file(
        &mut self,
        collector: &Collector,
        files: &collector::Files,
        found: FoundFile,
        patient: Option<Patient>,
        outside: &mut Outside,
    ) -> ControlFlow<()> {
        let logs = files.window.unwrap_or_else(|| slice::is_log(&found.path));
        let lens = self.lenses.as_ref().filter(|_| logs).map(|lenses| lenses.lens(mtime(&found.stat)));
        if lens.as_ref().is_some_and(Lens::is_before) {
            outside.add(&found.path, &found.stat);
            return ControlFlow::Continue(());
        }
        let most = files.max_bytes.unwrap_or(self.plan.bounds.file_bytes);
        let room = self.budget.room(&found.stat);
        // Asking what kind of file system it is may hang as well.
        let extent = match patient {
            Some(_) => Extent::Pinned(u64::try_from(found.stat.st_size).unwrap_or(0)),
            None => extent(&found.file, &found.stat),
        };
        let mut content = FileContent::new(found.file, extent, most).patiently(patient);
        let mut head = content.head(kind::HEAD);
        if head.as_ref().is_ok_and(|head| kind::is_zeros(head)) && content.skip_hole() {
            head = content.head(kind::HEAD);
        }
        let head = match head {
            Ok(head) => head,
            Err(error) => return self.missed(collector, &found.path, Outcome::Failed, &error.to_string()),
        };
        let kind = kind::detect(&head, found.path.file_name().unwrap_or_default().as_bytes(), files.binary);
        let on_disk = budget::holed(&found.stat).filter(|_| kind == Kind::Text && content.has_holes());
        let mut sliced = match slice::cut(content, kind, lens) {
            Ok(Some(sliced)) => sliced,
            Ok(None) => {
                outside.add(&found.path, &found.stat);
                return ControlFlow::Continue(());
            }
            Err(error) => return self.missed(collector, &found.path, Outcome::Failed, &error.to_string()),
        };
        let ending = match fit(&mut sliced, kind, &Bounds { most, on_disk, room, budget: self.budget.total }) {
            Ok(Fit::Sized) => None,
            Ok(Fit::Unsized(ending)) => Some(ending),
            Ok(Fit::Not(size)) if room < size.unwrap_or(most).min(most) => {
                let (entry, _) = EntryPath::from_host("files", found.path.as_os_str().as_bytes());
                return self.no_room(entry.to_string(), collector.name.as_str(), size);
            }
            Ok(Fit::Not(size)) => {
                let size = size.unwrap_or(most);
                let reason = format!("left out: {size} bytes that are of no use in parts; the limit is {most}");
                return self.missed(collector, &found.path, Outcome::Skipped, &reason);
            }
            Err(error) => return self.missed(collector, &found.path, Outcome::Failed, &error.to_string()),
        };
        let (path, original) = EntryPath::from_host("files", found.path.as_os_str().as_bytes());
        self.record(Record {
            path,
            collector: collector.name.to_string(),
            kind,
            mode: Some(found.stat.st_mode & 0o7777),
            mtime_ns: mtime(&found.stat),
            size_hint: if kind == WITHHELD { Some(0) } else { sliced.size_hint() },
            original,
            link: found.link.map(|link| shown(&link)),
            lens: sliced.lens.take(),
            content: sliced.boxed(),
        })?;
        if let Some(ending) = ending {
            self.budget.charge(ending.lock().unwrap_or_else(PoisonError::into_inner).bytes);
        }
        ControlFlow::Continue(())
    }

    fn missed(&mut self, collector: &Collector, path: &Path, outcome: Outcome, reason: &str) -> ControlFlow<()> {
        let bytes = path.as_os_str().as_bytes();
        let (entry, original) = EntryPath::from_host("files", bytes);
        let note = Note {
            path: entry.to_string(),
            collector: collector.name.to_string(),
            outcome,
            reason: report::brief(reason, REASON),
            original,
            ..Note::default()
        };
        if outcome != Outcome::Failed {
            return self.missing(note);
        }
        let (err, _) = EntryPath::from_host("files", &[bytes, b".err"].concat());
        self.failed(note, err)
    }
}

/// What a file's size is to what it may be.
enum Fit {
    /// It fits, or is cut so that it does.
    Sized,
    /// How much it is shows when it is read, and stands here then; it is cut on the way.
    Unsized(Arc<Mutex<Ending>>),
    /// It is too large, by its size where it has one, and of no use in parts.
    Not(Option<u64>),
}

/// What a file may be.
struct Bounds {
    /// By its collector.
    most: u64,
    /// What is on its disk of one that has holes: those are not worth their bytes.
    on_disk: Option<u64>,
    /// What is left of the collection's budget, and what that was.
    room: u64,
    budget: u64,
}

/// Cuts a file that is larger than it may be, in its middle, if it is any use in parts.
fn fit(sliced: &mut Sliced, kind: Kind, bounds: &Bounds) -> io::Result<Fit> {
    let Bounds { on_disk, room, budget, .. } = *bounds;
    let most = bounds.most.min(on_disk.map_or(u64::MAX, |bytes| bytes.max(HOLED)));
    let limit = most.min(room);
    let size = sliced.size();
    // What is withheld says so itself, and a head is all that can be had of what is no text and has no size.
    let withheld = kind == WITHHELD || (kind != Kind::Text && size.is_none());
    if withheld || size.is_some_and(|size| size <= limit) {
        return Ok(Fit::Sized);
    }
    if kind != Kind::Text || room.min(size.unwrap_or(most).min(most)) < PARTS {
        return Ok(Fit::Not(size));
    }
    let (by, why) = match room < most {
        true => (CutBy::Budget, format!("budget of {budget} bytes")),
        false if most < bounds.most => (CutBy::Limit, format!("{most} bytes of a file with holes")),
        false => (CutBy::Limit, format!("limit of {most} bytes a file")),
    };
    match size.filter(|_| !sliced.is_sifted()) {
        None => Ok(Fit::Unsized(sliced.keep_ends(Most { bytes: limit, by, why }))),
        Some(_) => sliced.content.cut_to(limit, (by, &why)).map(|()| Fit::Sized),
    }
}

fn shown(path: &Path) -> String {
    report::brief(&path.to_string_lossy(), REASON)
}

fn mtime(stat: &Stat) -> i128 {
    i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec)
}

/// Files of `/proc`, `/sys` and their like say that they are empty, or as large as a page, and give other bytes each time.
pub(in super::super) fn extent(file: &File, stat: &Stat) -> Extent {
    const MADE_UP: &[u64] = &[
        0x9fa0,      // proc
        0x6265_6572, // sysfs
        0x6265_6570, // configfs
        0x6462_6720, // debugfs
        0x7472_6163, // tracefs
        0x7363_6673, // securityfs
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
        0x6573_5546, // FUSE, where lxcfs stands over /proc
    ];
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let made_up = || rustix::fs::fstatfs(file).is_ok_and(|fs| MADE_UP.contains(&(fs.f_type as u64 & 0xffff_ffff)));
    if stat.st_blocks == 0 && made_up() { Extent::Stream } else { Extent::Pinned(size) }
}
