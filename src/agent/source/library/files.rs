//! Collector files on disk: which there are, who can have written them, what they hold.
//!
//! Folders come from the agent's configuration. A file goes out as its text or its collector, or as why it is not taken; nothing is taken from
//! a file that others than root and the agent's own user may write.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::agent::source::collector::Declared;

/// Bytes of a collector file at most.
pub(super) const FILE_BYTES: u64 = 256 << 10;
/// Files of one folder at most.
const FOLDER_FILES: usize = 1000;

/// A file's name without its end: the name of its collector.
pub(in crate::agent::source) fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The collector files of a folder, sorted; `others` gets what is no collector file.
pub(in crate::agent::source) fn list(folder: &Path, others: &mut dyn FnMut(PathBuf)) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)?.take(FOLDER_FILES) {
        let path = entry?.path();
        match path.extension() {
            Some(end) if end == "toml" => files.push(path),
            _ => others(path),
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Whether nobody but root and the agent's own user can have written it.
pub(in crate::agent::source) fn trusted(found: &fs::Metadata) -> Result<(), String> {
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != 0 && found.uid() != own {
        return Err(format!("belongs to user {}, not to root", found.uid()));
    }
    if found.mode() & 0o022 != 0 {
        return Err(format!("has mode {:04o}: others than its owner may write it", found.mode() & 0o7777));
    }
    Ok(())
}

/// The text of a collector file, if nobody but its owner can have written it.
pub(in crate::agent::source) fn text(path: &Path) -> Result<String, String> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file =
        File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path).map_err(|e| e.to_string())?;
    let found = file.metadata().map_err(|e| e.to_string())?;
    if !found.is_file() {
        return Err("is not a regular file".to_owned());
    }
    trusted(&found)?;
    let mut text = String::new();
    file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if text.len() as u64 > FILE_BYTES {
        return Err(format!("is larger than {FILE_BYTES} bytes"));
    }
    Ok(text)
}

/// The collector of a file.
pub(super) fn read(path: &Path) -> Result<Declared, String> {
    let collector = Declared::read(&text(path)?).map_err(|e| e.to_string())?;
    check_name(&collector, path)?;
    Ok(collector)
}

/// A collector stands in a file of its name, so that what replaces what can be seen in a list of files.
pub(in crate::agent::source) fn check_name(collector: &Declared, path: &Path) -> Result<(), String> {
    if collector.name.as_str() != stem(path) {
        return Err(format!("says that its name is `{}`; the file must be called {0}.toml", collector.name));
    }
    Ok(())
}
