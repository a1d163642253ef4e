//! The support bundle: step 1 hands out a URL and a token, step 2 spends the token and streams the bundle.
//!
//! The token travels in a header of a GET (vendor SDKs) or in the JSON body of a POST (govc, scripts); a session is neither
//! needed nor looked at. Filters travel in the query of step 2, since the token is the cluster's. A bundle that is given up
//! ends by a cut connection, never by a text.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::SESSION_HEADER;
use super::fault::{Fault, Style};
use crate::api::door::{self, Caller};
use crate::bundle::Format;
use crate::bundle::manifest::Budgets;
use crate::clock::rfc3339;
use crate::coordinator::verbs::{BundleRequest, Refusal, Verbs};
use crate::id::{ClusterId, CollectorName};
use crate::report;
use crate::window::{Asked, Moment};

/// Where bundles are downloaded.
pub const DOWNLOAD: &str = "/api/vcenter/namespace-management/clusters/{cluster}/support-bundle/download";

/// Names under which the token may come, in headers and in bodies: the older and the one of 9.1.
const TOKEN: [&str; 2] = ["wcp-support-bundle-token", "support-bundle-token"];

/// Items of one filter at most.
const FILTERS: usize = 256;
/// Characters of case and note at most.
const TEXT: usize = 4096;

type Pairs = Vec<(String, String)>;
type Named = Result<Path<String>, PathRejection>;

/// The cluster that the path names; what is no text names none.
fn named(cluster: Named) -> String {
    cluster.map(|Path(name)| name).unwrap_or_default()
}

/// Step 1.
pub async fn provision(
    style: Style,
    State(verbs): State<Verbs>,
    cluster: Named,
    caller: Caller,
) -> Result<Response, Fault> {
    location(style, &verbs, &named(cluster), &caller, "wcp_support_bundle_token").await
}

/// Step 1 as 9.1 names it.
pub async fn provision_9_1(
    style: Style,
    State(verbs): State<Verbs>,
    cluster: Named,
    caller: Caller,
) -> Result<Response, Fault> {
    location(style, &verbs, &named(cluster), &caller, "support_bundle_token").await
}

async fn location(
    style: Style,
    verbs: &Verbs,
    cluster: &str,
    caller: &Caller,
    member: &str,
) -> Result<Response, Fault> {
    let refuse = |refusal| style.refuse(&refusal);
    let who = door::principal(verbs, caller, &[SESSION_HEADER]).await.map_err(refuse)?;
    let id: ClusterId = cluster.parse().map_err(|_| refuse(Refusal::not_found("cluster", cluster)))?;
    let origin = caller.origin(verbs);
    let origin = origin
        .ok_or_else(|| Fault::new(style, 400, "INVALID_REQUEST", "the request names no host in its Host header"))?;
    let token = verbs.bundle_token(&who, id).await.map_err(refuse)?;
    let body = json!({
        "url": format!("{origin}{}", DOWNLOAD.replace("{cluster}", &id.to_string())),
        member: { "token": token.token.expose(), "expiry": rfc3339(token.expires_ms) },
    });
    let mut answer = style.reply(StatusCode::CREATED, &body);
    answer.headers_mut().insert(header::CACHE_CONTROL, door::NO_STORE);
    Ok(answer)
}

/// Step 2 with the token in a header.
pub async fn get(
    style: Style,
    State(verbs): State<Verbs>,
    cluster: Named,
    Query(query): Query<Pairs>,
    caller: Caller,
) -> Result<Response, Fault> {
    download(style, &verbs, &named(cluster), &query, &caller, token_of_headers(&caller.headers)).await
}

/// Step 2 with the token in the body, or in a header all the same.
pub async fn post(
    style: Style,
    State(verbs): State<Verbs>,
    cluster: Named,
    Query(query): Query<Pairs>,
    caller: Caller,
    body: Body,
) -> Result<Response, Fault> {
    let body = door::bytes(body).await.map_err(|bad| style.bad_body(&bad))?;
    let token = match token_of_headers(&caller.headers) {
        Some(token) => Some(token),
        None => token_of_body(style, &body)?,
    };
    download(style, &verbs, &named(cluster), &query, &caller, token).await
}

