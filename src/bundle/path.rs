//! Paths inside a bundle: the only way to name an entry.
//!
//! They come from host paths (bytes of any kind) or from archives (hostile text), and go into tar headers and manifests.
//! Nothing here touches a file system.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::{COMPONENT_BYTES, PATH_BYTES};

mod host;

/// Why a text is no path of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing there.
    #[error("path is empty")]
    Empty,
    /// Longer than the limit, whole or in one component.
    #[error("path is too long")]
    TooLong,
    /// Starts with `/`.
    #[error("path is absolute")]
    Absolute,
    /// `.`, `..`, an empty component or a trailing slash.
    #[error("path has a component that is empty, `.` or `..`")]
    Component,
    /// Control characters, backslash or characters that are not UTF-8.
    #[error("path has a character that is not allowed")]
    Character,
}

/// A relative path of checked components: no `..`, no empty ones, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryPath(String);

impl EntryPath {
    /// Reads a path.
    ///
    /// # Errors
    /// For anything that could leave the folder it is extracted into, or that a file system would refuse.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.len() > PATH_BYTES {
            return Err(PathError::TooLong);
        }
        if text.starts_with('/') {
            return Err(PathError::Absolute);
        }
        for component in text.split('/') {
            if matches!(component, "" | "." | "..") {
                return Err(PathError::Component);
            }
            if component.len() > COMPONENT_BYTES {
                return Err(PathError::TooLong);
            }
        }
        if text.chars().any(|c| c.is_control() || c == '\\') {
            return Err(PathError::Character);
        }
        Ok(Self(text.to_owned()))
    }

    /// The path below `prefix` for a name on a host, which may be any bytes; with it, where it differs, the host's name with
    /// every byte that is no plain character percent-encoded, so that nothing of it is lost.
    ///
    /// A name that can stand as it is does; otherwise the bytes that cannot are percent-encoded, components that are too long are
    /// shortened, and folders are left out of a path that is too long, with a hash of the whole name in their place. Different
    /// names can meet in one path (`a%0A` and `a` with a line feed); whoever packs them tells them apart.
    ///
    /// # Panics
    /// When `prefix` is no path of a bundle, or longer than 64 bytes: it comes from our own code.
    pub fn from_host(prefix: &str, name: &[u8]) -> (Self, Option<String>) {
        assert!(prefix.len() <= 64, "a prefix is short");
        let mut path = prefix.to_owned();
        for component in name.split(|b| *b == b'/').filter(|c| !c.is_empty() && *c != b".") {
            path.push('/');
            path.push_str(&host::component(component));
        }
        if path.len() == prefix.len() {
            path.push_str("/_");
        }
        if path.len() > host::BYTES {
            path = host::shorten(prefix, &path, name);
        }
        let plain = path.as_bytes()[prefix.len()..] == *name
            || path.as_bytes()[prefix.len() + 1..] == *name.strip_suffix(b"/").unwrap_or(name);
        let path = Self::parse(&path).expect("host names are made to fit");
        (path, (!plain).then(|| host::encode(name)))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This path with `rest` below it.
    ///
    /// # Errors
    /// As [`EntryPath::parse`].
    pub fn join(&self, rest: &str) -> Result<Self, PathError> {
        Self::parse(&format!("{}/{rest}", self.0))
    }
}
impl TryFrom<String> for EntryPath {
    type Error = PathError;
    fn try_from(text: String) -> Result<Self, PathError> {
        Self::parse(&text)
    }
}
impl From<EntryPath> for String {
    fn from(path: EntryPath) -> String {
        path.0
    }
}
impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
