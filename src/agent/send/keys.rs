//! The agent secret on the node: read, traded for an access token, rotated without ever being lost.
//!
//! The first one comes from the administrator's `secret_file`. Each exchange gives a next one, which is stored before it is
//! used, beside the one that is known to work. A secret is never logged.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::link::{Link, LinkError};
use crate::limits::AGENT_TTL_MS;
use crate::report;
use crate::secret::{AgentSecret, Secret};
use crate::state;

/// Name of the file in the state folder.
const FILE: &str = "agent-secret.json";
/// Where the exchange is.
const EXCHANGE: &str = "/api/v2/agent/secrets/exchange";

/// Why there is no access token.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// No secret on this node.
    #[error(
        "there is no agent secret in {}; make one with `sheaf secret create NODE-NAME` on the coordinator and put it there",
        .0.display()
    )]
    Missing(PathBuf),
    /// A file is there and cannot be read.
    #[error("cannot read the agent secret from {}", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// A file is there and holds something else.
    #[error("{} holds no agent secret (sheaf1.…); put there what `sheaf secret create NODE-NAME` prints", .0.display())]
    Malformed(PathBuf),
    /// The coordinator knows none of this node's secrets.
    #[error(
        "the coordinator refuses this node's agent secret ({message}); if it was revoked, make a new one with \
         `sheaf secret create NODE-NAME` and put it into {}", file.display()
    )]
    Refused {
        /// Where the administrator puts a new one.
        file: PathBuf,
        /// The coordinator's own sentence.
        message: String,
    },
    /// No answer.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// An access token.
#[derive(Clone, Debug)]
pub struct Token {
    /// Itself.
    pub token: Arc<Secret>,
    /// When another one should be asked for: well before it ends.
    pub renew_at: Instant,
}

/// The secrets of this node and where they are kept.
#[derive(Debug)]
pub struct Keys {
    given: PathBuf,
    kept: PathBuf,
}

/// What the state folder keeps.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    /// Digest of the administrator's secret from which these come: another one there wins.
    origin: String,
    /// Known to work.
    current: String,
    /// Given by the last exchange, not yet used.
    pending: String,
}

#[derive(Deserialize)]
struct Exchanged {
    access_token: Secret,
    new_secret: Secret,
    ttl: u64,
}

impl Keys {
    /// The administrator's file, and the folder where rotated secrets are kept.
    pub fn new(given: &Path, state_dir: &Path) -> Self {
        Self { given: given.to_owned(), kept: state_dir.join(FILE) }
    }

    /// Trades this node's secret for an access token. The files are read each time, so that a new secret needs no restart.
    ///
    /// # Errors
    /// When there is no secret, the coordinator takes none of them, or does not answer.
    pub async fn exchange(&self, link: &Link) -> Result<Token, LoginError> {
        let (origin, candidates) = self.candidates()?;
        let mut refused = String::new();
        for secret in candidates {
            let body = serde_json::json!({ "secret": secret.expose(), "ttl": AGENT_TTL_MS.0 });
            match link.json::<Exchanged>(Method::POST, EXCHANGE, &body).await {
                Ok(answer) => return Ok(self.accept(origin, &secret, answer)),
                Err(LinkError::Status { status, message }) if is_refusal(status) => refused = message,
                Err(error) => return Err(error.into()),
            }
        }
        Err(LoginError::Refused { file: self.given.clone(), message: refused })
    }

