//! Tar entries as our writer makes them, and the check of those that come from elsewhere.

use crate::bundle::path::EntryPath;

/// What stands before an entry's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryHead {
    /// The whole path in the archive, the bundle's folder included.
    pub path: EntryPath,
    /// Bytes of content, before padding to 512.
    pub size: u64,
    /// 0600, 0644, 0700 or 0755.
    pub mode: u32,
    /// Nanoseconds since 1970; written to the microsecond at most.
    pub mtime_ns: i128,
}
