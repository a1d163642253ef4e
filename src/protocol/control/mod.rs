//! The operators' conversation: the native API under `/sheaf/v1` on the public listener, which the CLI uses.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `POST session`, `Authorization: Basic` | | 201 [`SessionGrant`] |
//! | `GET session`, `DELETE session` | | 200 [`Whoami`], 204 |
//! | `GET clusters`, `POST clusters` | [`NewCluster`] | 200 `[`[`Cluster`]`]`, 201 [`Cluster`] |
//! | `GET clusters/{id or name}`, `DELETE …` | | 200 [`Cluster`], 204 |
//! | `GET nodes?cluster=`, `GET nodes/{name}`, `DELETE …` | | 200 `[`[`Node`]`]`, 200 [`Node`], 204 |
//! | `GET nodes/{name}/history?since_secs=&points=` | | 200 [`super::history::History`], as the live agent answers; 409 when it does not |
//! | `GET secrets?cluster=`, `POST secrets` | [`NewSecret`] | 200 `[`[`AgentSecretRow`]`]`, 201 [`AgentSecretGrant`] |
//! | `POST secrets/{name}/revoke?now=true` | | 200 [`AgentSecretRow`] |
//! | `GET users`, `POST users` | [`NewUser`] | 200 `[`[`User`]`]`, 201 [`User`] |
//! | `GET users/{name}`, `PATCH …`, `DELETE …` | [`UserChange`] | 200 [`User`], 200 [`User`], 204 |
//! | `POST users/{name}/password` | [`NewPassword`] | 204 |
//! | `POST users/{name}/keys` | [`NewAccessKey`] | 201 [`AccessKeyGrant`] |
//! | `GET keys?user=`, `DELETE keys/{id}` | | 200 `[`[`AccessKey`]`]`, 204 |
//! | `GET audit?since=&user=&after=&limit=` | | 200 [`AuditPage`] |
//! | `GET tasks?limit=&state=`, `GET tasks/{id}`, `POST tasks/{id}/cancel` | | 200 `[`[`Task`]`]`, 200 [`Task`], 202 [`Task`] |
//! | `GET tasks/{id}/result?from=`, `GET tasks/{id}/debug?from=` | | 200, text from that byte on; the header as for events |
//! | `GET tasks/{id}/events?from=` | | 200, lines of JSON, an [`Event`] each, from that byte on; the header [`LOG_TOTAL_HEADER`] says how many there are |
//! | `POST bundles` | [`NewBundle`] | 200, the bundle as it is made; headers [`TASK_HEADER`], [`BUNDLE_HEADER`], [`KEY_HEADER`] |
//! | `POST bundles/estimate` | [`NewBundle`] | 200 [`BundleEstimate`]: sizes, asked of all nodes; nothing is collected |
//! | `GET deployments`, `GET deployments/{name}` | | 200 `[`[`Deployment`]`]`, 200 [`Deployment`] with its instances |
//! | `POST deployments?recreate=&skip_drain=&fix=&dry_run=` | a manifest, YAML | 202 [`Task`] |
//! | `DELETE deployments/{name}?force=` | | 202 [`Task`] |
//! | `POST stored` | [`NewBundle`] | 202 [`Task`], whose result is the kept bundle's id once it is done |
//! | `GET stored`, `GET stored/{id}`, `DELETE …` | | 200 `[`[`StoredBundle`]`]`, 200 [`StoredBundle`], 204 |
//! | `GET stored/{id}/content`, `Range` | | 200, 206 or 416, the kept bundle or a range of it; header [`KEY_HEADER`] |
//!
//! All but the first carry `Authorization: Bearer <token>`; any other credential of the public listener does as well. An error is a
//! [`super::problem::Problem`]. A bundle's download that has to be given up ends by a reset, never cleanly.
//! Readers ignore unknown members; nothing here opens a socket.

mod bundles;
mod deployments;
mod roster;
mod tasks;
mod users;

pub use bundles::{BundleEstimate, NewBundle, NodeEstimate, StoredBundle};
pub use deployments::{Deployment, Instance};
pub use roster::{AgentSecretGrant, AgentSecretRow, Cluster, NewCluster, NewSecret, Node};
pub use tasks::{Event, EventData, EventError, Task, TaskState};
pub use users::{
    AccessKey, AccessKeyGrant, AuditPage, AuditRecord, NewAccessKey, NewPassword, NewUser, SessionGrant, User,
    UserChange, UserScope, Whoami,
};

/// Where the native API stands on the public listener.
pub const PREFIX: &str = "/sheaf/v1";
/// Header of a download: the task's number.
pub const TASK_HEADER: &str = "sheaf-task";
/// Header of a download: the bundle's name.
pub const BUNDLE_HEADER: &str = "sheaf-bundle";
/// Header of a part of a log: bytes that there are so far.
pub const LOG_TOTAL_HEADER: &str = "sheaf-log-total";
/// Header of a download: the public key that will seal it, base64, for whoever wants to pin it.
pub const KEY_HEADER: &str = "sheaf-seal-key";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_print_does_not() {
        let grant = SessionGrant { token: "s3cret".into(), user: "u".into(), role: "admin".into(), idle_secs: 1 };
        assert!(!format!("{grant:?}").contains("s3cret"));
    }

    #[test]
    fn an_older_or_newer_peer_is_read() {
        let event: Event =
            serde_json::from_str(r#"{"time":1,"task":"n1","novel":{}}"#).expect("unknown members are ignored");
        assert_eq!(event.task, "n1");
        let bundle: NewBundle = serde_json::from_str(r#"{"cluster":"c"}"#).expect("all but the cluster has a default");
        assert_eq!(bundle.format, crate::bundle::Format::TarZst);
    }
}
