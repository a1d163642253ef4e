//! Names and numbers that identify things, checked where they enter.
//!
//! A value of these types was parsed once and is safe as a file name, in a log and in a path of the bundle.
//! Nothing here looks anything up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must match [A-Za-z0-9][A-Za-z0-9._-]{{0,62}}")]
pub struct NameError {
    what: &'static str,
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                if is_name(text) { Ok(Self(text.to_owned())) } else { Err(NameError { what: $what }) }
            }
        }
        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A node's name, which is also its agent secret's name.
    NodeName, "a node's name"
}
name! {
    /// A cluster's name, as people type it.
    ClusterName, "a cluster's name"
}
name! {
    /// A fleet's name, as people type it.
    FleetName, "a fleet's name"
}
name! {
    /// A deployment's name.
    DeploymentName, "a deployment's name"
}
name! {
    /// A collector's name.
    CollectorName, "a collector's name"
}
name! {
    /// The name of one of a collector's commands, which its output has too.
    CommandName, "a command's name"
}
name! {
    /// The name of one of a collector's requests, which the answer has too.
    RequestName, "a request's name"
}
name! {
    /// The name of one of a collector's exports of the journal.
    ExportName, "an export's name"
}

/// Text that is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a UUID.
    #[error("an id is a UUID, such as 92753c83-476a-4a04-b1fe-1043d2bfd83b, as lists show it")]
    Uuid,
    /// Not a number.
    #[error("a task is known by its number, as lists of tasks show it")]
    Number,
}

macro_rules! uuid {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub Uuid);

        impl $type {
            /// A new random id.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl FromStr for $type {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                text.parse().map(Self).map_err(|_| IdError::Uuid)
            }
        }
    };
}

uuid! {
    /// A cluster's id.
    ClusterId
}
uuid! {
    /// A fleet's id.
    FleetId
}
uuid! {
    /// A kept bundle's id.
    BundleId
}

/// A task's number, counted from 1 for the life of the coordinator's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl FromStr for TaskId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self).map_err(|_| IdError::Number)
    }
}

/// The name of a bundle and of its only top-level folder: `sheaf_<cluster>_<UTC basic time>_<short id>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BundleName(String);

impl BundleName {
    /// A new name for a bundle of `cluster` (a cluster's or a node's name) made at `ms`.
    pub fn new(cluster: &str, ms: i64) -> Self {
        let short = Uuid::new_v4().simple().to_string();
        Self(format!("sheaf_{cluster}_{}_{}", crate::clock::basic(ms), &short[..8]))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl TryFrom<String> for BundleName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        let safe = text.len() <= 128
            && text.starts_with("sheaf_")
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if safe { Ok(Self(text)) } else { Err(NameError { what: "a bundle's name" }) }
    }
}
impl From<BundleName> for String {
    fn from(name: BundleName) -> String {
        name.0
    }
}
impl fmt::Display for BundleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_on_entry() {
        for good in ["a", "node-1.example.org", "N_1", &"x".repeat(63)] {
            assert!(good.parse::<NodeName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", "a/b", "a b", "a\n", "é", &"x".repeat(64)] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad:?}");
        }
        assert!(serde_json::from_str::<NodeName>("\"../x\"").is_err());
    }

    #[test]
    fn a_bundle_name_has_no_colon() {
        let name = BundleName::new("default", 0);
        assert!(name.as_str().starts_with("sheaf_default_19700101T000000Z_"), "{name}");
        assert!(BundleName::try_from("sheaf_../x".to_owned()).is_err());
    }
}
