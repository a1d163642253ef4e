//! The native API through a real listener, and the pages for machines that watch.

use serde_json::{Value, json};

use sheaf::coordinator::principal::Role;

use crate::house::{Answered, House, basic};

fn is_problem(answer: &Answered, status: u16, code: &str, what: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert_eq!(answer.json()["code"], json!(code), "{what}: {answer:?}");
    assert!(answer.json()["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}: {answer:?}");
}

#[tokio::test]
async fn every_door_names_the_same_user() {
    let house = House::new().await;
    let admin = house.admin();
    let grant = house.call("POST", "/sheaf/v1/session", &[("authorization", &admin)], "").await;
    assert_eq!(grant.status, 201, "{grant:?}");
    let token = grant.json()["token"].as_str().expect("a token").to_owned();
    let bearer = format!("Bearer {token}");
    for header in [
        ("authorization", admin.as_str()),
        ("authorization", bearer.as_str()),
        ("vmware-api-session-id", token.as_str()),
        ("x-jwt-token", token.as_str()),
    ] {
        let who = house.call("GET", "/sheaf/v1/session", &[header], "").await;
        assert_eq!((who.status, who.json()), (200, json!({ "user": "admin", "role": "admin" })), "{header:?}");
    }
    assert_eq!(house.call("DELETE", "/sheaf/v1/session", &[("authorization", &bearer)], "").await.status, 204);
    let ended = house.call("GET", "/sheaf/v1/session", &[("authorization", &bearer)], "").await;
    is_problem(&ended, 401, "unauthenticated", "an ended session");
    assert!(!ended.header("www-authenticate").is_empty());
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used() {
    let house = House::new().await;
    let grant = house.call("POST", "/sheaf/v1/session", &[("authorization", &house.admin())], "").await;
    let bearer = format!("Bearer {}", grant.json()["token"].as_str().expect("a token"));
    let header = [("authorization", bearer.as_str())];
    house.clock.advance(std::time::Duration::from_secs(1700));
    assert_eq!(house.call("GET", "/sheaf/v1/session", &header, "").await.status, 200);
    house.clock.advance(std::time::Duration::from_secs(1700));
    assert_eq!(house.call("GET", "/sheaf/v1/session", &header, "").await.status, 200);
    house.clock.advance(std::time::Duration::from_secs(1801));
    is_problem(&house.call("GET", "/sheaf/v1/session", &header, "").await, 401, "unauthenticated", "an old session");
}

#[tokio::test]
async fn clusters_come_and_go() {
    let house = House::new().await;
    let admin = house.admin();
    let header = [("authorization", admin.as_str())];
    let made = house.call("POST", "/sheaf/v1/clusters", &header, r#"{"name":"edge","managed":true}"#).await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let all = house.call("GET", "/sheaf/v1/clusters", &header, "").await.json();
    let names: Vec<&Value> = all.as_array().expect("an array").iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["default", "edge"]);
    for name in [id.as_str(), "edge"] {
        let shown = house.call("GET", &format!("/sheaf/v1/clusters/{name}"), &header, "").await;
        assert_eq!((shown.status, &shown.json()["managed"]), (200, &json!(true)));
    }
    let again = house.call("POST", "/sheaf/v1/clusters", &header, r#"{"name":"edge"}"#).await;
    is_problem(&again, 409, "conflict", "a taken name");
    assert_eq!(house.call("DELETE", &format!("/sheaf/v1/clusters/{id}"), &header, "").await.status, 204);
    is_problem(&house.call("GET", "/sheaf/v1/clusters/edge", &header, "").await, 404, "not_found", "a deleted cluster");
}

#[tokio::test]
async fn every_error_is_a_problem() {
    let house = House::new().await;
    let admin = house.admin();
    let good: &[(&str, &str)] = &[("authorization", &admin)];
    let viewer = house.user("watcher", Role::Viewer).await;
    let viewing: &[(&str, &str)] = &[("authorization", &viewer)];
    let wrong = basic("admin", "wrong");
    let bundle = |cluster: &str| json!({ "cluster": cluster }).to_string();
    let long = "x".repeat(70_000);
    for (method, path, headers, body, status, code) in [
        ("POST", "/sheaf/v1/session", &[("authorization", wrong.as_str())][..], String::new(), 401, "unauthenticated"),
        ("GET", "/sheaf/v1/clusters", &[], String::new(), 401, "unauthenticated"),
        ("POST", "/sheaf/v1/clusters", good, "{".to_owned(), 400, "bad_body"),
        ("POST", "/sheaf/v1/clusters", good, r#"{"name":"a/b"}"#.to_owned(), 400, "bad_body"),
        ("POST", "/sheaf/v1/clusters", good, r#"["edge"]"#.to_owned(), 400, "bad_body"),
        ("POST", "/sheaf/v1/clusters", good, long, 413, "too_large"),
        ("POST", "/sheaf/v1/clusters", viewing, r#"{"name":"x"}"#.to_owned(), 403, "forbidden"),
        ("DELETE", "/sheaf/v1/clusters/nowhere", good, String::new(), 404, "not_found"),
        ("PUT", "/sheaf/v1/clusters", good, String::new(), 405, "method_not_allowed"),
        ("GET", "/sheaf/v1/nodes/nobody", good, String::new(), 404, "not_found"),
        ("GET", "/sheaf/v1/nodes/nobody/history", good, String::new(), 404, "not_found"),
        ("GET", "/sheaf/v1/nodes/nobody/history?since_secs=-1", good, String::new(), 400, "invalid"),
        ("GET", "/sheaf/v1/nodes?cluster=nowhere", good, String::new(), 404, "not_found"),
        ("POST", "/sheaf/v1/secrets/nobody/revoke?now=true", good, String::new(), 404, "not_found"),
        ("POST", "/sheaf/v1/secrets/nobody/revoke?now=7", good, String::new(), 400, "invalid"),
        ("GET", "/sheaf/v1/tasks/77", good, String::new(), 404, "not_found"),
        ("GET", "/sheaf/v1/tasks/x", good, String::new(), 400, "invalid"),
        ("GET", "/sheaf/v1/tasks/1/events?from=-1", good, String::new(), 400, "invalid"),
        ("POST", "/sheaf/v1/bundles", viewing, bundle("default"), 403, "forbidden"),
        ("POST", "/sheaf/v1/bundles", good, bundle("nowhere"), 404, "not_found"),
        ("GET", "/sheaf/v1/nothing", good, String::new(), 404, "unknown_route"),
    ] {
        is_problem(&house.call(method, path, headers, &body).await, status, code, &format!("{method} {path}"));
    }
}

#[tokio::test]
async fn a_bundle_names_its_task_and_its_key() {
    let house = House::with_node().await;
    let admin = house.admin();
    let header = [("authorization", admin.as_str())];
    let body = json!({ "cluster": "default", "format": "tar", "case": "4711" }).to_string();
    let answer = house.call("POST", "/sheaf/v1/bundles", &header, &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.whole && answer.header("sheaf-bundle").starts_with("sheaf_default_"));
    assert_eq!(answer.header("sheaf-seal-key").len(), 44);
    let task = answer.header("sheaf-task");
    let shown = house.call("GET", &format!("/sheaf/v1/tasks/{task}"), &header, "").await;
    assert_eq!((&shown.json()["state"], &shown.json()["user"]), (&json!("done"), &json!("admin")));
    let events = house.call("GET", &format!("/sheaf/v1/tasks/{task}/events"), &header, "").await;
    assert_eq!(events.header("sheaf-log-total"), events.body.len().to_string());
    assert!(events.body.ends_with(b"\n"));
    for line in events.text().lines() {
        let event: Value = serde_json::from_str(line).expect("one object a line");
        assert!(event["time"].is_i64(), "{line}");
    }
    let rest =
        house.call("GET", &format!("/sheaf/v1/tasks/{task}/events?from={}", events.body.len()), &header, "").await;
    assert_eq!((rest.status, rest.body.len()), (200, 0));
    let over = house.call("POST", &format!("/sheaf/v1/tasks/{task}/cancel"), &header, "").await;
    is_problem(&over, 409, "conflict", "a task that is over");
}

#[tokio::test]
async fn machines_that_watch_need_no_credential() {
    let house = House::new().await;
    for (path, text) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let answer = house.call("GET", path, &[], "").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, text));
    }
    house.call("GET", "/api/vcenter/vm", &[], "").await;
    let metrics = house.call("GET", "/metrics", &[], "").await;
    assert_eq!(metrics.status, 200, "{metrics:?}");
    for line in ["sheaf_clusters 1", "sheaf_http_answers_total{api=\"vcenter\",status=\"4xx\"} 1"] {
        assert!(metrics.text().lines().any(|found| found == line), "{line} in\n{}", metrics.text());
    }
}
