//! What a replacement stands for: the names in markers and in the manifest's counts.

/// One kind of secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    PrivateKey,
    Authorization,
    Cookie,
    Password,
    Token,
    Secret,
    Key,
    Credential,
    UrlPassword,
    Signature,
    PasswordHash,
    AgentSecret,
    AwsKey,
    GithubToken,
    GitlabToken,
    SlackToken,
    Jwt,
    PackageToken,
    StripeKey,
    GoogleKey,
    CloudToken,
    /// A rule of the site or the request, by its number.
    Extra(u8),
}

/// Names of the built-in kinds, in the order of [`Label::index`].
const NAMES: [&str; 21] = [
    "private-key",
    "authorization",
    "cookie",
    "password",
    "token",
    "secret",
    "key",
    "credential",
    "url-password",
    "signature",
    "password-hash",
    "agent-secret",
    "aws-key",
    "github-token",
    "gitlab-token",
    "slack-token",
    "jwt",
    "package-token",
    "stripe-key",
    "google-key",
    "cloud-token",
];

impl Label {
    /// The name of a built-in kind; what a site adds has its own.
    pub(super) fn name(self) -> &'static str {
        NAMES.get(self.index()).copied().unwrap_or("site")
    }

    /// Its place in tables; added rules follow the built-in ones.
    pub(super) fn index(self) -> usize {
        match self {
            Self::PrivateKey => 0,
            Self::Authorization => 1,
            Self::Cookie => 2,
            Self::Password => 3,
            Self::Token => 4,
            Self::Secret => 5,
            Self::Key => 6,
            Self::Credential => 7,
            Self::UrlPassword => 8,
            Self::Signature => 9,
            Self::PasswordHash => 10,
            Self::AgentSecret => 11,
            Self::AwsKey => 12,
            Self::GithubToken => 13,
            Self::GitlabToken => 14,
            Self::SlackToken => 15,
            Self::Jwt => 16,
            Self::PackageToken => 17,
            Self::StripeKey => 18,
            Self::GoogleKey => 19,
            Self::CloudToken => 20,
            Self::Extra(number) => NAMES.len() + usize::from(number),
        }
    }
}

/// Whether a built-in kind has that name.
pub(super) fn is_built_in(name: &str) -> bool {
    NAMES.contains(&name)
}

/// The names of all kinds: the built-in ones, then the given ones.
pub(super) fn names<'a>(extra: impl Iterator<Item = &'a str>) -> Vec<String> {
    NAMES.into_iter().chain(extra).map(str::to_owned).collect()
}

/// What stands in place of a secret of the named kind.
pub(super) fn marker(name: &str) -> Vec<u8> {
    format!("[redacted:{name}]").into_bytes()
}

/// Whether a value is such a marker and nothing else: what was redacted once stays as it is.
pub(super) fn is_marker(value: &[u8]) -> bool {
    marker_length(value) == Some(value.len())
}

/// Bytes of the marker at the start of a text.
pub(super) fn marker_length(text: &[u8]) -> Option<usize> {
    let name = text.strip_prefix(b"[redacted:")?;
    let length =
        name.iter().take(33).take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || **b == b'-').count();
    ((1..=32).contains(&length) && name.get(length) == Some(&b']')).then_some(length + 11)
}
