//! What every room needs at its door: who is calling, what the body says, and by which name the caller knows us.
//!
//! Reads requests and gives plain values or a [`Refusal`]; which status and which words that becomes is each room's own affair.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Uri};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::coordinator::verbs::{Credential, Principal, Refusal, SCHEME, Session, Signed, Verbs};
use crate::limits;
use crate::net::body::{BodyError, capped};
use crate::net::serve::Peer;
use crate::net::tls;
use crate::report;
use crate::secret::Secret;

/// Headers that carry a session's id or a token, whatever the dialect; `true` for the Keystone token's.
const TOKENS: [(&str, bool); 3] = [("vmware-api-session-id", false), ("x-jwt-token", false), ("x-auth-token", true)];
/// Schemes of `Authorization` that carry one.
const SCHEMES: [&str; 3] = ["bearer", "opstoken", "vrealizeopstoken"];

/// A request, as far as it says who calls: what any handler takes to ask for its principal.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The request's headers.
    pub headers: HeaderMap,
    /// Its method.
    pub method: Method,
    /// Its target; of a signed request, as it came.
    pub uri: Uri,
    /// Where the connection came from and which certificate it showed; absent inside a test alone.
    pub peer: Option<Peer>,
    body_sha256: Option<[u8; 32]>,
}

impl Caller {
    /// Where the connection came from.
    pub fn from(&self) -> Option<IpAddr> {
        self.peer.as_ref().map(|peer| peer.addr.ip().to_canonical())
    }

    /// The URL by which whoever calls reaches this coordinator: the configured one, or the one of the request.
    pub fn origin(&self, verbs: &Verbs) -> Option<String> {
        verbs.external_url().map(str::to_owned).or_else(|| origin(&self.uri, &self.headers))
    }

    /// Whether there is no credential at all.
    pub fn shows_nothing(&self) -> bool {
        self.credentials(&[]).is_empty()
    }

    fn of(parts: &Parts) -> Self {
        let covered = parts.extensions.get::<Covered>();
        Self {
            headers: parts.headers.clone(),
            method: parts.method.clone(),
            uri: covered.map_or(&parts.uri, |covered| &covered.uri).clone(),
            peer: parts.extensions.get::<Peer>().cloned(),
            body_sha256: covered.and_then(|covered| covered.body_sha256),
        }
    }

