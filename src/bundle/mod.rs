//! The bundle format: names, outcomes, manifest, segments; writing, reading and verifying.

pub mod assemble;
pub mod check;
pub mod entry;
#[cfg(test)]
mod fixture;
pub mod frame;
pub mod manifest;
pub mod names;
pub mod outcome;
pub mod path;
pub mod seal;
pub mod seek;
pub mod segment;
pub mod stream;
pub mod tape;
pub mod verify;

/// How the bytes of a bundle are laid out; the content is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Format {
    /// The plain tar.
    #[serde(rename = "tar")]
    Tar,
    /// Independent zstd frames with a seek table.
    #[serde(rename = "tar.zst")]
    TarZst,
}
