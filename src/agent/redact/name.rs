//! Names of settings: which of them name a secret.
//!
//! A name is cut into words (`db_password`, `accessToken`, `AWS_SECRET_ACCESS_KEY`); its last word decides, so that
//! `password_file`, `secretName` and `token_type` are none.

use super::label::Label;

/// Longest name that is looked at.
pub(super) const LONGEST: usize = 128;

/// Words that may follow the one that decides: they say which secret it is, not what about it.
const NEUTRAL: [&str; 28] = [
    "prod",
    "production",
    "dev",
    "test",
    "stage",
    "staging",
    "new",
    "old",
    "current",
    "previous",
    "data",
    "value",
    "hash",
    "hashed",
    "plain",
    "plaintext",
    "text",
    "string",
    "base64",
    "b64",
    "primary",
    "secondary",
    "default",
    "raw",
    "enc",
    "encrypted",
    "confirm",
    "confirmation",
];

/// Words that make a `key` a secret one when they stand before it.
const KEY_HEADS: [&str; 41] = [
    "activation",
    "registration",
    "wireless",
    "wep",
    "api",
    "access",
    "account",
    "app",
    "application",
    "auth",
    "admin",
    "aes",
    "authorization",
    "client",
    "consumer",
    "cipher",
    "crypt",
    "deploy",
    "encryption",
    "encrypt",
    "hmac",
    "ingest",
    "ingestion",
    "instrumentation",
    "integration",
    "jwt",
    "license",
    "master",
    "preshared",
    "private",
    "psk",
    "secret",
    "service",
    "session",
    "shared",
    "signing",
    "sign",
    "ssh",
    "storage",
    "subscription",
    "write",
];

/// What a word ends with to be a secret's name, and which kind of secret that is.
const ENDS: [(&str, Label); 35] = [
    ("masterauth", Label::Password),
    ("password", Label::Password),
    ("passwd", Label::Password),
    ("passphrase", Label::Password),
    ("passcode", Label::Password),
    ("passwort", Label::Password),
    ("pwd", Label::Password),
    ("pass", Label::Password),
    ("bindpw", Label::Password),
    ("rootpw", Label::Password),
    ("secret", Label::Secret),
    ("token", Label::Token),
    ("sessionid", Label::Token),
    ("sessid", Label::Token),
    ("credential", Label::Credential),
    ("psk", Label::Key),
    ("apikey", Label::Key),
    ("accesskey", Label::Key),
    ("accountkey", Label::Key),
    ("authkey", Label::Key),
    ("encryptionkey", Label::Key),
    ("licensekey", Label::Key),
    ("masterkey", Label::Key),
    ("presharedkey", Label::Key),
    ("privatekey", Label::Key),
    ("secretkey", Label::Key),
    ("sharedkey", Label::Key),
    ("signingkey", Label::Key),
    ("storagekey", Label::Key),
    ("rocommunity", Label::Credential),
    ("rwcommunity", Label::Credential),
    ("trapcommunity", Label::Credential),
    ("dockerconfigjson", Label::Credential),
    ("dockercfg", Label::Credential),
    ("accesssignature", Label::Signature),
];

/// Words that end in `pass` and have nothing to do with one.
const NO_PASS: [&str; 10] = [
    "bypass",
    "compass",
    "encompass",
    "surpass",
    "trespass",
    "overpass",
    "underpass",
    "multipass",
    "onepass",
    "singlepass",
];

/// What a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) label: Label,
    /// More than one: `tokens=128` is a count.
    pub(super) plural: bool,
    /// Just `pass`, which is also the opposite of `fail`.
    pub(super) pass: bool,
    /// A session's id, which short ones of logins are too.
    pub(super) login: bool,
    /// No more than `secret`, or whose: Kubernetes calls an object so that holds one.
    pub(super) bare: bool,
}