    /// The credentials that are shown, in the order in which they count: the dialect's own header, `Authorization`, other
    /// dialects' headers, a signature. A client certificate counts when there is none of these. A header that is there and makes
    /// no sense is a wrong credential, not a missing one.
    fn credentials(&self, own: &[&str]) -> Vec<Credential> {
        let header = |name: &str| Some(Secret::new(self.headers.get(name)?.to_str().unwrap_or_default().trim()));
        let token = |name: &str, secret| match TOKENS.contains(&(name, true)) {
            true => Credential::Token(secret),
            false => Credential::Session(secret),
        };
        let mut shown: Vec<_> = own.iter().filter_map(|name| Some(token(name, header(name)?))).collect();
        let scheme = scheme(&self.headers);
        let is_signed = scheme.is_some_and(|(scheme, _)| scheme == SCHEME);
        shown.extend(scheme.filter(|_| !is_signed).map(|(scheme, rest)| authorization(scheme, rest)));
        shown.extend(TOKENS.iter().filter_map(|(name, _)| Some(token(name, header(name)?))));
        if is_signed {
            let signed =
                self.body_sha256.and_then(|digest| Signed::read(&self.method, &self.uri, &self.headers, &digest));
            shown.push(signed.map_or_else(|| Credential::Token(Secret::new("")), Credential::Signed));
        }
        let certificate = self.peer.as_ref().and_then(|peer| peer.certificate.as_ref()).filter(|_| shown.is_empty());
        shown.extend(certificate.map(|der| Credential::Certificate(tls::serial(der).unwrap_or_default())));
        shown
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

/// Whoever calls, by any credential; `own` are the headers of the caller's dialect, which come first.
///
/// A signature is checked against the body that came, of which [`digest_signed`] took the digest: no handler needs to bring it.
///
/// # Errors
/// [`Refusal::Unauthenticated`] when there is none, or it is not good.
pub async fn principal(verbs: &Verbs, caller: &Caller, own: &[&str]) -> Result<Principal, Refusal> {
    let mut shown = caller.credentials(own).into_iter();
    let Some(first) = shown.next() else { return Err(verbs.nameless(caller.from())) };
    match (verbs.authenticate(first, caller.from()).await, shown.next_back()) {
        // Clients that can sign always do, also beside a token: either is enough.
        (Err(Refusal::Unauthenticated), Some(last @ Credential::Signed(_))) => {
            verbs.authenticate(last, caller.from()).await
        }
        (result, _) => result,
    }
}

/// Checks name and password of the `Authorization: Basic` header and opens a session.
///
/// # Errors
/// [`Refusal::Unauthenticated`] when they are missing or wrong.
pub async fn log_in(verbs: &Verbs, caller: &Caller) -> Result<(Principal, Secret), Refusal> {
    let basic = scheme(&caller.headers).map(|(scheme, rest)| authorization(scheme, rest));
    match basic {
        Some(credential @ Credential::Basic(..)) => {
            let principal = verbs.authenticate(credential, caller.from()).await?;
            let id = verbs.open_session(&principal).await?;
            Ok((principal, id))
        }
        _ => Err(verbs.nameless(caller.from())),
    }
}

/// The session that the caller shows, and its id.
///
/// # Errors
/// [`Refusal::Unauthenticated`] when the credential is missing, dead, or no session.
pub async fn session(verbs: &Verbs, caller: &Caller, own: &[&str]) -> Result<(Session, Secret), Refusal> {
    match caller.credentials(own).into_iter().next() {
        Some(Credential::Session(id)) => Ok((verbs.session(id.expose(), caller.from()).await?, id)),
        _ => Err(verbs.nameless(caller.from())),
    }
}

/// Takes the digest of a signed request's body before any handler sees it, since the signature covers it. A body longer than
/// [`limits::JSON_BODY`] cannot be signed: the handler finds it broken.
pub async fn digest_signed(request: Request, next: Next) -> Response {
    let signed = scheme(request.headers()).is_some_and(|(scheme, _)| scheme == SCHEME);
    if !signed {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let (body, body_sha256) = match bytes(body).await {
        Ok(bytes) => {
            let digest = sha256(&bytes);
            (Body::from(bytes), Some(digest))
        }
        Err(bad) => (Body::from_stream(stream::once(std::future::ready(Err::<Bytes, _>(bad)))), None),
    };
    parts.extensions.insert(Covered { uri: parts.uri.clone(), body_sha256 });
    next.run(Request::from_parts(parts, body)).await
}

/// What a signature covers besides the headers, among a signed request's extensions.
#[derive(Clone)]
struct Covered {
    /// The target as it came: a router that is nested shows its handlers a shorter one.
    uri: Uri,
    /// Of the body, if it could be read whole.
    body_sha256: Option<[u8; 32]>,
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    digest
}

fn authorization(scheme: &str, rest: &str) -> Credential {
    if scheme.eq_ignore_ascii_case("basic") {
        let (user, password) = basic(rest).unwrap_or_default();
        return Credential::Basic(user, Secret::new(password));
    }
    let known = SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    Credential::Session(Secret::new(if known { rest } else { "" }))
}

/// Scheme and rest of the `Authorization` header; a value of one word is a scheme without rest.
pub fn scheme(headers: &HeaderMap) -> Option<(&str, &str)> {
    let value = headers.get(AUTHORIZATION)?.to_str().unwrap_or_default().trim();
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    Some((scheme, rest.trim_start()))
}

fn basic(encoded: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Why a body is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum BadBody {
    /// Longer than [`limits::JSON_BODY`].
    #[error("the body is longer than {} bytes", limits::JSON_BODY)]
    TooLarge,
    /// It stood still or broke off.
    #[error("the body did not come whole")]
    Broken,
    /// It is no JSON, or not of the right shape; says where.
    #[error("{0}")]
    Json(String),
}

/// Reads a body whole, within [`limits::JSON_BODY`].
///
/// # Errors
/// When it is longer, slower, or breaks off.
pub async fn bytes(body: Body) -> Result<Bytes, BadBody> {
    bytes_within(body, limits::JSON_BODY).await
}

/// Reads a body whole, within `most` bytes.
///
/// # Errors
/// When it is longer, slower, or breaks off.
pub async fn bytes_within(body: Body, most: usize) -> Result<Bytes, BadBody> {
    capped(body, most, limits::BODY_IDLE).await.map_err(|error| match error {
        BodyError::TooLarge(_) => BadBody::TooLarge,
        BodyError::Idle(_) | BodyError::Broken(_) => BadBody::Broken,
    })
}

/// Reads a body as a JSON object, whatever its `Content-Type` says.
///
/// # Errors
/// As [`bytes()`], and when it is no object of that shape.
pub async fn json<T: DeserializeOwned>(body: Body) -> Result<T, BadBody> {
    let bytes = bytes(body).await?;
    // An object first: serde would take an array for a struct's members in order.
    serde_json::from_slice::<Map<String, Value>>(&bytes)
        .and_then(|object| serde_json::from_value(Value::Object(object)))
        .map_err(|error| BadBody::Json(format!("the body is not as it should be: {}", valueless(&error.to_string()))))
}

/// What a reader of JSON says, without the value that it found: a password may stand where something else should.
fn valueless(error: &str) -> String {
    let found = ["invalid type", "invalid value", "invalid length", "unknown variant", "unknown field"];
    match (found.iter().find(|kind| error.starts_with(**kind)), error.rsplit_once(", expected ")) {
        (Some(kind), Some((_, expected))) => report::brief(&format!("{kind}, expected {expected}"), 300),
        (Some(kind), None) => (*kind).to_owned(),
        (None, _) => report::brief(error, 300),
    }
}

/// `https://` and the host by which the caller knows us; `None` when it did not say, or said nonsense.
pub fn origin(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    // HTTP/2 has the name in the request's target, HTTP/1.1 in a header.
    let named = match uri.authority() {
        Some(authority) => authority.clone(),
        None => headers.get(HOST)?.to_str().ok()?.parse::<Authority>().ok()?,
    };
    // A user's name in front of the host would send the reader of our URL somewhere else.
    (!named.host().is_empty() && !named.as_str().contains('@')).then(|| format!("https://{named}"))
}

/// For answers that hold a credential.
pub const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().expect("a value")))
            .collect()
    }

