//! SDK-HMAC-SHA256: what a request signed with an access key says, and whether the signature is good.
//!
//! Method, path, query, headers and the body's digest come from the door, which has them before any route is chosen; the secret
//! key comes from `coordinator::keys` and is only lent. A signature counts only if it covers the host and a time near now,
//! and if what it says of the body is true. It knows no user, keeps nothing, and never repeats a key or a signature.

use std::borrow::Cow;
use std::fmt::Write as _;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Uri};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use ring::{digest, hmac};

use crate::secret::{Secret, hex, same_bytes};

/// The scheme in the header `Authorization`.
pub const SCHEME: &str = "SDK-HMAC-SHA256";
/// How far the time of a signature may be from ours.
pub const WINDOW_MS: u64 = 15 * 60 * 1000;
/// What is escaped in a canonical path or query: all but RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Headers that a signature may cover.
const MOST_HEADERS: usize = 64;
const DATE: &str = "x-sdk-date";
const CONTENT: &str = "x-sdk-content-sha256";
const HOST: &str = "host";

/// A request with a signature that was read and not checked.
#[derive(Clone)]
pub struct Signed {
    access: String,
    made_ms: i64,
    changes: bool,
    to_sign: String,
    signature: Vec<u8>,
}

/// By hand: whoever reads a log must not be able to send the request again.
impl std::fmt::Debug for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signed").field("made_ms", &self.made_ms).finish_non_exhaustive()
    }
}

impl Signed {
    /// Reads the signature of a request; `None` when it has none that could count. `body_sha256` is the digest of the body as it
    /// came, of no bytes when there was none.
    pub fn read(method: &Method, uri: &Uri, headers: &HeaderMap, body_sha256: &[u8; 32]) -> Option<Self> {
        let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let parts = Parts::read(header)?;
        let names: Vec<&str> = parts.headers.split(';').collect();
        let covers = |wanted: &str| names.contains(&wanted);
        if names.len() > MOST_HEADERS || !covers(HOST) || !covers(DATE) {
            return None;
        }
        let body = hex(body_sha256);
        let said = single(headers, CONTENT)?;
        if said.is_some_and(|said| said != body) {
            return None;
        }
        let date = single(headers, DATE)??;
        let canonical = canonical(method, uri, headers, &names, &body)?;
        let digest = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        Some(Self {
            access: parts.access.to_owned(),
            made_ms: milliseconds(date)?,
            changes: !method.is_safe(),
            to_sign: format!("{SCHEME}\n{date}\n{digest}"),
            signature: parts.signature,
        })
    }

    /// The access key that it names; anybody can write any.
    pub fn access(&self) -> &str {
        &self.access
    }

    /// Whether it may change something, and so must not be done twice.
    pub fn changes(&self) -> bool {
        self.changes
    }

    /// What tells it from all others, and is of no use to anybody.
    pub fn digest(&self) -> String {
        hex(digest::digest(&digest::SHA256, &self.signature).as_ref())
    }

    /// Until when it could be good, milliseconds since 1970.
    pub fn until_ms(&self) -> i64 {
        self.made_ms.saturating_add_unsigned(WINDOW_MS)
    }

    /// Whether it was made with this secret key, near `now_ms`.
    pub fn is_good(&self, secret_key: &Secret, now_ms: i64) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret_key.expose().as_bytes());
        let right = hmac::sign(&key, self.to_sign.as_bytes());
        let near = self.made_ms.abs_diff(now_ms) <= WINDOW_MS;
        same_bytes(right.as_ref(), &self.signature) && near
    }
}

/// The three parts of the header.
struct Parts<'a> {
    access: &'a str,
    headers: &'a str,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn read(header: &'a str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ')?;
        if scheme != SCHEME {
            return None;
        }
        let (mut access, mut headers, mut signature) = (None, None, None);
        for part in rest.split(',') {
            let (name, value) = part.trim().split_once('=')?;
            let place = match name {
                "Access" => &mut access,
                "SignedHeaders" => &mut headers,
                "Signature" => &mut signature,
                _ => return None,
            };
            // Said twice, it could be read in two ways.
            if place.replace(value).is_some() {
                return None;
            }
        }
        Some(Self { access: access?, headers: headers?, signature: unhex(signature?)? })
    }
}

/// `YYYYMMDDTHHMMSSZ`, and no other form.
fn milliseconds(date: &str) -> Option<i64> {
    let digits = |from: usize, to: usize| date.get(from..to).filter(|part| part.bytes().all(|b| b.is_ascii_digit()));
    if date.len() != 16 || date.get(8..9) != Some("T") || !date.ends_with('Z') {
        return None;
    }
    let number = |from, to| digits(from, to)?.parse::<i8>().ok();
    let year = digits(0, 4)?.parse().ok()?;
    let (month, day) = (number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    let civil = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

fn canonical(method: &Method, uri: &Uri, headers: &HeaderMap, names: &[&str], body: &str) -> Option<String> {
    let mut text =
        format!("{method}\n{}\n{}\n", canonical_path(uri.path()), canonical_query(uri.query().unwrap_or("")));
    for name in names {
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            return None;
        }
        let value = match (single(headers, name)?, *name) {
            (Some(value), _) => Cow::Borrowed(value),
            // HTTP/2 has the name in the request's target.
            (None, HOST) => Cow::Owned(uri.authority()?.to_string()),
            (None, _) => return None,
        };
        let _ = writeln!(text, "{name}:{}", value.trim());
    }
    let _ = write!(text, "\n{}\n{body}", names.join(";"));
    Some(text)
}

/// A header's one value, `Some(None)` when it is not there; `None` when it is there twice or is no text.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Some(None) };
    // Of two values one could be signed and the other be acted on.
    if values.next().is_some() {
        return None;
    }
    std::str::from_utf8(first.as_bytes()).ok().map(Some)
}

fn canonical_path(path: &str) -> String {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let mut text = decoded.split('/').map(escaped).collect::<Vec<_>>().join("/");
    if !text.ends_with('/') {
        text.push('/');
    }
    text
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (form_decoded(name), form_decoded(value)))
        .collect();
    // By what they say and not by how it is escaped.
    pairs.sort();
    let pairs = pairs.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn form_decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).map(|digit| digit as u8);
    if text.len() != 64 {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests;
