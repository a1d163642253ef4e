//! Small durable files, written so that a crash leaves the old or the new one and never a half.
//!
//! Data comes from whoever owns the file and goes to a temporary sibling, then by rename to its name. It never reads a
//! whole large file and never follows what it writes through a link.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Writes `content` to `path` with `mode`, atomically and durably: temporary file, fsync, rename, fsync of the folder.
///
/// # Errors
/// Any error of the file system; the file at `path` is then as it was.
pub fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?;
    let mut temporary = name.to_owned();
    temporary.push(format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
    let temporary = folder.join(temporary);
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, path)) {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(folder)?.sync_all()
}

/// Makes a folder for state that only its owner may enter, and what is missing above it. One that is there already stays as it is.
///
/// # Errors
/// When it cannot be made, or something else has its name.
pub fn folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn replaces_whole_and_keeps_the_mode() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("secret");
        write(&path, b"one", 0o600).expect("first");
        write(&path, b"two", 0o600).expect("second");
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(fs::metadata(&path).expect("stat").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("list").count(), 1);
    }

    #[test]
    fn a_folder_is_its_owners_alone() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let path = parent.path().join("below/state");
        folder(&path).expect("made");
        folder(&path).expect("there already");
        assert_eq!(fs::metadata(&path).expect("stat").permissions().mode() & 0o777, 0o700);
        fs::write(parent.path().join("file"), b"").expect("a file");
        assert!(folder(&parent.path().join("file")).is_err(), "a file in the way");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x");
        fs::create_dir(&path).expect("a folder in the way");
        assert!(write(&path, b"one", 0o600).is_err());
        assert_eq!(fs::read_dir(folder.path()).expect("list").count(), 1);
    }
}