/// What `name` names, if it is a secret.
pub(super) fn classify(name: &[u8]) -> Option<Named> {
    if name.is_empty() || name.len() > LONGEST {
        return None;
    }
    let mut words = words(name);
    while let [.., before, last] = words.as_slice()
        && (neutral(last) || follows(before, last))
    {
        words.pop();
    }
    let last = words.pop()?;
    let digits = last.trim_end_matches(|c: char| c.is_ascii_digit());
    let (word, plural) = match digits.strip_suffix('s') {
        Some(one) if !digits.ends_with("pass") => (one, true),
        _ => (digits, false),
    };
    let before = words.last().map(String::as_str);
    let pass_word = before.is_some_and(|b| b.ends_with("pass")) && matches!(word, "word" | "wd" | "phrase" | "code");
    let label = if pass_word || word == "pw" && !plural {
        Label::Password
    } else if word == "id" {
        before.filter(|head| head.ends_with("session")).map(|_| Label::Token)?
    } else if word == "key" {
        before.filter(|head| KEY_HEADS.contains(head)).map(|_| Label::Key)?
    } else if word == "signature" {
        before.filter(|head| *head == "access").map(|_| Label::Signature)?
    } else if NO_PASS.contains(&word) || word == "credential" && matches!(before, Some("load" | "import")) {
        return None;
    } else {
        ENDS.iter().find(|(end, _)| word.ends_with(end)).map(|(_, label)| *label)?
    };
    let bare = match word {
        "secret" => before.is_none_or(|head| matches!(head, "pull" | "tls" | "existing")),
        "token" => plural && before.is_none(),
        _ => false,
    };
    Some(Named { label, plural, pass: word == "pass" && before.is_none(), login: word == "id", bare })
}

/// What a name names that is a secret's only with such a value, or behind such words: `--certificate-key` of kubeadm, `snmp-server community`.
pub(super) fn with_value(before: &[u8], name: &[u8], value: &[u8]) -> Option<Named> {
    let plain = |label| Some(Named { label, plural: false, pass: false, login: false, bare: false });
    let digits = value.iter().take(65).take_while(|b| b.is_ascii_hexdigit()).count();
    match name {
        b"certificate-key" | b"certificateKey" | b"certificate_key" if digits == 64 => plain(Label::Key),
        b"community" if before.ends_with(b"snmp-server ") => plain(Label::Credential),
        _ => None,
    }
}

/// `chap.password_in`, `SECRET_KEY_BASE`.
fn follows(before: &str, word: &str) -> bool {
    before == "password" && matches!(word, "in" | "out" | "pbkdf2") || before == "key" && word == "base"
}

fn neutral(word: &str) -> bool {
    NEUTRAL.contains(&word) || word.bytes().all(|b| b.is_ascii_digit())
}

/// The words of a name in lower case.
fn words(name: &[u8]) -> Vec<String> {
    let mut words: Vec<String> = Vec::with_capacity(8);
    let mut lower = false;
    let mut begin = true;
    for byte in name {
        if !byte.is_ascii_alphanumeric() {
            begin = true;
            continue;
        }
        if begin || (lower && byte.is_ascii_uppercase()) {
            words.push(String::with_capacity(16));
        }
        if let Some(word) = words.last_mut() {
            word.push(char::from(byte.to_ascii_lowercase()));
        }
        begin = false;
        lower = byte.is_ascii_lowercase();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_decides() {
        for (name, label) in [
            ("password", Label::Password),
            ("DB_PASSWORD", Label::Password),
            ("PGPASSWORD", Label::Password),
            ("PassWord", Label::Password),
            ("passwordHash", Label::Password),
            ("mysql_root_password_2", Label::Password),
            ("userPass", Label::Password),
            ("dbpwd", Label::Password),
            ("accessToken", Label::Token),
            ("X-Auth-Token", Label::Token),
            ("AWS_SECRET_ACCESS_KEY", Label::Key),
            ("APIKey", Label::Key),
            ("x-api-key", Label::Key),
            ("client-key-data", Label::Key),
            ("clientSecret", Label::Secret),
            ("SharedAccessSignature", Label::Signature),
            ("ROOT_PW", Label::Password),
            ("olcRootPW", Label::Password),
            ("SECRET_KEY_BASE", Label::Key),
            ("node.session.auth.password_in", Label::Password),
            ("session_id", Label::Token),
            ("sessionId", Label::Token),
            ("phpsessid", Label::Token),
        ] {
            assert_eq!(classify(name.as_bytes()).map(|n| n.label), Some(label), "{name}");
        }
    }

    #[test]
    fn what_only_speaks_of_a_secret_is_none() {
        for name in [
            "password_file",
            "passwordExpiry",
            "secretName",
            "secretKeyRef",
            "token_type",
            "token_ttl",
            "tokenReview",
            "imagePullSecretName",
            "public_key",
            "primary_key",
            "cache-key",
            "key",
            "monkey",
            "bypass",
            "passed",
            "passenger",
            "AWS_ACCESS_KEY_ID",
            "private_key_id",
            "signature",
            "",
        ] {
            assert_eq!(classify(name.as_bytes()), None, "{name}");
        }
    }
}
