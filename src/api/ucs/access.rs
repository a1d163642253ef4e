//! Access info: once, as an array of strings; a cluster that the caller may not see and one that is not there look the same.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;

use super::TOKEN_HEADER;
use super::fault::{Code, Fault};
use crate::api::door::{self, Caller};
use crate::coordinator::verbs::{Approach, Refusal, Verbs};
use crate::protocol::join::DOWNLOADED;

/// From where nodes will come.
#[derive(Debug, Default, Deserialize)]
pub struct From {
    vpcendpoint: Option<String>,
    region: Option<String>,
}

/// `GET /v1/clusters/{clusterid}/accessinfo`.
pub async fn info(
    State(verbs): State<Verbs>,
    cluster: Result<Path<String>, PathRejection>,
    query: Result<Query<From>, QueryRejection>,
    caller: Caller,
) -> Result<Response, Fault> {
    let refuse = |refusal: Refusal| match refusal {
        // Whether it is there is nobody's business who may not see it.
        Refusal::NotFound(_) => Fault::new(Code::Forbidden),
        other => Fault::of(&other, Code::Parameter),
    };
    let who = door::principal(&verbs, &caller, &[TOKEN_HEADER]).await.map_err(refuse)?;
    let cluster = cluster.map(|Path(id)| id).unwrap_or_default();
    if !is_uuid(&cluster) {
        return Err(Fault::new(Code::Parameter).because("A cluster's id is a UUID."));
    }
    let Query(from) = query.map_err(|_| Fault::new(Code::Parameter))?;
    let origin = caller.origin(&verbs);
    let approach = Approach {
        origin: origin.as_deref().unwrap_or_default(),
        vpcendpoint: from.vpcendpoint.as_deref(),
        region: from.region.as_deref(),
    };
    let strings = match verbs.take_access_info(&who, &cluster, approach).await.map_err(refuse)? {
        Some(manifests) => json!(manifests.map(|manifest| manifest.to_string())),
        None => json!([DOWNLOADED]),
    };
    Ok(([(header::CACHE_CONTROL, door::NO_STORE)], Json(strings)).into_response())
}

/// The form with hyphens alone, as Kubernetes writes it.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_uuid;

    #[test]
    fn only_the_form_with_hyphens_is_an_id() {
        assert!(is_uuid("1228fd8d-975a-435b-ad4b-a3778730e423") && is_uuid("1228FD8D-975A-435B-AD4B-A3778730E423"));
        for text in [
            "",
            "default",
            "1228fd8d975a435bad4ba3778730e423",
            "{1228fd8d-975a-435b-ad4b-a3778730e423}",
            "1228fd8d-975a-435b-ad4b-a3778730e42x",
        ] {
            assert!(!is_uuid(text), "{text}");
        }
    }
}
