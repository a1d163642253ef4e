//! Tasks through real listeners: turns and refusals in each dialect, cancelling, logs in parts, kept bundles in ranges.

use serde_json::{Value, json};

use crate::house::{Answered, House};

/// A node that is never there is waited for so long.
async fn slow_house(waiting: usize) -> House {
    House::with_node_and(|config| {
        config.limits.grace_secs = 3600;
        config.limits.waiting_bundles = waiting;
    })
    .await
}

async fn task(house: &House, id: &Value) -> Value {
    let admin = house.admin();
    house.call("GET", &format!("/sheaf/v1/tasks/{id}"), &[("authorization", &admin)], "").await.json()
}

async fn until_state(house: &House, id: &Value, state: &str) -> Value {
    loop {
        let task = task(house, id).await;
        if task["state"] == state {
            return task;
        }
        let over = ["done", "errored", "cancelled"].iter().any(|over| task["state"] == *over);
        assert!(!over, "{task} never becomes {state}");
        tokio::task::yield_now().await;
    }
}

async fn in_state(house: &House, state: &str) -> Vec<Value> {
    let admin = house.admin();
    let path = format!("/sheaf/v1/tasks?state={state}");
    let list = house.call("GET", &path, &[("authorization", &admin)], "").await.json();
    list.as_array().expect("an array").iter().map(|task| task["id"].clone()).collect()
}

async fn until_queued(house: &House) -> Value {
    loop {
        if let Some(id) = in_state(house, "queued").await.pop() {
            return id;
        }
        tokio::task::yield_now().await;
    }
}

async fn events(house: &House, id: &Value) -> String {
    let admin = house.admin();
    house.call("GET", &format!("/sheaf/v1/tasks/{id}/events"), &[("authorization", &admin)], "").await.text()
}

