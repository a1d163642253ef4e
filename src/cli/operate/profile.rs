//! The login profile: where the coordinator is and the session that `sheaf login` opened.
//!
//! One file, `$XDG_CONFIG_HOME/sheaf/login.json` (or `~/.config/…`), mode 0600 in a folder of mode 0700. It holds a session's
//! token, never a password, and the CA's certificate itself, so that it goes on working when the file it came from moves.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::state;

/// What a login leaves for the commands after it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Profile {
    /// The coordinator's URL.
    pub url: String,
    /// The CA's certificate, PEM; the system's roots when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The user's name.
    pub user: String,
    /// The session's token.
    pub token: String,
}

impl Profile {
    /// Reads the profile; `None` when nobody logged in.
    ///
    /// # Errors
    /// When it cannot be read, others may read it, or it is no profile.
    pub fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let mode = fs::metadata(path)?.permissions().mode();
        if mode & 0o077 != 0 {
            bail!("{} can be read by others; run: chmod 600 {}", path.display(), path.display());
        }
        let profile = serde_json::from_str(&text)
            .with_context(|| format!("{} is no login profile; run `sheaf login` again", path.display()))?;
        Ok(Some(profile))
    }

    /// Writes it, atomically.
    ///
    /// # Errors
    /// When the folder or the file cannot be made.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .with_context(|| format!("making {}", folder.display()))?;
        }
        let text = serde_json::to_vec_pretty(self)?;
        state::write(path, &text, 0o600).with_context(|| format!("writing {}", path.display()))
    }
}

/// Where the profile stands.
///
/// # Errors
/// When neither `XDG_CONFIG_HOME` nor `HOME` says where.
pub fn path() -> anyhow::Result<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .context("neither XDG_CONFIG_HOME nor HOME is set: there is no place for a login profile")?;
    Ok(config.join("sheaf").join("login.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_private_and_comes_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("sheaf/login.json");
        assert!(Profile::read(&path).expect("absent is fine").is_none());
        let profile = Profile { url: "https://c:25555".into(), ca: None, user: "u".into(), token: "t".into() };
        profile.write(&path).expect("written");
        assert_eq!(fs::metadata(&path).expect("stat").permissions().mode() & 0o777, 0o600);
        assert_eq!(Profile::read(&path).expect("read").expect("there").token, "t");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(Profile::read(&path).is_err());
    }
}
