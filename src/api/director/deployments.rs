//! Deployments: listed, shown, compared; made and deleted as tasks.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::fault::{BAD_MANIFEST, Fault};
use super::{context, is_true, pieces, principal, redirect, value};
use crate::api::door::{self, BadBody, Caller};
use crate::coordinator::verbs::{
    Change, How, MANIFEST_BYTES, ManifestError, Refusal, SkipDrain, Verbs, Versioned, read_manifest,
};
use crate::id::DeploymentName;

/// A refusal of what concerns a deployment.
pub fn refused(refusal: &Refusal, name: &str, caller: &Caller) -> Fault {
    match refusal {
        Refusal::NotFound(_) => Fault::no_deployment(name),
        other => Fault::of(other, caller.uri.path()),
    }
}

/// `GET /deployments`. The names and versions alone, also where a client would take more.
pub async fn list(State(verbs): State<Verbs>, caller: Caller) -> Result<Json<Vec<Value>>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let rows = verbs.deployments(&who).await.map_err(|refusal| Fault::of(&refusal, "/deployments"))?;
    let named = |list: &[Versioned]| list.iter().map(|is| json!({ "name": is.name, "version": is.version })).collect();
    let rows = rows.into_iter().map(|row| {
        let (releases, stemcells): (Vec<_>, Vec<_>) = (named(&row.releases), named(&row.stemcells));
        json!({
            "name": row.name,
            "cloud_config": "none",
            "releases": releases,
            "stemcells": stemcells,
            "teams": [],
            "locked": false,
        })
    });
    Ok(Json(rows.collect()))
}

/// `GET /deployments/{name}`: the last manifest that all its nodes took, as it was sent.
pub async fn show(State(verbs): State<Verbs>, caller: Caller, Path(name): Path<String>) -> Result<Json<Value>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let row = verbs.deployment(&who, &name).await.map_err(|refusal| refused(&refusal, &name, &caller))?;
    Ok(Json(json!({ "manifest": row.manifest })))
}

/// `POST /deployments`.
pub async fn create(
    State(verbs): State<Verbs>,
    caller: Caller,
    Query(query): Query<Vec<(String, String)>>,
    body: Body,
) -> Result<Response, Fault> {
    let who = principal(&verbs, &caller).await?;
    let text = manifest_text(&caller, body).await?;
    let how = how(&query)?;
    let manifest = read_manifest(text.clone()).await?;
    let name = manifest.name.to_string();
    let task = verbs.deploy(&who, manifest, text, how, context(&caller)).await;
    redirect(&verbs, &caller, task.map_err(|refusal| refused(&refusal, &name, &caller))?)
}

/// `DELETE /deployments/{name}`.
pub async fn delete(
    State(verbs): State<Verbs>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Fault> {
    let who = principal(&verbs, &caller).await?;
    let task = verbs.delete_deployment(&who, &name, is_true(&query, "force"), context(&caller)).await;
    redirect(&verbs, &caller, task.map_err(|refusal| refused(&refusal, &name, &caller))?)
}

/// `POST /deployments/{name}/diff`: values of properties are left out unless `redact=false`.
pub async fn diff(
    State(verbs): State<Verbs>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    body: Body,
) -> Result<Json<Value>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let text = manifest_text(&caller, body).await?;
    let parsed: DeploymentName = name.parse().map_err(|_| Fault::no_deployment(&name))?;
    let redact = value(&query, "redact") != Some("false");
    let lines = verbs.deployment_diff(&who, &parsed, text, redact).await.map_err(|refusal| match refusal {
        Refusal::Invalid(said) => Fault::new(StatusCode::BAD_REQUEST, BAD_MANIFEST, said),
        other => refused(&other, &name, &caller),
    })?;
    let word = |change| match change {
        Change::Added => Some("added"),
        Change::Removed => Some("removed"),
        Change::Kept => None,
    };
    let lines: Vec<_> = lines.into_iter().map(|(line, change)| json!([line, word(change)])).collect();
    Ok(Json(json!({ "context": {}, "diff": lines })))
}

/// The body as text; of another type than YAML there is no such route.
async fn manifest_text(caller: &Caller, body: Body) -> Result<String, Fault> {
    let kind = caller.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("text/yaml") {
        return Err(Fault::no_route(caller.uri.path()));
    }
    let bytes = door::bytes_within(body, MANIFEST_BYTES).await.map_err(|bad| match bad {
        BadBody::TooLarge => Fault::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            BAD_MANIFEST,
            format!("the manifest is longer than {MANIFEST_BYTES} bytes"),
        ),
        other => Fault::from(other),
    })?;
    let text = String::from_utf8(bytes.to_vec());
    text.map_err(|_| Fault::from(ManifestError::Yaml("it is not UTF-8".to_owned())))
}

fn how(query: &[(String, String)]) -> Result<How, Fault> {
    if let Some(context) = value(query, "context") {
        // What a diff answered; nothing of it is needed here, and nonsense is no diff's answer.
        serde_json::from_str::<Map<String, Value>>(context).map_err(|_| Fault::bad("`context` is a JSON object"))?;
    }
    let jobs = pieces(query, "skip_drain");
    let skip_drain = match jobs.as_slice() {
        [] => SkipDrain::No,
        jobs if jobs.contains(&"*") => SkipDrain::All,
        jobs => SkipDrain::Jobs(jobs.iter().map(|&job| job.to_owned()).collect()),
    };
    Ok(How {
        recreate: is_true(query, "recreate"),
        skip_drain,
        fix: is_true(query, "fix"),
        dry_run: is_true(query, "dry_run"),
    })
}