    /// The secrets to try, best first, and the digest of the administrator's.
    fn candidates(&self) -> Result<(String, Vec<Secret>), LoginError> {
        let given = match fs::read_to_string(&self.given) {
            Ok(text) => Some(AgentSecret::parse(&text).ok_or_else(|| LoginError::Malformed(self.given.clone()))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(LoginError::Unreadable(self.given.clone(), error)),
        };
        let kept = self.kept();
        match (given, kept) {
            (None, None) => Err(LoginError::Missing(self.given.clone())),
            (Some(given), kept) => {
                let origin = given.whole().digest();
                let mut secrets: Vec<_> =
                    kept.filter(|kept| kept.origin == origin).map(Kept::secrets).into_iter().flatten().collect();
                if secrets.iter().all(|known| !known.same(given.whole().expose())) {
                    secrets.push(given.whole().clone());
                }
                Ok((origin, secrets))
            }
            (None, Some(kept)) => Ok((kept.origin.clone(), kept.secrets().into())),
        }
    }

    fn kept(&self) -> Option<Kept> {
        let text = match fs::read(&self.kept) {
            Ok(text) => zeroize::Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(file = %self.kept.display(), error = %report::chain(&error), "cannot read the rotated agent secret");
                return None;
            }
        };
        let kept = serde_json::from_slice(&text).ok();
        if kept.is_none() {
            tracing::warn!(file = %self.kept.display(), "the rotated agent secret is damaged and not used");
        }
        kept
    }

    fn accept(&self, origin: String, used: &Secret, answer: Exchanged) -> Token {
        let kept = Kept { origin, current: used.expose().to_owned(), pending: answer.new_secret.expose().to_owned() };
        let text = zeroize::Zeroizing::new(serde_json::to_vec(&kept).expect("texts serialise"));
        if let Err(error) = state::write(&self.kept, &text, 0o600) {
            // The old one stays good until the new one is used, which never happens now.
            tracing::warn!(
                file = %self.kept.display(), error = %report::chain(&error),
                "cannot store the rotated agent secret; the old one stays in use"
            );
        }
        let life = Duration::from_millis(answer.ttl.clamp(AGENT_TTL_MS.1, AGENT_TTL_MS.2));
        Token { token: Arc::new(answer.access_token), renew_at: Instant::now() + life.mul_f64(0.8) }
    }
}

impl Kept {
    fn secrets(self) -> [Secret; 2] {
        [Secret::new(self.pending), Secret::new(self.current)]
    }
}

fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Keys) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let keys = Keys::new(&folder.path().join("given"), folder.path());
        (folder, keys)
    }

    fn texts(keys: &Keys) -> Vec<String> {
        keys.candidates().expect("secrets").1.iter().map(|secret| secret.expose().to_owned()).collect()
    }

    fn exchanged(next: &str) -> Exchanged {
        Exchanged { access_token: Secret::random(), new_secret: Secret::new(next), ttl: 60_000 }
    }

    #[test]
    fn without_a_secret_it_says_where_to_put_one() {
        let (_folder, keys) = folder();
        assert!(keys.candidates().expect_err("none").to_string().contains("sheaf secret create"));
        fs::write(&keys.given, "hunter2").expect("written");
        assert!(matches!(keys.candidates(), Err(LoginError::Malformed(_))));
    }

    #[test]
    fn the_next_secret_is_tried_first_and_the_old_one_is_kept() {
        let (_folder, keys) = folder();
        let given = AgentSecret::random();
        fs::write(&keys.given, format!("{}\n", given.whole().expose())).expect("written");
        assert_eq!(texts(&keys), [given.whole().expose()]);
        let (origin, secrets) = keys.candidates().expect("secrets");
        keys.accept(origin.clone(), &secrets[0], exchanged("two"));
        assert_eq!(texts(&keys), ["two", given.whole().expose()]);
        keys.accept(origin, &Secret::new("two"), exchanged("three"));
        assert_eq!(texts(&keys), ["three", "two", given.whole().expose()]);
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&keys.kept).expect("stat").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn another_secret_from_the_administrator_wins() {
        let (_folder, keys) = folder();
        let (old, new) = (AgentSecret::random(), AgentSecret::random());
        keys.accept(old.whole().digest(), old.whole(), exchanged("two"));
        fs::write(&keys.given, new.whole().expose()).expect("written");
        assert_eq!(texts(&keys), [new.whole().expose()]);
    }

    #[test]
    fn the_given_file_may_go_once_the_secret_was_rotated() {
        let (_folder, keys) = folder();
        keys.accept("origin".to_owned(), &Secret::new("one"), exchanged("two"));
        assert_eq!(texts(&keys), ["two", "one"]);
        fs::write(&keys.kept, "{ damaged").expect("written");
        assert!(matches!(keys.candidates(), Err(LoginError::Missing(_))));
    }
}