async fn download(
    style: Style,
    verbs: &Verbs,
    cluster: &str,
    query: &Pairs,
    caller: &Caller,
    token: Option<String>,
) -> Result<Response, Fault> {
    let refuse = |refusal| style.refuse(&refusal);
    // Whoever has no token learns nothing, not even that a cluster exists.
    let (Some(token), Ok(id)) = (token, cluster.parse::<ClusterId>()) else {
        return Err(refuse(Refusal::Unauthenticated));
    };
    // Read before the token is spent: a typing mistake must not cost one.
    let request = read_query(query, id, accepts_zstd(&caller.headers)).map_err(|why| refuse(Refusal::Invalid(why)))?;
    let format = request.format;
    let download = verbs.start_bundle_by_token(id, &token, request, caller.from()).await.map_err(refuse)?;
    let disposition = format!("attachment; filename={}.{}", download.name, format.ending());
    let mut answer = Body::from_stream(download.body).into_response();
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    fields.insert(header::CACHE_CONTROL, door::NO_STORE);
    if let Ok(value) = HeaderValue::from_str(&disposition) {
        fields.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(answer)
}

fn token_of_headers(headers: &HeaderMap) -> Option<String> {
    let value = TOKEN.iter().find_map(|name| headers.get(*name))?;
    Some(value.to_str().unwrap_or_default().trim().to_owned())
}

fn token_of_body(style: Style, body: &[u8]) -> Result<Option<String>, Fault> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|_| Fault::new(style, 400, "INVALID_REQUEST", "the body is no JSON object with the token in it"))?;
    Ok(TOKEN.iter().find_map(|name| value.get(*name)?.as_str().map(str::to_owned)))
}

fn accepts_zstd(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/zstd"));
        named && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// The filters; the error is a sentence.
fn read_query(query: &Pairs, cluster: ClusterId, zstd: bool) -> Result<BundleRequest, String> {
    let format = if zstd { Format::TarZst } else { Format::Tar };
    let mut request = BundleRequest {
        cluster: cluster.to_string(),
        nodes: Vec::new(),
        collectors: Vec::new(),
        redact: Vec::new(),
        budgets: Budgets::default(),
        window: Asked::default(),
        format,
        case: None,
        note: None,
    };
    for (name, value) in query {
        match name.as_str() {
            "nodes" | "node" => {
                for item in items(value) {
                    globset::Glob::new(&item)
                        .map_err(|error| format!("`nodes`: {}", report::brief(&error.to_string(), 200)))?;
                    request.nodes.push(item);
                }
            }
            "collectors" | "collector" => {
                for item in items(value) {
                    let collector: CollectorName = item.parse().map_err(|error| format!("`collectors`: {error}"))?;
                    request.collectors.push(collector.into());
                }
            }
            "format" => {
                request.format = match value.as_str() {
                    "tar" => Format::Tar,
                    "tar.zst" => Format::TarZst,
                    other => return Err(format!("`format` is tar or tar.zst, not `{}`", report::brief(other, 40))),
                }
            }
            "since" => request.window.since = moment("since", value)?,
            "until" => request.window.until = moment("until", value)?,
            "case" => request.case = text("case", value)?,
            "note" => request.note = text("note", value)?,
            other => {
                return Err(format!(
                    "`{}` is no filter; there are nodes, collectors, since, until, format, case and note",
                    report::brief(other, 40)
                ));
            }
        }
    }
    if request.nodes.len().max(request.collectors.len()) > FILTERS {
        return Err(format!("a filter has {FILTERS} items at most"));
    }
    Ok(request)
}

fn moment(name: &str, value: &str) -> Result<Option<Moment>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|error| format!("`{name}`: {error}"))
}

fn items(value: &str) -> impl Iterator<Item = String> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned)
}

fn text(name: &str, value: &str) -> Result<Option<String>, String> {
    if value.chars().count() > TEXT {
        return Err(format!("`{name}` has {TEXT} characters at most"));
    }
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &[(&str, &str)]) -> Result<BundleRequest, String> {
        let pairs = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        read_query(&pairs, ClusterId::random(), false)
    }

    #[test]
    fn filters_are_read() {
        let request =
            read(&[("nodes", "a-*,b"), ("node", "c"), ("collectors", "logs"), ("format", "tar.zst"), ("case", "")])
                .expect("good filters");
        assert_eq!(request.nodes, ["a-*", "b", "c"]);
        assert_eq!(request.collectors, ["logs"]);
        assert_eq!((request.format, request.case), (Format::TarZst, None));
        let request = read(&[("since", "2h"), ("until", "")]).expect("good filters");
        assert_eq!(request.window, Asked { since: Some("2h".parse().expect("a moment")), until: None });
    }

    #[test]
    fn bad_filters_are_named() {
        let many = "x,".repeat(FILTERS + 1);
        for (query, part) in [
            (("nodes", "[a"), "nodes"),
            (("format", "zip"), "format"),
            (("after", "1h"), "`after` is no filter"),
            (("since", "yesterday"), "`since`: `yesterday` is no time"),
            (("until", "2026-11-21T16:02:00"), "`until`: `2026-11-21T16:02:00` lacks its zone"),
            (("collectors", "../etc"), "collectors"),
            (("nodes", many.as_str()), "256"),
            (("note", &"n".repeat(TEXT + 1)), "note"),
        ] {
            let error = read(&[query]).expect_err("refused");
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_compressed_bundle_is_asked_for_by_accept() {
        for (accept, expected) in [
            ("application/zstd", true),
            ("application/tar;q=0.5, Application/Zstd;q=0.9", true),
            ("application/zstd;q=0", false),
            ("*/*", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().expect("a value"))]);
            assert_eq!(accepts_zstd(&headers), expected, "{accept}");
        }
    }
}
