//! Files for what is handed out once: the place is taken before it is asked for, and only its owner may read it.

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use crate::cli::output;

/// Waits for `made` and writes it into a new file of mode 0600, or to standard output. A file that stays empty is removed again.
///
/// # Errors
/// When the file cannot be made or written, and those of `made`.
pub async fn deliver(
    file: Option<&Path>,
    what: &str,
    made: impl Future<Output = anyhow::Result<Value>>,
) -> anyhow::Result<()> {
    let file = file.filter(|path| *path != Path::new("-"));
    let place = file.map(new_file).transpose()?;
    let given = match made.await {
        Ok(given) => given,
        Err(error) => {
            file.map(std::fs::remove_file);
            return Err(error);
        }
    };
    let text = serde_json::to_string_pretty(&given)? + "\n";
    match (place, file) {
        (Some(mut opened), Some(path)) => {
            opened
                .write_all(text.as_bytes())
                .and_then(|()| opened.sync_all())
                .with_context(|| format!("writing {}; revoke what was handed out and ask anew", path.display()))?;
            output::say(&format!("{what} is in {}\n", path.display()))?;
        }
        _ => output::say(&text)?,
    }
    Ok(())
}

/// Makes a file that is not there yet and that only its owner may read.
///
/// # Errors
/// When it is there, or cannot be made.
pub fn new_file(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            anyhow::anyhow!("{} is there already; name another file, or remove it first", path.display())
        }
        _ => anyhow::Error::new(error).context(format!("cannot write {}", path.display())),
    })
}