    fn shown(pairs: &[(&'static str, &str)], own: &[&str]) -> Vec<String> {
        let caller = Caller {
            headers: headers(pairs),
            method: Method::GET,
            uri: Uri::from_static("/x"),
            peer: None,
            body_sha256: None,
        };
        let said = |credential| match credential {
            Credential::Basic(user, password) => format!("basic {user} {}", password.expose()),
            Credential::Session(text) => format!("session {}", text.expose()),
            Credential::Token(text) => format!("token {}", text.expose()),
            Credential::Signed(signed) => format!("signed {}", signed.access()),
            Credential::Certificate(serial) => format!("certificate {serial}"),
        };
        caller.credentials(own).into_iter().map(said).collect()
    }

    #[test]
    fn a_rooms_own_header_comes_first() {
        let both = [("vmware-api-session-id", "a"), ("authorization", "Bearer b")];
        assert_eq!(shown(&both, &["vmware-api-session-id"])[0], "session a");
        assert_eq!(shown(&both, &[])[0], "session b");
        assert_eq!(shown(&[("x-auth-token", "t"), ("x-jwt-token", "j")], &["x-auth-token"])[0], "token t");
        assert!(shown(&[], &["x"]).is_empty());
    }

    #[test]
    fn every_dialects_word_for_a_token_is_known() {
        for word in ["Bearer", "bearer", "OpsToken", "vRealizeOpsToken"] {
            assert_eq!(shown(&[("authorization", &format!("{word} t"))], &[]), ["session t"], "{word}");
        }
    }

    #[test]
    fn nonsense_is_a_wrong_credential() {
        for text in ["Basic", "Basic ???", "Basic bm9jb2xvbg=="] {
            assert_eq!(shown(&[("authorization", text)], &[]), ["basic  "], "{text}");
        }
        for text in ["Digest x", "", "SDK-HMAC-SHA256x"] {
            assert_eq!(shown(&[("authorization", text)], &[]), ["session "], "{text}");
        }
        assert_eq!(shown(&[("authorization", "SDK-HMAC-SHA256 Access=x")], &[]), ["token "]);
    }

    #[test]
    fn what_a_body_holds_is_not_repeated() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wanted {
            #[serde(rename = "n")]
            _number: u8,
            #[serde(rename = "t")]
            _text: String,
        }
        for (body, says) in [
            (r#"{"n":"s3cret, expected s3cret","t":""}"#, "invalid type, expected u8"),
            (r#"{"n":1,"t":31337}"#, "invalid type, expected a string"),
            (r#"{"n":31337,"t":""}"#, "invalid value, expected u8"),
            (r#"{"n":1,"t":"","s3cret":1}"#, "unknown field, expected"),
            (r#"{"n":1}"#, "missing field `t`"),
        ] {
            let error = serde_json::from_str::<Wanted>(body).expect_err("refused").to_string();
            let said = valueless(&error);
            assert!(said.starts_with(says) && !said.contains("s3cret") && !said.contains("31337"), "{said}");
        }
    }

    #[test]
    fn our_name_is_what_the_caller_called() {
        let target = Uri::from_static("/x");
        for (host, expected) in [
            ("c.example:25555", Some("https://c.example:25555")),
            ("[::1]:1", Some("https://[::1]:1")),
            ("evil@c.example", None),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(origin(&target, &headers(&[("host", host)])).as_deref(), expected, "{host:?}");
        }
        assert_eq!(
            origin(&Uri::from_static("https://h2.example/x"), &headers(&[])).as_deref(),
            Some("https://h2.example")
        );
        assert_eq!(origin(&target, &headers(&[])), None);
    }
}
