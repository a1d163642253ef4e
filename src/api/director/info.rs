//! What the director is, and whether the caller's credentials are good: clients log in by this call alone.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::fault::Fault;
use crate::api::door::{self, Caller};
use crate::coordinator::verbs::Verbs;

/// `GET /info`. Wrong credentials are as none: the user is null, and it is no error.
pub async fn show(State(verbs): State<Verbs>, caller: Caller) -> Result<Json<Value>, Fault> {
    let user = match caller.shows_nothing() {
        // Each command of the client asks this first, and is refused nothing.
        true => None,
        false => door::principal(&verbs, &caller, &[]).await.ok().map(|who| who.name),
    };
    let uuid = verbs.uuid().await.map_err(|refusal| Fault::of(&refusal, "/info"))?;
    Ok(Json(json!({
        "name": "sheaf",
        "uuid": uuid.to_string(),
        "version": concat!(env!("CARGO_PKG_VERSION"), " (00000000)"),
        "user": user,
        "cpi": "sheaf",
        "user_authentication": { "type": "basic", "options": {} },
        "features": { "snapshots": { "status": false }, "config_server": { "status": false } },
    })))
}
