//! A task's logs, whole or from where the client was: what was read once never changes.

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, stream};

use super::fault::Fault;
use super::{principal, tasks, value};
use crate::api::door::Caller;
use crate::coordinator::verbs::{Log, Principal, Refusal, Verbs};
use crate::id::TaskId;

/// Bytes of a log that are in memory for one reader.
const PART: u64 = 256 << 10;

/// What a `Range` header asks for, of a text of known length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Everything: there is no such header, or none that means anything here.
    All,
    /// From, and up to (exclusive).
    Part(u64, u64),
    /// Nothing that there is.
    Beyond,
}

/// `GET /tasks/{id}/output`.
pub async fn show(
    State(verbs): State<Verbs>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Fault> {
    let who = principal(&verbs, &caller).await?;
    let task = tasks::find(&verbs, &who, &id).await?.id;
    let log = match value(&query, "type").unwrap_or("debug") {
        "event" => Log::Event,
        "result" => Log::Result,
        "debug" => Log::Debug,
        // There are no others, `none` and the original's `cpi` among them: they have no output.
        _ => return Ok(StatusCode::NO_CONTENT.into_response()),
    };
    let refused = |refusal: Refusal| Fault::of(&refusal, "/tasks");
    let total = verbs.task_log(&who, task, log, 0, 0).await.map_err(refused)?.total;
    let plain = (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned());
    let (status, from, to) = match asked(&caller.headers, total) {
        Asked::All if total == 0 => return Ok(StatusCode::NO_CONTENT.into_response()),
        Asked::All => (StatusCode::OK, 0, total),
        Asked::Part(from, to) => (StatusCode::PARTIAL_CONTENT, from, to),
        Asked::Beyond => {
            let range = (header::CONTENT_RANGE, format!("bytes */{total}"));
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [range]).into_response());
        }
    };
    let length = (header::CONTENT_LENGTH, (to - from).to_string());
    let body = Body::from_stream(parts(verbs, who, task, log, (from, to)));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = (header::CONTENT_RANGE, format!("bytes {from}-{}/{total}", to - 1));
        return Ok((status, [plain, length, range], body).into_response());
    }
    Ok((status, [plain, length, (header::ACCEPT_RANGES, "bytes".to_owned())], body).into_response())
}

/// One range in bytes; several, and other units, are as none.
fn asked(headers: &HeaderMap, total: u64) -> Asked {
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let Some((first, last)) = range.and_then(|r| r.trim().strip_prefix("bytes=")).and_then(|r| r.split_once('-'))
    else {
        return Asked::All;
    };
    let number = |text: &str| {
        (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (from, to) = match (number(first), number(last), first.is_empty(), last.is_empty()) {
        (Some(from), None, _, true) => (from, total),
        (Some(from), Some(last), ..) if last >= from => (from, last.saturating_add(1).min(total)),
        (None, Some(suffix), true, _) => (total.saturating_sub(suffix), total),
        _ => return Asked::All,
    };
    if from < to { Asked::Part(from, to) } else { Asked::Beyond }
}

/// The bytes of a range, read as they are sent.
fn parts(
    verbs: Verbs,
    who: Principal,
    task: TaskId,
    log: Log,
    range: (u64, u64),
) -> impl Stream<Item = Result<Bytes, Refusal>> {
    stream::try_unfold((verbs, who, range.0), move |(verbs, who, from)| async move {
        if from >= range.1 {
            return Ok(None);
        }
        let most = usize::try_from((range.1 - from).min(PART)).unwrap_or(usize::MAX);
        let part = verbs.task_log(&who, task, log, from, most).await?;
        // A log only ever grows: less than was there before is a log that was forgotten meanwhile.
        if part.bytes.is_empty() {
            return Err(Refusal::not_found("task", &task.to_string()));
        }
        let next = from + part.bytes.len() as u64;
        Ok(Some((Bytes::from(part.bytes), (verbs, who, next))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_what_clients_send() {
        for (text, total, expected) in [
            ("bytes=0-", 10, Asked::Part(0, 10)),
            ("bytes=7-", 10, Asked::Part(7, 10)),
            ("bytes=10-", 10, Asked::Beyond),
            ("bytes=0-", 0, Asked::Beyond),
            ("bytes=11-", 10, Asked::Beyond),
            ("bytes=99999999999999999999999-", 10, Asked::Beyond),
            ("bytes=2-4", 10, Asked::Part(2, 5)),
            ("bytes=2-400", 10, Asked::Part(2, 10)),
            ("bytes=-3", 10, Asked::Part(7, 10)),
            ("bytes=-30", 10, Asked::Part(0, 10)),
            ("bytes=-0", 10, Asked::Beyond),
            ("bytes=4-2", 10, Asked::All),
            ("bytes=-", 10, Asked::All),
            ("bytes=a-", 10, Asked::All),
            ("bytes=1-2,4-5", 10, Asked::All),
            ("lines=1-", 10, Asked::All),
        ] {
            let headers = HeaderMap::from_iter([(header::RANGE, text.parse().expect("a value"))]);
            assert_eq!(asked(&headers, total), expected, "{text} of {total}");
        }
        assert_eq!(asked(&HeaderMap::new(), 3), Asked::All);
    }
}
