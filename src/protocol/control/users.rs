//! Who may enter: sessions, users, their passwords and access keys, and the audit of what they did.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Answer to a log-in.
#[derive(Clone, Serialize, Deserialize)]
pub struct SessionGrant {
    /// Goes into `Authorization: Bearer`.
    pub token: String,
    /// The user's name.
    pub user: String,
    /// The user's role.
    pub role: String,
    /// Seconds it stays good without being used.
    pub idle_secs: u64,
}

/// By hand, since the token must not print.
impl fmt::Debug for SessionGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionGrant").field("user", &self.user).field("role", &self.role).finish_non_exhaustive()
    }
}

/// Who the caller is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whoami {
    /// The user's name.
    pub user: String,
    /// The user's role.
    pub role: String,
}

/// Body of a user's creation.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewUser {
    /// Its name, unique.
    pub name: String,
    /// The password.
    pub password: String,
    /// `admin`, `operator` or `viewer`.
    pub role: String,
    /// Limited to these; everything when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<UserScope>,
}

/// By hand, since the password must not print.
impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// What a user is limited to: ids or names, in answers ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserScope {
    /// Fleets, with all clusters that are in them at the time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fleets: Vec<String>,
    /// Clusters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
}

/// Body of a user's change; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserChange {
    /// `admin`, `operator` or `viewer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Limited to these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<UserScope>,
    /// Limited to nothing any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlimited: bool,
    /// All credentials refused, or good again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// Body of a change of password.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewPassword {
    /// The new one.
    pub password: String,
    /// The one until now, when it is one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// Whether access keys and certificates end too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoke_keys: bool,
}

/// By hand, since nothing of it may print.
impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPassword")
    }
}

/// A user in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name, which is the id as well.
    pub id: String,
    /// The name.
    pub name: String,
    /// `admin`, `operator` or `viewer`.
    pub role: String,
    /// Whether all credentials are refused.
    #[serde(default)]
    pub disabled: bool,
    /// What it is limited to; absent for everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<UserScope>,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: String,
}

/// An access key in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// The access key (AK).
    pub id: String,
    /// The same, or what it is called.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: String,
    /// RFC 3339: a signature of it was last accepted, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
}

/// Body of an access key's creation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAccessKey {
    /// What it is called; its id when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// An access key as it is created: the only time that the secret key is shown.
#[derive(Clone, Serialize, Deserialize)]
pub struct AccessKeyGrant {
    /// The access key (AK).
    pub id: String,
    /// The same, or what it is called.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// The secret key (SK).
    pub secret: String,
}

/// By hand, since the secret key must not print.
impl fmt::Debug for AccessKeyGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKeyGrant").field("id", &self.id).field("user", &self.user).finish_non_exhaustive()
    }
}

/// A record of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// RFC 3339.
    pub time: String,
    /// A user, `node:` and a node's name, or nothing for a stranger.
    #[serde(default)]
    pub who: String,
    /// By which credential.
    #[serde(default)]
    pub door: String,
    /// From which address, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What was asked for, a noun and a verb: `cluster.create`.
    pub what: String,
    /// To what it was to be done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// `done`, `refused` or `failed`.
    pub outcome: String,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// How many of strangers' failures were not written since the last that was, because there were too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unwritten: u64,
}

/// A part of the audit log, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// The records; there may be none although there are more pages.
    pub records: Vec<AuditRecord>,
    /// What to give as `after` for the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
