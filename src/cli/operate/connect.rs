//! Where the coordinator is, whom it trusts and who we are: from flags, then the environment, then the login profile.
//!
//! Ends in a [`Coordinator`], through which every operator verb makes its calls. A token of the profile goes only to the
//! URL that it was given for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::profile::{self, Profile};
use super::prompt;
use crate::net::client::{self, Answer, Client, ClientError};
use crate::protocol::control::PREFIX;
use crate::report;
use crate::secret::Secret;

/// Where distributions keep the CAs that the system trusts.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where the options of [`Connection`] stand in a help text; an option after them has its own place.
const HEADING: &str = "Connection";

/// How to reach the coordinator. What is not given here comes from the login profile.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Connection {
    /// URL of the coordinator, such as `https://coordinator.example.org:25555`
    #[arg(long, env = "SHEAF_URL", value_name = "URL", global = true, help_heading = HEADING)]
    pub url: Option<String>,
    /// File with the CA's certificate, PEM; without it the system's roots are trusted
    #[arg(long, env = "SHEAF_CA", value_name = "FILE", global = true, help_heading = HEADING)]
    pub ca: Option<PathBuf>,
    /// User's name; its password comes from SHEAF_PASSWORD, --password-file, or is asked for
    #[arg(long, env = "SHEAF_USER", value_name = "NAME", global = true, help_heading = HEADING)]
    pub user: Option<String>,
    /// File that holds the password
    #[arg(long, value_name = "FILE", global = true, help_heading = HEADING)]
    pub password_file: Option<PathBuf>,
}

impl Connection {
    /// The coordinator, with the credentials that are to be used.
    ///
    /// # Errors
    /// When it is not said where it is or who we are, or a file cannot be read.
    pub fn open(&self) -> anyhow::Result<Coordinator> {
        let profile = match (self.needs_profile(), profile::path()) {
            (true, Ok(path)) => Profile::read(&path)?,
            // Nobody can have logged in where there is no place for a profile.
            _ => None,
        };
        let same = |profile: &Profile| self.url.as_ref().is_none_or(|url| trimmed(url) == trimmed(&profile.url));
        // Another coordinator than the one logged in to: its CA and token are of no use there, and none of its business.
        let profile = profile.filter(same);
        let url = self.url.clone().or_else(|| profile.as_ref().map(|p| p.url.clone())).context(
            "it is not known where the coordinator is; run `sheaf login --url URL`, or give --url or SHEAF_URL",
        )?;
        let ca = match (&self.ca, profile.as_ref().and_then(|p| p.ca.as_ref())) {
            (Some(file), _) => read_ca(file)?,
            (None, Some(pem)) => pem.clone().into_bytes(),
            (None, None) => system_roots()?,
        };
        let credential = match (&self.user, &profile) {
            (Some(user), _) => basic(user, &self.password(user)?)?,
            (None, Some(profile)) => bearer(&profile.token)?,
            (None, None) => {
                bail!("it is not known who you are; run `sheaf login --url {url}`, or give --user or SHEAF_USER")
            }
        };
        Ok(Coordinator { client: Client::new(&url, &ca)?, credential, from_profile: self.user.is_none() })
    }

    /// The coordinator for a log-in: never from the profile. Also the user's name and the CA for the profile.
    ///
    /// # Errors
    /// When the URL is missing, or a file or the password cannot be read.
    pub fn open_for_login(&self) -> anyhow::Result<(Coordinator, String, Option<String>)> {
        let url = self.url.as_ref().context("say where to log in: --url URL or SHEAF_URL")?;
        let given = self.ca.as_deref().map(read_ca).transpose()?;
        let user = match &self.user {
            Some(user) => user.clone(),
            None => bail!("say who logs in: --user NAME or SHEAF_USER"),
        };
        let credential = basic(&user, &self.password(&user)?)?;
        let roots = match &given {
            Some(pem) => pem.clone(),
            None => system_roots()?,
        };
        let ca = given.map(String::from_utf8).transpose().context("the CA file is no PEM text")?;
        Ok((Coordinator { client: Client::new(url, &roots)?, credential, from_profile: false }, user, ca))
    }

    fn needs_profile(&self) -> bool {
        self.url.is_none() || self.user.is_none() || self.ca.is_none()
    }

    fn password(&self, user: &str) -> anyhow::Result<Secret> {
        if let Some(file) = &self.password_file {
            return prompt::from_file(file);
        }
        match std::env::var("SHEAF_PASSWORD") {
            Ok(password) => Ok(Secret::new(password)),
            Err(std::env::VarError::NotPresent) => prompt::password(&format!("Password of {user}"), INSTEAD),
            Err(error) => Err(error).context("reading SHEAF_PASSWORD"),
        }
    }
}

/// What whoever has no terminal does instead of typing the password.
pub(super) const INSTEAD: &str = "set SHEAF_PASSWORD or give --password-file FILE";