#[tokio::test]
async fn a_full_queue_is_said_in_each_dialect_and_spends_no_token() {
    let house = slow_house(0).await;
    let admin = house.admin();
    let header = [("authorization", admin.as_str())];
    let first = house.begin("POST", "/sheaf/v1/bundles", &header, r#"{"cluster":"default"}"#).await;
    assert_eq!(first.head.status, 200, "{:?}", first.head);
    let running = first.head.header("sheaf-task").to_owned();

    let refused = house.call("POST", "/sheaf/v1/bundles", &header, r#"{"cluster":"default"}"#).await;
    assert_eq!((refused.status, refused.json()["code"].clone()), (429, json!("too_many")), "{refused:?}");
    assert!(refused.text().contains(&format!("task {running}")), "{refused:?}");
    assert!(!refused.header("retry-after").is_empty());
    let kept = house.call("POST", "/sheaf/v1/stored", &header, r#"{"cluster":"default"}"#).await;
    assert_eq!(kept.status, 429, "{kept:?}");

    let path = format!("/api/vcenter/namespace-management/clusters/{}/support-bundle", house.cluster);
    let given = house.call("POST", &path, &header, "").await.json();
    let token = given["wcp_support_bundle_token"]["token"].as_str().expect("a token").to_owned();
    let download =
        given["url"].as_str().and_then(|url| url.strip_prefix(&house.url)).expect("a URL of ours").to_owned();
    let spend = [("wcp-support-bundle-token", token.as_str())];
    let busy = house.call("GET", &download, &spend, "").await;
    assert_eq!((busy.status, busy.json()["error_type"].clone()), (503, json!("SERVICE_UNAVAILABLE")), "{busy:?}");

    // The client leaves, and its turn is free.
    drop(first);
    until_state(&house, &running.parse().expect("a number"), "cancelled").await;
    let again = house.begin("GET", &download, &spend, "").await;
    assert_eq!(again.head.status, 200, "the token was not used up: {:?}", again.head);
    let used = house.call("GET", &download, &spend, "").await;
    assert_eq!((used.status, used.json()["error_type"].clone()), (401, json!("UNAUTHENTICATED")));
}

#[tokio::test]
async fn a_download_begins_when_its_turn_comes_and_is_cut_when_cancelled() {
    let house = slow_house(1).await;
    let admin = house.admin();
    let header = [("authorization", admin.as_str())];
    let wanted = r#"{"cluster":"default"}"#;
    let first = house.begin("POST", "/sheaf/v1/bundles", &header, wanted).await;
    let running: Value = first.head.header("sheaf-task").parse().expect("a number");
    let second = house.begin("POST", "/sheaf/v1/bundles", &header, wanted);
    let turn = async {
        let waits = until_queued(&house).await;
        while !events(&house, &waits).await.contains(&format!("waits for task {running}")) {
            tokio::task::yield_now().await;
        }
        let asked = house.call("POST", &format!("/sheaf/v1/tasks/{running}/cancel"), &header, "").await;
        assert_eq!(asked.status, 202, "{asked:?}");
        waits
    };
    let (second, waits) = tokio::join!(second, turn);
    assert_eq!((second.head.status, second.head.header("sheaf-task")), (200, waits.to_string().as_str()));
    let cut = first.collected().await;
    assert!(!cut.whole, "a cancelled bundle never ends cleanly");
    assert_eq!(until_state(&house, &running, "cancelled").await["result"], "cancelled");
    let late = house.call("POST", &format!("/sheaf/v1/tasks/{running}/cancel"), &header, "").await;
    assert_eq!((late.status, late.json()["code"].clone()), (409, json!("conflict")), "{late:?}");
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_waits_leaves_the_queue() {
    let house = slow_house(1).await;
    let admin = house.admin();
    let header = [("authorization", admin.as_str())];
    let wanted = r#"{"cluster":"default"}"#;
    let _first = house.begin("POST", "/sheaf/v1/bundles", &header, wanted).await;
    let waits = tokio::select! {
        second = house.begin("POST", "/sheaf/v1/bundles", &header, wanted) => panic!("{:?}", second.head),
        waits = until_queued(&house) => waits,
    };
    let left = until_state(&house, &waits, "cancelled").await;
    assert!(left["result"].as_str().expect("a line").contains("went away"), "{left}");
}

#[tokio::test]
async fn tasks_are_asked_for_by_state_and_their_logs_in_parts() {
    let house = House::with_node().await;
    let admin = house.admin();
    let header = [("authorization", admin.as_str())];
    let done = house.call("POST", "/sheaf/v1/bundles", &header, r#"{"cluster":"default"}"#).await;
    assert!(done.whole);
    let id: Value = done.header("sheaf-task").parse().expect("a number");
    let shown = until_state(&house, &id, "done").await;
    assert_eq!((shown["kind"].clone(), shown["user"].clone()), (json!("bundle"), json!("admin")));
    assert_eq!(in_state(&house, "done,errored").await, std::slice::from_ref(&id));
    assert!(in_state(&house, "queued,processing,cancelling").await.is_empty());
    let unknown = house.call("GET", "/sheaf/v1/tasks?state=error", &header, "").await;
    assert_eq!((unknown.status, unknown.json()["code"].clone()), (400, json!("invalid")), "{unknown:?}");

    let log = async |log: &str, from: usize| -> Answered {
        house.call("GET", &format!("/sheaf/v1/tasks/{id}/{log}?from={from}"), &header, "").await
    };
    let whole = log("events", 0).await;
    let total: usize = whole.header("sheaf-log-total").parse().expect("a number");
    assert_eq!(whole.body.len(), total);
    let tail = log("events", total - 10).await;
    assert_eq!(tail.body, whole.body.slice(total - 10..));
    let past = log("events", total + 5).await;
    assert_eq!((past.status, past.body.len()), (200, 0));
    for stage in ["Preparing", "Collecting", "Sealing"] {
        assert!(whole.text().contains(&format!("\"stage\":\"{stage}\"")), "{}", whole.text());
    }
    assert!(log("result", 0).await.text().contains("\"verdict\":\"partial\""));
    assert!(log("debug", 0).await.text().contains("1 node,"));
    for path in ["/sheaf/v1/tasks/999", "/sheaf/v1/tasks/999/result", "/sheaf/v1/tasks/999/events"] {
        assert_eq!(house.call("GET", path, &header, "").await.status, 404, "{path}");
    }
    assert_eq!(house.call("GET", "/sheaf/v1/tasks/x", &header, "").await.status, 400);
}

#[tokio::test]
async fn a_kept_bundle_is_listed_and_read_in_ranges_until_it_is_deleted() {
    let house = House::with_node().await;
    let admin = house.admin();
    let header = [("authorization", admin.as_str())];
    let made = house.call("POST", "/sheaf/v1/stored", &header, r#"{"cluster":"default","format":"tar"}"#).await;
    assert_eq!(made.status, 202, "{made:?}");
    let done = until_state(&house, &made.json()["id"], "done").await;
    let id = done["result"].as_str().expect("the kept bundle's id").to_owned();
    let list = house.call("GET", "/sheaf/v1/stored", &header, "").await.json();
    let row = &list.as_array().expect("an array")[0];
    let expected = (json!(id), json!("partial"), json!("tar"), json!("default"));
    assert_eq!((row["id"].clone(), row["verdict"].clone(), row["format"].clone(), row["of"].clone()), expected);
    assert_eq!(house.call("GET", &format!("/sheaf/v1/stored/{id}"), &header, "").await.json(), *row);

    let path = format!("/sheaf/v1/stored/{id}/content");
    let whole = house.call("GET", &path, &header, "").await;
    let size = whole.body.len();
    assert_eq!((whole.status, json!(size)), (200, row["bytes"].clone()));
    assert_eq!((whole.header("accept-ranges"), whole.header("content-type")), ("bytes", "application/tar"));
    let name = row["name"].as_str().expect("a name");
    assert_eq!(whole.header("content-disposition"), format!("attachment; filename={name}.tar"));
    let tag = whole.header("etag").to_owned();
    let part = async |range: &str, if_range: &str| -> Answered {
        let headers = [("authorization", admin.as_str()), ("range", range), ("if-range", if_range)];
        let given = if if_range.is_empty() { 2 } else { 3 };
        house.call("GET", &path, &headers[..given], "").await
    };
    let rest = part("bytes=100-", &tag).await;
    assert_eq!((rest.status, rest.header("content-range")), (206, format!("bytes 100-{}/{size}", size - 1).as_str()));
    assert_eq!(rest.body, whole.body.slice(100..));
    assert_eq!(part("bytes=0-0", "").await.body, whole.body.slice(..1));
    assert_eq!(part("bytes=100-", "\"another\"").await.status, 200);
    let past = part(&format!("bytes={size}-"), "").await;
    assert_eq!((past.status, past.header("content-range")), (416, format!("bytes */{size}").as_str()));
    assert_eq!(past.json()["code"], "range");

    let viewer = house.user("looker", sheaf::coordinator::principal::Role::Viewer).await;
    let looks = [("authorization", viewer.as_str())];
    assert_eq!(house.call("GET", "/sheaf/v1/stored", &looks, "").await.status, 200);
    assert_eq!(house.call("GET", &path, &looks, "").await.status, 403);
    assert_eq!(house.call("DELETE", &format!("/sheaf/v1/stored/{id}"), &looks, "").await.status, 403);
    assert_eq!(house.call("DELETE", &format!("/sheaf/v1/stored/{id}"), &header, "").await.status, 204);
    assert_eq!(house.call("GET", &path, &header, "").await.status, 404);
    assert_eq!(house.call("DELETE", &format!("/sheaf/v1/stored/{id}"), &header, "").await.status, 404);
    assert_eq!(house.call("GET", "/sheaf/v1/stored/no-id", &header, "").await.status, 400);
}
