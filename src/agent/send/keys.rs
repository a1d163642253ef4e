//! The agent secret on the node: read, traded for an access token, rotated without ever being lost.
//!
//! The first one comes from the administrator: the credential that systemd hands over (`LoadCredential=agent-secret:FILE`), else
//! `secret_file`. Each exchange gives a next one, which is stored before it is used, beside the one that is known to work, and
//! wins over the older one that it comes from. A secret is never logged.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::link::{Link, LinkError};
use crate::agent::program;
use crate::limits::AGENT_TTL_MS;
use crate::report;
use crate::secret::{AgentSecret, Secret};
use crate::state;

/// Name of the file in the state folder.
const FILE: &str = "agent-secret.json";
/// Name of the credential in the folder that systemd makes.
const CREDENTIAL: &str = "agent-secret";
/// Where the exchange is.
const EXCHANGE: &str = "/api/v2/agent/secrets/exchange";

/// Why there is no access token.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// No secret on this node.
    #[error(
        "this node has no agent secret: run `{called} join FILE` with the cluster's access info, or put what \
         `sheaf secret create NODE-NAME` prints into {}",
        .0.display(),
        called = program::called()
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
        "the coordinator refuses this node's agent secret ({message}); if it was revoked, first free the node's name with \
         `sheaf node remove NODE-NAME`, then make a new secret with `sheaf secret create NODE-NAME` and put it into {}", file.display()
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
    credential: Option<PathBuf>,
    given: PathBuf,
    kept: PathBuf,
}

/// A secret to try, and the digest of the administrator's that it comes from.
struct Candidate {
    origin: String,
    secret: Secret,
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
        Self { credential: None, given: given.to_owned(), kept: state_dir.join(FILE) }
    }

    /// The same with systemd's folder of credentials (`$CREDENTIALS_DIRECTORY`): a secret in it goes before the file's.
    #[must_use]
    pub fn with_credentials(self, folder: Option<&Path>) -> Self {
        Self { credential: folder.map(|folder| folder.join(CREDENTIAL)), ..self }
    }

    /// Digests of what the administrator has given; none when only a rotated secret is left.
    ///
    /// # Errors
    /// When there is nothing to log in with, or what is there is no secret.
    pub fn check(&self) -> Result<Vec<String>, LoginError> {
        let given = self.given()?;
        if given.is_empty() && self.kept().is_none() {
            return Err(LoginError::Missing(self.given.clone()));
        }
        Ok(given.iter().map(Secret::digest).collect())
    }

    /// Trades this node's secret for an access token. The files are read each time, so that a new secret needs no restart.
    ///
    /// # Errors
    /// When there is no secret, the coordinator takes none of them, or does not answer.
    pub async fn exchange(&self, link: &Link) -> Result<Token, LoginError> {
        let mut refused = String::new();
        for Candidate { origin, secret } in self.candidates()? {
            let body = serde_json::json!({ "secret": secret.expose(), "ttl": AGENT_TTL_MS.0 });
            match link.json::<Exchanged>(Method::POST, EXCHANGE, &body).await {
                Ok(answer) => return Ok(self.accept(origin, &secret, answer)),
                Err(LinkError::Status { status, message }) if is_refusal(status) => refused = message,
                Err(error) => return Err(error.into()),
            }
        }
        Err(LoginError::Refused { file: self.given.clone(), message: refused })
    }

    /// The secrets to try, best first: what came of the credential, the credential, what came of the file, the file. What was kept
    /// of neither counts only where there is neither.
    fn candidates(&self) -> Result<Vec<Candidate>, LoginError> {
        let (given, kept) = (self.given()?, self.kept());
        if given.is_empty() {
            let kept = kept.ok_or_else(|| LoginError::Missing(self.given.clone()))?;
            return Ok(kept.candidates().into());
        }
        let mut found: Vec<Candidate> = Vec::new();
        for secret in given {
            let origin = secret.digest();
            let rotated = kept.as_ref().filter(|kept| kept.origin == origin).map(Kept::candidates);
            for one in rotated.into_iter().flatten().chain([Candidate { origin, secret }]) {
                if found.iter().all(|known| !known.secret.same(one.secret.expose())) {
                    found.push(one);
                }
            }
        }
        Ok(found)
    }

    /// What the administrator has given, best first.
    fn given(&self) -> Result<Vec<Secret>, LoginError> {
        let mut given = Vec::new();
        for path in self.credential.iter().chain([&self.given]) {
            given.extend(administrators(path)?);
        }
        Ok(given)
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
    fn candidates(&self) -> [Candidate; 2] {
        [&self.pending, &self.current]
            .map(|text| Candidate { origin: self.origin.clone(), secret: Secret::new(text.as_str()) })
    }
}

/// What an administrator has put into a file, if there is one.
fn administrators(path: &Path) -> Result<Option<Secret>, LoginError> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let secret = AgentSecret::parse(&text).ok_or_else(|| LoginError::Malformed(path.to_owned()))?;
            Ok(Some(secret.whole().clone()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LoginError::Unreadable(path.to_owned(), error)),
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
        keys.candidates().expect("secrets").iter().map(|one| one.secret.expose().to_owned()).collect()
    }

    fn exchanged(next: &str) -> Exchanged {
        Exchanged { access_token: Secret::random(), new_secret: Secret::new(next), ttl: 60_000 }
    }

    #[test]
    fn without_a_secret_it_says_where_to_put_one() {
        let (_folder, keys) = folder();
        let missing = keys.check().expect_err("none").to_string();
        assert!(missing.contains("sheaf secret create") && missing.contains("sheaf agent join"), "{missing}");
        fs::write(&keys.given, "hunter2").expect("written");
        assert!(matches!(keys.candidates(), Err(LoginError::Malformed(_))));
    }

    #[test]
    fn the_next_secret_is_tried_first_and_the_old_one_is_kept() {
        let (_folder, keys) = folder();
        let given = AgentSecret::random();
        fs::write(&keys.given, format!("{}\n", given.whole().expose())).expect("written");
        assert_eq!(texts(&keys), [given.whole().expose()]);
        let origin = given.whole().digest();
        keys.accept(origin.clone(), given.whole(), exchanged("two"));
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
    fn systemds_credential_goes_before_the_file_and_what_was_rotated_before_both() {
        let (folder, keys) = folder();
        let keys = keys.with_credentials(Some(folder.path()));
        let (credential, file) = (AgentSecret::random(), AgentSecret::random());
        fs::write(&keys.given, file.whole().expose()).expect("written");
        assert_eq!(texts(&keys), [file.whole().expose()], "the file is the fallback");
        fs::write(folder.path().join(CREDENTIAL), credential.whole().expose()).expect("written");
        assert_eq!(texts(&keys), [credential.whole().expose(), file.whole().expose()]);
        keys.accept(credential.whole().digest(), credential.whole(), exchanged("two"));
        let expected = ["two", credential.whole().expose(), file.whole().expose()];
        assert_eq!(texts(&keys), expected, "a later generation wins over the credential that it comes from");
        keys.accept(file.whole().digest(), file.whole(), exchanged("three"));
        assert_eq!(texts(&keys), [credential.whole().expose(), "three", file.whole().expose()]);
        fs::write(folder.path().join(CREDENTIAL), "hunter2").expect("written");
        assert!(matches!(keys.check(), Err(LoginError::Malformed(path)) if path.ends_with(CREDENTIAL)));
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
