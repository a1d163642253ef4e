//! The log management dialect through a real listener: log-ins, and the agent secrets with all that can be refused.

use serde_json::{Value, json};

use sheaf::coordinator::principal::Role;

use crate::house::{Answered, House};
use crate::node::{Agent, online};

const SECRETS: &str = "/api/v2/agent/secrets";
const EXCHANGE: &str = "/api/v2/agent/secrets/exchange";

async fn token(house: &House) -> String {
    let body = json!({ "username": "admin", "password": house.password, "provider": "Local" }).to_string();
    let answer = house.call("POST", "/api/v2/sessions", &[], &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!((&answer.json()["ttl"], &answer.json()["userId"]), (&json!(1800), &json!("admin")));
    answer.json()["sessionId"].as_str().expect("a session").to_owned()
}

async fn create(house: &House, token: &str, body: &Value) -> Answered {
    house.call("POST", SECRETS, &[("x-jwt-token", token)], &body.to_string()).await
}

async fn exchange(house: &House, body: &Value) -> Answered {
    house.call("POST", EXCHANGE, &[], &body.to_string()).await
}

fn is_error(answer: &Answered, status: u16, code: &str, what: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert!(answer.header("content-type").starts_with("application/json"), "{what}: {answer:?}");
    let body = answer.json();
    assert_eq!((&body["errorCode"], &body["errorDetails"]), (&json!(code), &json!({})), "{what}: {body}");
    assert!(body["errorMessage"].as_str().is_some_and(|text| !text.is_empty()), "{what}: {body}");
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn each_log_in_opens_the_operations() {
    let house = House::new().await;
    let session = token(&house).await;
    let body = json!({ "username": "admin", "password": house.password, "authSource": "LOCAL" }).to_string();
    let acquired = house.call("POST", "/suite-api/api/auth/token/acquire", &[], &body).await;
    assert_eq!(acquired.status, 200, "{acquired:?}");
    assert_eq!(members(&acquired.json()), ["expiresAt", "roles", "token", "validity"]);
    let ops = format!("OpsToken {}", acquired.json()["token"].as_str().expect("a token"));
    let asked = json!({ "serviceKeys": ["ops-li"] }).to_string();
    let path = "/suite-api/api/auth/token/exchange";
    let exchanged = house.call("POST", path, &[("authorization", &ops)], &asked).await;
    assert_eq!(exchanged.status, 200, "{exchanged:?}");
    let jwt = exchanged.json()["jwtToken"].as_str().expect("a token").to_owned();
    for credential in [&session, &jwt] {
        let bearer = format!("Bearer {credential}");
        for header in [("x-jwt-token", credential.as_str()), ("authorization", &bearer)] {
            assert_eq!(house.call("GET", SECRETS, &[header], "").await.status, 200, "{header:?}");
        }
    }
    let released = house.call("POST", "/suite-api/api/auth/token/release", &[("authorization", &ops)], "").await;
    assert_eq!(released.status, 200, "{released:?}");
    is_error(&house.call("POST", path, &[("authorization", &ops)], &asked).await, 401, "FIELD_ERROR", path);
}

#[tokio::test]
async fn a_log_in_that_fails_is_a_401_in_its_own_words() {
    let house = House::new().await;
    for path in ["/api/v2/sessions", "/suite-api/api/auth/token/acquire"] {
        for (body, status, code) in [
            (json!({ "username": "admin", "password": "wrong" }).to_string(), 401, "FIELD_ERROR"),
            (json!({ "username": "admin" }).to_string(), 401, "FIELD_ERROR"),
            (json!({}).to_string(), 401, "FIELD_ERROR"),
            (json!([]).to_string(), 400, "JSON_FORMAT_ERROR"),
            (String::new(), 400, "JSON_FORMAT_ERROR"),
            ("{".to_owned(), 400, "JSON_FORMAT_ERROR"),
            (json!({ "username": "x".repeat(70_000) }).to_string(), 413, "LIMIT_ERROR"),
        ] {
            is_error(&house.call("POST", path, &[], &body).await, status, code, path);
        }
        is_error(&house.call("GET", path, &[], "").await, 405, "API_ERROR", path);
    }
    is_error(&house.call("GET", "/api/v2/version", &[], "").await, 404, "API_ERROR", "unknown");
    is_error(&house.call("GET", "/suite-api/api/x", &[], "").await, 404, "API_ERROR", "unknown");
}

#[tokio::test]
async fn missing_and_bad_credentials_are_403() {
    let house = House::new().await;
    let viewer = house.user("watcher", Role::Viewer).await;
    let revoke = format!("{SECRETS}/n1/revoke");
    for (method, path, body) in [("POST", SECRETS, "{\"name\":\"n1\"}"), ("GET", SECRETS, ""), ("POST", &revoke, "")] {
        for headers in
            [&[][..], &[("x-jwt-token", "wrong")], &[("authorization", "Bearer wrong")], &[("authorization", "x")]]
        {
            is_error(&house.call(method, path, headers, body).await, 403, "SECURITY_ERROR", path);
        }
        if method == "POST" {
            let answer = house.call(method, path, &[("authorization", &viewer)], body).await;
            is_error(&answer, 403, "SECURITY_ERROR", path);
        }
    }
}

#[tokio::test]
async fn a_secret_lives_from_create_to_revoke() {
    let house = House::new().await;
    let admin = token(&house).await;
    let made = create(&house, &admin, &json!({ "name": "n1" })).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(members(&made.json()), ["id", "name", "secret", "status"]);
    assert_eq!((&made.json()["name"], &made.json()["status"]), (&json!("n1"), &json!("ACTIVE")));
    let secret = made.json()["secret"].clone();

    let listed = house.call("GET", SECRETS, &[("x-jwt-token", &admin)], "").await;
    assert_eq!(members(&listed.json()[0]), ["id", "modificationTime", "name", "status"]);
    assert!(!listed.text().contains(secret.as_str().expect("a secret")), "a list shows no secret");

    let first = exchange(&house, &json!({ "secret": secret })).await;
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(members(&first.json()), ["access_token", "name", "new_secret", "ttl"]);
    assert_eq!((&first.json()["ttl"], &first.json()["name"]), (&json!(1_800_000), &json!("n1")));
    // An agent may lose the answer: the old secret is good until the new one is used.
    let again = exchange(&house, &json!({ "secret": secret, "ttl": 60_000 })).await;
    assert_eq!((again.status, &again.json()["ttl"]), (200, &json!(60_000)));
    let rotated = again.json()["new_secret"].clone();
    assert_ne!(rotated, secret);
    assert_eq!(exchange(&house, &json!({ "secret": rotated })).await.status, 200);
    is_error(&exchange(&house, &json!({ "secret": secret })).await, 400, "AGENT_ERROR", "the retired secret");

    let revoked = house.call("POST", &format!("{SECRETS}/n1/revoke"), &[("x-jwt-token", &admin)], "").await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    assert_eq!(members(&revoked.json()), ["id", "name", "status"]);
    assert_eq!(revoked.json()["status"], json!("REVOKED"));
    is_error(&exchange(&house, &json!({ "secret": rotated })).await, 400, "AGENT_ERROR", "the revoked secret");
    // A revoked name stays taken.
    is_error(&create(&house, &admin, &json!({ "name": "n1" })).await, 400, "AGENT_ERROR", "the name");
}

#[tokio::test]
async fn what_cannot_be_created_exchanged_or_revoked() {
    let house = House::new().await;
    let admin = token(&house).await;
    assert_eq!(create(&house, &admin, &json!({ "name": "taken", "cluster": "default" })).await.status, 201);
    for (body, code) in [
        (json!({}), "FIELD_ERROR"),
        (json!({ "name": null }), "FIELD_ERROR"),
        (json!({ "name": 7 }), "FIELD_ERROR"),
        (json!({ "name": "" }), "VALIDATION_ERROR"),
        (json!({ "name": "../x" }), "VALIDATION_ERROR"),
        (json!({ "name": "a b" }), "VALIDATION_ERROR"),
        (json!({ "name": "x".repeat(64) }), "VALIDATION_ERROR"),
        (json!({ "name": "n2", "cluster": "nowhere" }), "VALIDATION_ERROR"),
        (json!({ "name": "taken" }), "AGENT_ERROR"),
        (json!([1]), "JSON_FORMAT_ERROR"),
    ] {
        is_error(&create(&house, &admin, &body).await, 400, code, &body.to_string());
    }
    let secret = create(&house, &admin, &json!({ "name": "n3" })).await.json()["secret"].clone();
    for (body, code) in [
        (json!({}), "FIELD_ERROR"),
        (json!({ "secret": 1 }), "FIELD_ERROR"),
        (json!({ "secret": "" }), "AGENT_ERROR"),
        (json!({ "secret": "sheaf1.0011223344556677.x" }), "AGENT_ERROR"),
        (json!({ "secret": secret, "ttl": "60000" }), "FIELD_ERROR"),
        (json!({ "secret": secret, "ttl": -1 }), "FIELD_ERROR"),
        (json!({ "secret": secret, "ttl": 60_000.5 }), "FIELD_ERROR"),
        (json!({ "secret": secret, "ttl": 59_999 }), "VALIDATION_ERROR"),
        (json!({ "secret": secret, "ttl": 15_552_000_001_u64 }), "VALIDATION_ERROR"),
        (json!("secret"), "JSON_FORMAT_ERROR"),
    ] {
        is_error(&exchange(&house, &body).await, 400, code, &body.to_string());
    }
    for (ttl, expected) in
        [(json!(null), 1_800_000), (json!(0), 1_800_000), (json!(15_552_000_000_u64), 15_552_000_000_u64)]
    {
        let answer = exchange(&house, &json!({ "secret": secret, "ttl": ttl })).await;
        assert_eq!((answer.status, answer.json()["ttl"].clone()), (200, json!(expected)), "{ttl}");
    }
    for name in ["nobody", "..%2f..%2fetc", "%00", "%ff"] {
        let path = format!("{SECRETS}/{name}/revoke");
        is_error(&house.call("POST", &path, &[("x-jwt-token", &admin)], "").await, 400, "AGENT_ERROR", &path);
    }
}

#[tokio::test]
async fn a_list_has_pages() {
    let house = House::new().await;
    let admin = token(&house).await;
    for number in 0..25 {
        assert_eq!(create(&house, &admin, &json!({ "name": format!("n{number:02}") })).await.status, 201);
    }
    let rows = async |query: &str| {
        let answer = house.call("GET", &format!("{SECRETS}{query}"), &[("x-jwt-token", &admin)], "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let rows = answer.json();
        rows.as_array()
            .expect("a bare array")
            .iter()
            .map(|row| row["name"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(rows("").await.len(), 25);
    let (first, second) = (rows("?page=0&size=20&sort=").await, rows("?page=1&size=20").await);
    assert_eq!((first.len(), second.len(), first[0].as_str(), second[0].as_str()), (20, 5, "n00", "n20"));
    assert_eq!(rows("?page=0&size=1&sort=name,desc").await, ["n24"]);
    assert!(rows("?page=9").await.is_empty());
    for query in ["?page=-1", "?size=0", "?sort=secret"] {
        let answer = house.call("GET", &format!("{SECRETS}{query}"), &[("x-jwt-token", &admin)], "").await;
        is_error(&answer, 400, "FIELD_ERROR", query);
    }
}

#[tokio::test]
async fn a_secret_is_created_once_however_many_ask() {
    let house = House::new().await;
    let admin = token(&house).await;
    let body = json!({ "name": "n1" });
    let answers = futures_util::future::join_all((0..8).map(|_| create(&house, &admin, &body))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 400, 400, 400, 400, 400, 400, 400]);
}

/// A real agent lives by its secret over restarts of the coordinator, until the secret is revoked; and what was spent stays spent.
#[tokio::test]
async fn secrets_and_those_who_hold_them_outlive_restarts() {
    let mut house = House::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let _node = Agent::new(&house, folder.path(), "n1", "default").await;
    online(&house, "n1", true).await;
    let admin = token(&house).await;
    let secret = create(&house, &admin, &json!({ "name": "n2" })).await.json()["secret"].clone();
    house.restart().await;
    online(&house, "n1", true).await;
    let listed = house.call("GET", SECRETS, &[("x-jwt-token", &admin)], "").await.json();
    let names: Vec<_> = listed.as_array().expect("rows").iter().map(|row| (&row["name"], &row["status"])).collect();
    assert_eq!(names, [(&json!("n1"), &json!("ACTIVE")), (&json!("n2"), &json!("ACTIVE"))]);
    let rotated = exchange(&house, &json!({ "secret": secret })).await.json()["new_secret"].clone();
    house.restart().await;
    assert_eq!(exchange(&house, &json!({ "secret": rotated })).await.status, 200, "the next one is known again");
    is_error(&exchange(&house, &json!({ "secret": secret })).await, 400, "AGENT_ERROR", "the retired secret");

    online(&house, "n1", true).await;
    let revoked = house.call("POST", &format!("{SECRETS}/n1/revoke"), &[("x-jwt-token", &admin)], "").await;
    assert_eq!((revoked.status, &revoked.json()["status"]), (200, &json!("REVOKED")), "{revoked:?}");
    house.restart().await;
    let listed = house.call("GET", SECRETS, &[("x-jwt-token", &admin)], "").await.json();
    assert_eq!(listed[0]["status"], "REVOKED", "{listed}");
    is_error(&create(&house, &admin, &json!({ "name": "n1" })).await, 400, "AGENT_ERROR", "the name stays taken");
}
