//! What nodes run, in the director's words: stemcells are operating systems, releases are packs of collectors.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::fault::Fault;
use super::principal;
use crate::api::door::Caller;
use crate::coordinator::verbs::Verbs;

/// `GET /stemcells`.
pub async fn stemcells(State(verbs): State<Verbs>, caller: Caller) -> Result<Json<Vec<Value>>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let systems = verbs.systems(&who).await.map_err(|refusal| Fault::of(&refusal, "/stemcells"))?;
    let rows = systems.into_iter().map(|system| {
        let (name, version) = (&system.is.name, &system.is.version);
        let deployments: Vec<_> = system.deployments.iter().map(|name| json!({ "name": name })).collect();
        json!({
            "name": name,
            "operating_system": format!("{name}-{version}"),
            "version": version,
            "cid": format!("{name}-{version}"),
            "deployments": deployments,
        })
    });
    Ok(Json(rows.collect()))
}

/// `GET /releases`: one row a name, with its versions.
pub async fn releases(State(verbs): State<Verbs>, caller: Caller) -> Result<Json<Vec<Value>>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let releases = verbs.releases(&who).await.map_err(|refusal| Fault::of(&refusal, "/releases"))?;
    let rows = releases.chunk_by(|one, next| one.is.name == next.is.name).map(|versions| {
        let list: Vec<_> = versions
            .iter()
            .map(|release| {
                json!({
                    "version": release.is.version,
                    // Packs come with packages, which know no source tree.
                    "commit_hash": "",
                    "uncommitted_changes": false,
                    "currently_deployed": release.deployed,
                    "job_names": release.jobs,
                })
            })
            .collect();
        json!({ "name": versions[0].is.name, "release_versions": list })
    });
    Ok(Json(rows.collect()))
}

/// What this director never has: configurations beside the manifest, and locks.
pub async fn nothing(State(verbs): State<Verbs>, caller: Caller) -> Result<Json<[(); 0]>, Fault> {
    principal(&verbs, &caller).await?;
    Ok(Json([]))
}
