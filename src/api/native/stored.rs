//! Kept bundles: made in the background, listed, downloaded whole or in ranges, deleted.

use std::ops::Range;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::fault::Fault;
use super::session::principal;
use super::{bundle, tasks};
use crate::api::door::{self, Caller};
use crate::clock::rfc3339;
use crate::coordinator::verbs::{StoredRow, Verbs};
use crate::id::BundleId;
use crate::protocol::control::{KEY_HEADER, NewBundle, StoredBundle, Task};

/// `POST stored`.
pub async fn create(State(verbs): State<Verbs>, caller: Caller, body: Body) -> Result<(StatusCode, Json<Task>), Fault> {
    let who = principal(&verbs, &caller).await?;
    let wanted: NewBundle = door::json(body).await?;
    let task = verbs.keep_bundle(&who, bundle::request(wanted)).await?;
    Ok((StatusCode::ACCEPTED, Json(tasks::view(task))))
}

/// `GET stored`.
pub async fn list(State(verbs): State<Verbs>, caller: Caller) -> Result<Json<Vec<StoredBundle>>, Fault> {
    let who = principal(&verbs, &caller).await?;
    Ok(Json(verbs.stored_bundles(&who).await?.into_iter().map(view).collect()))
}

/// `GET stored/{id}`.
pub async fn show(
    State(verbs): State<Verbs>,
    id: Result<Path<BundleId>, PathRejection>,
    caller: Caller,
) -> Result<Json<StoredBundle>, Fault> {
    let who = principal(&verbs, &caller).await?;
    Ok(Json(view(verbs.stored_bundle(&who, id?.0).await?)))
}

/// `DELETE stored/{id}`.
pub async fn delete(
    State(verbs): State<Verbs>,
    id: Result<Path<BundleId>, PathRejection>,
    caller: Caller,
) -> Result<StatusCode, Fault> {
    let who = principal(&verbs, &caller).await?;
    verbs.delete_stored(&who, id?.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET stored/{id}/content`.
pub async fn content(
    State(verbs): State<Verbs>,
    id: Result<Path<BundleId>, PathRejection>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let who = principal(&verbs, &caller).await?;
    let id = id?.0;
    let (row, _) = verbs.stored_bundle(&who, id).await?;
    let wanted = match wanted(&headers, row.bytes, &tag(id)) {
        Ok(wanted) => wanted,
        Err(()) => {
            let message = format!("the bundle has {} bytes, and none in that range", row.bytes);
            let mut answer = Fault::new(416, "range", message).into_response();
            set(answer.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{}", row.bytes));
            return Ok(answer);
        }
    };
    let range = wanted.clone().unwrap_or(0..row.bytes);
    let part = verbs.read_stored(&who, id, range.start, Some(range.end)).await?;
    let mut answer = Body::from_stream(part.pieces).into_response();
    let fields = answer.headers_mut();
    if wanted.is_some() {
        set(fields, header::CONTENT_RANGE, &format!("bytes {}-{}/{}", range.start, range.end - 1, row.bytes));
    }
    set(fields, header::CONTENT_LENGTH, &(range.end - range.start).to_string());
    set(fields, header::CONTENT_TYPE, row.format.media_type());
    set(fields, header::CONTENT_DISPOSITION, &format!("attachment; filename={}.{}", row.name, row.format.ending()));
    set(fields, header::ETAG, &tag(id));
    set(fields, header::ACCEPT_RANGES, "bytes");
    set(fields, header::HeaderName::from_static(KEY_HEADER), &verbs.seal_public_key().to_string());
    fields.insert(header::CACHE_CONTROL, door::NO_STORE);
    *answer.status_mut() = if wanted.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    Ok(answer)
}

/// What is published never changes, so its id says which it is.
fn tag(id: BundleId) -> String {
    format!("\"{id}\"")
}

fn set(fields: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        fields.insert(name, value);
    }
}

/// The range that is wanted of `size` bytes; `None` for all of them, and for what is no single range of bytes. An error when it lies
/// outside.
fn wanted(headers: &HeaderMap, size: u64, tag: &str) -> Result<Option<Range<u64>>, ()> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if text(header::IF_RANGE).is_some_and(|other| other != tag) {
        return Ok(None);
    }
    let Some((from, to)) = text(header::RANGE)
        .and_then(|range| range.trim().strip_prefix("bytes="))
        .and_then(|range| range.split_once('-'))
    else {
        return Ok(None);
    };
    let number = |text: &str| text.trim().parse::<u64>();
    let range = match (number(from), number(to)) {
        (Ok(from), _) if to.trim().is_empty() => from..size,
        (Ok(from), Ok(to)) if from <= to => from..to.saturating_add(1).min(size),
        (Err(_), Ok(last)) if from.trim().is_empty() => size.saturating_sub(last)..size,
        _ => return Ok(None),
    };
    if range.is_empty() { Err(()) } else { Ok(Some(range)) }
}

fn view((row, expires_ms): (StoredRow, i64)) -> StoredBundle {
    StoredBundle {
        id: row.id,
        name: row.name,
        of: row.of,
        user: row.user,
        task: row.task,
        format: row.format,
        bytes: row.bytes,
        verdict: row.verdict,
        nodes: row.nodes,
        nodes_collected: row.nodes_collected,
        created_at: rfc3339(row.created_ms),
        expires_at: rfc3339(expires_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let read = |range: &str, if_range: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, range.parse().expect("a value"));
            if let Some(tag) = if_range {
                headers.insert(header::IF_RANGE, tag.parse().expect("a value"));
            }
            wanted(&headers, 100, "\"a\"")
        };
        for (range, expected) in [
            ("bytes=0-", Ok(Some(0..100))),
            ("bytes=10-19", Ok(Some(10..20))),
            ("bytes=99-200", Ok(Some(99..100))),
            ("bytes=-1", Ok(Some(99..100))),
            ("bytes=-200", Ok(Some(0..100))),
            ("bytes=100-", Err(())),
            ("bytes=-0", Err(())),
            ("bytes=5-4", Ok(None)),
            ("bytes=0-1,5-6", Ok(None)),
            ("lines=1-2", Ok(None)),
            ("bytes=x-", Ok(None)),
        ] {
            assert_eq!(read(range, None), expected, "{range}");
        }
        assert_eq!(read("bytes=10-19", Some("\"a\"")), Ok(Some(10..20)));
        assert_eq!(read("bytes=10-19", Some("\"b\"")), Ok(None));
        assert_eq!(wanted(&HeaderMap::new(), 100, ""), Ok(None));
    }
}