/// A coordinator and the credentials for it; cheap to clone.
#[derive(Clone)]
pub struct Coordinator {
    client: Client,
    credential: HeaderValue,
    from_profile: bool,
}

impl Coordinator {
    /// With known credentials, for a coordinator that this process started itself.
    ///
    /// # Errors
    /// When URL or CA cannot be used.
    pub fn new(url: &str, ca: &[u8], user: &str, password: &Secret) -> anyhow::Result<Self> {
        Ok(Self { client: Client::new(url, ca)?, credential: basic(user, password)?, from_profile: false })
    }

    /// The same one, whose answers may take so long to begin.
    pub fn patient(&self, wait: Duration) -> Self {
        Self { client: self.client.clone().patient(wait), ..self.clone() }
    }

    /// The base URL.
    pub fn url(&self) -> &str {
        self.client.base()
    }

    /// `GET`, with a JSON answer; `path` is below the native API's prefix.
    ///
    /// # Errors
    /// When it fails or is refused.
    pub async fn fetch<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.call(Method::GET, path, None::<&()>).await
    }

    /// Any call with a JSON answer; `path` is below the native API's prefix.
    ///
    /// # Errors
    /// When it fails or is refused.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> anyhow::Result<T> {
        let answer = self.client.json(method, &format!("{PREFIX}{path}"), self.headers(), body).await;
        answer.map_err(|error| self.explain(error))
    }

    /// A call whose answer's body is read by the caller; `path` is below the native API's prefix.
    ///
    /// # Errors
    /// When it fails or is refused.
    pub async fn stream(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Answer> {
        self.stream_with(method, path, HeaderMap::new(), body).await
    }

    /// The same with headers of the caller's own.
    ///
    /// # Errors
    /// When it fails or is refused.
    pub async fn stream_with(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        headers.extend(self.headers());
        let answer = match self.client.send(method, &format!("{PREFIX}{path}"), headers, body).await {
            Ok(answer) => client::success(answer).await,
            Err(error) => Err(error),
        };
        answer.map_err(|error| self.explain(error))
    }

    fn headers(&self) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, self.credential.clone())])
    }

    /// The chain becomes a text: a pipe that broke on the network must not look like one of ours, which is no error.
    fn explain(&self, error: ClientError) -> anyhow::Error {
        let text = report::chain(&error);
        match error {
            ClientError::Refused { status: StatusCode::UNAUTHORIZED, .. } if self.from_profile => {
                anyhow::anyhow!("the session of the login profile has ended; run `sheaf login` again")
            }
            ClientError::Refused { status: StatusCode::UNAUTHORIZED, .. } => {
                anyhow::anyhow!("the user or the password is wrong; check --user and SHEAF_PASSWORD or --password-file")
            }
            ClientError::Refused { status: StatusCode::NOT_FOUND, .. } => match listed(&text) {
                Some(verb) => anyhow::anyhow!("{text}; `sheaf {verb} list` names those that are there"),
                None => anyhow::Error::msg(text),
            },
            _ => anyhow::Error::msg(text),
        }
    }
}

/// The verb that lists what an answer says is not there.
fn listed(answer: &str) -> Option<&'static str> {
    let kind = answer.strip_suffix("` not found")?.split_once(" `")?.0;
    let verbs = [
        ("cluster", "cluster"),
        ("node", "node"),
        ("agent secret", "secret"),
        ("task", "task"),
        ("user", "user"),
        ("fleet", "fleet"),
        ("deployment", "deployment"),
        ("certificate", "cert"),
        ("kept bundle", "bundle stored"),
    ];
    verbs.into_iter().find(|(what, _)| *what == kind).map(|(_, verb)| verb)
}

/// A piece of a path, percent-encoded.
pub fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn trimmed(url: &str) -> &str {
    url.trim_end_matches('/')
}

fn read_ca(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("reading the CA file {}", file.display()))
}

fn system_roots() -> anyhow::Result<Vec<u8>> {
    let found = SYSTEM_ROOTS.iter().find_map(|path| std::fs::read(path).ok());
    found.context("this system has no file of trusted CAs; give the coordinator's ca.pem with --ca or SHEAF_CA")
}

fn basic(user: &str, password: &Secret) -> anyhow::Result<HeaderValue> {
    if user.contains(':') {
        bail!("a user's name has no colon");
    }
    let pair = Secret::new(format!("{user}:{}", password.expose()));
    credential(&format!("Basic {}", STANDARD.encode(pair.expose())))
}

fn bearer(token: &str) -> anyhow::Result<HeaderValue> {
    credential(&format!("Bearer {token}"))
}

fn credential(text: &str) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text).context("the credentials hold a character that cannot be sent")?;
    value.set_sensitive(true);
    Ok(value)
}
