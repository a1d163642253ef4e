//! A fleet's certificate sees that fleet and nothing beside it, through every API: neither other clusters' nodes, secrets and
//! deployments, nor what the very user who holds it does elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::house::{Answered, House};
use crate::node::{Agent, auth, online, until};

/// Two clusters with a node and a deployment each; the second is in a fleet, of which there is a certificate.
struct Site {
    house: House,
    edge: String,
    fleet: String,
    pair: (String, String),
    far: Agent,
    _near: Agent,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn new() -> Self {
        let house = House::configured(|config| config.limits.grace_secs = 600).await;
        let folder = tempfile::tempdir().expect("a folder");
        let made = async |path: &str, body: Value| {
            let made = house.call("POST", path, &auth(&house), &body.to_string()).await;
            assert_eq!(made.status, 201, "{made:?}");
            made.json()["id"].as_str().expect("an id").to_owned()
        };
        let edge = made("/sheaf/v1/clusters", json!({ "name": "edge" })).await;
        let fleet = made("/sheaf/v1/fleets", json!({ "name": "edges" })).await;
        made("/sheaf/v1/fleets", json!({ "name": "others" })).await;
        let put = house.call("PUT", "/sheaf/v1/fleets/edges/clusters/edge", &auth(&house), "").await;
        assert_eq!(put.status, 200, "{put:?}");
        let far = Agent::new(&house, folder.path(), "far-1", "default").await;
        let near = Agent::new(&house, folder.path(), "near-1", "edge").await;
        online(&house, "far-1", true).await;
        online(&house, "near-1", true).await;
        let wanted = json!({ "projectID": "p", "vpcID": "v", "subnetID": "s", "duration": 1 }).to_string();
        let headers = [auth(&house)[0], ("content-type", "application/json")];
        let config = house.call("POST", &format!("/v1/clustergroups/{fleet}/cert"), &headers, &wanted).await.json();
        let user = &config["users"][0]["user"];
        let pem = |name: &str| {
            let bytes = STANDARD.decode(user[name].as_str().expect("a text")).expect("base64");
            String::from_utf8(bytes).expect("PEM")
        };
        let pair = (pem("client-certificate-data"), pem("client-key-data"));
        Self { house, edge, fleet, pair, far, _near: near, _folder: folder }
    }

    /// By the certificate.
    async fn call(&self, method: &str, path: &str, body: &str) -> Answered {
        let kind = if body.starts_with('{') || body.is_empty() { "application/json" } else { "text/yaml" };
        self.house.certified_as((&self.pair.0, &self.pair.1), kind, (method, path, body)).await
    }

    /// A task by the admin's password; gives it as it ended.
    async fn done(&self, method: &str, path: &str, body: &str) -> Value {
        let kind = if path == "/deployments" { "text/yaml" } else { "application/json" };
        let headers = [auth(&self.house)[0], ("content-type", kind)];
        let begun = self.house.call(method, path, &headers, body).await;
        let id = match begun.status {
            302 => begun.header("location").rsplit('/').next().expect("an id").to_owned(),
            202 => begun.json()["id"].to_string(),
            _ => panic!("{begun:?}"),
        };
        let path = format!("/tasks/{id}");
        let mut task = Value::Null;
        until("the task is over", async || {
            task = self.house.call("GET", &path, &auth(&self.house), "").await.json();
            !["queued", "processing"].contains(&task["state"].as_str().expect("a state"))
        })
        .await;
        assert_eq!(task["state"], "done", "{task}");
        task
    }
}

fn manifest(name: &str, node: &str, pack: &str) -> String {
    format!(
        "name: {name}\nreleases:\n- {{name: {pack}, version: 1.4.0}}\ninstance_groups:\n- name: g\n  nodes: [{node}]\n  \
         jobs:\n  - {{name: sites, release: {pack}, properties: {{site: red}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleets_certificate_sees_nothing_beside_the_fleet() {
    let mut site = Site::new().await;
    let deploy_far = site.done("POST", "/deployments", &manifest("afar", "far-1", "web-pack")).await;
    site.done("POST", "/deployments", &manifest("close", "near-1", "edge-pack")).await;
    let of_far = site.done("POST", "/sheaf/v1/stored", &json!({ "cluster": "default" }).to_string()).await;
    let of_near = site.done("POST", "/sheaf/v1/stored", &json!({ "cluster": "edge" }).to_string()).await;
    let logs_far = site.done("GET", "/deployments/afar/jobs/*/*/logs?type=job", "").await;
    let blob = |task: &Value| task["result"].as_str().expect("a bundle").to_owned();

    // What is listed is the fleet's.
    let names = async |path: &str, member: &str| {
        let answer = site.call("GET", path, "").await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let rows = answer.json().as_array().expect("rows").clone();
        rows.iter().map(|row| row[member].to_string().replace('"', "")).collect::<Vec<_>>()
    };
    for (path, member, wanted) in [
        ("/sheaf/v1/clusters", "name", "edge"),
        ("/sheaf/v1/nodes", "name", "near-1"),
        ("/sheaf/v1/fleets", "name", "edges"),
        ("/sheaf/v1/secrets", "name", "near-1"),
        ("/sheaf/v1/deployments", "name", "close"),
        ("/sheaf/v1/tasks", "id", &of_near["id"].to_string()),
        ("/sheaf/v1/stored", "id", &blob(&of_near)),
        ("/api/vcenter/namespace-management/clusters", "cluster_name", "edge"),
        ("/api/v2/agent/secrets", "name", "near-1"),
        ("/deployments", "name", "close"),
        ("/tasks?verbose=2", "id", &of_near["id"].to_string()),
    ] {
        assert_eq!(names(path, member).await, [wanted], "{path}");
    }
    assert!(names("/sheaf/v1/certificates?fleet=edges", "fleet").await.iter().all(|fleet| fleet == "edges"));
    assert!(names("/releases", "name").await.iter().all(|pack| pack != "web-pack"));
    assert!(names("/releases", "name").await.contains(&"edge-pack".to_owned()));
    for path in ["/stemcells", "/deployments", "/tasks?verbose=2", "/sheaf/v1/tasks", "/sheaf/v1/nodes"] {
        let text = site.call("GET", path, "").await.text();
        for word in ["far-1", "afar", &site.house.cluster] {
            assert!(!text.contains(word), "{word} in {path}: {text}");
        }
    }

    // What is not the fleet's is refused, whoever began it, and nothing of it is said.
    let (deployed, bundled) = (deploy_far["id"].to_string(), of_far["id"].to_string());
    let cluster = &site.house.cluster;
    let wanted = json!({ "projectID": "p", "vpcID": "v", "subnetID": "s", "duration": 1 }).to_string();
    let yaml = manifest("afar", "near-1", "edge-pack");
    let mut calls: Vec<(&str, String, &str)> = vec![
        ("GET", "/sheaf/v1/clusters/default".into(), ""),
        ("GET", "/sheaf/v1/nodes/far-1".into(), ""),
        ("GET", "/sheaf/v1/nodes?cluster=default".into(), ""),
        ("DELETE", "/sheaf/v1/nodes/far-1".into(), ""),
        ("GET", "/sheaf/v1/fleets/others".into(), ""),
        ("GET", "/sheaf/v1/certificates?fleet=others".into(), ""),
        ("POST", "/sheaf/v1/secrets/far-1/revoke".into(), ""),
        ("POST", "/sheaf/v1/bundles".into(), r#"{"cluster":"default"}"#),
        ("POST", "/sheaf/v1/stored".into(), r#"{"cluster":"default"}"#),
        ("GET", format!("/sheaf/v1/stored/{}", blob(&of_far)), ""),
        ("GET", format!("/sheaf/v1/stored/{}/content", blob(&of_far)), ""),
        ("DELETE", format!("/sheaf/v1/stored/{}", blob(&of_far)), ""),
        ("GET", "/sheaf/v1/deployments/afar".into(), ""),
        ("DELETE", "/sheaf/v1/deployments/afar".into(), ""),
        ("GET", "/sheaf/v1/users".into(), ""),
        ("GET", "/sheaf/v1/audit".into(), ""),
        ("POST", format!("/api/vcenter/namespace-management/clusters/{cluster}/support-bundle"), ""),
        ("POST", "/api/v2/agent/secrets".into(), r#"{"name":"new"}"#),
        ("POST", "/api/v2/agent/secrets/far-1/revoke".into(), ""),
        ("GET", format!("/v1/clusters/{cluster}/accessinfo"), ""),
        ("POST", format!("/v1/clustergroups/{}/cert", site.fleet), &wanted),
        ("GET", "/deployments/afar".into(), ""),
        ("GET", "/deployments/afar/vms".into(), ""),
        ("GET", "/deployments/afar/vms?format=full".into(), ""),
        ("GET", "/deployments/afar/instances?format=full".into(), ""),
        ("GET", "/deployments/afar/jobs/*/*/logs?type=job".into(), ""),
        ("POST", "/deployments/afar/diff".into(), &yaml),
        ("POST", "/deployments".into(), &yaml),
        ("DELETE", "/deployments/afar".into(), ""),
        ("GET", format!("/resources/{}", blob(&logs_far)), ""),
    ];
    for task in [&deployed, &bundled] {
        for path in ["", "/events", "/debug", "/result"] {
            calls.push(("GET", format!("/sheaf/v1/tasks/{task}{path}"), ""));
        }
        calls.push(("POST", format!("/sheaf/v1/tasks/{task}/cancel"), ""));
        for path in ["", "/output?type=event", "/output?type=debug", "/output?type=result"] {
            calls.push(("GET", format!("/tasks/{task}{path}"), ""));
        }
        calls.push(("DELETE", format!("/task/{task}"), ""));
    }
    for (method, path, body) in &calls {
        let answer = site.call(method, path, body).await;
        assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
        assert!(!answer.text().contains("red"), "{method} {path}: {answer:?}");
    }
    let page = site.house.call("GET", "/sheaf/v1/audit?user=admin&limit=1000", &auth(&site.house), "").await.json();
    let records = page["records"].as_array().expect("records");
    let refused = records.iter().filter(|row| row["door"] == "certificate" && row["outcome"] == "refused").count();
    assert_eq!(refused, calls.len(), "each refusal is one record: {records:?}");

    // Nor does it stop what runs elsewhere.
    site.far.stop();
    online(&site.house, "far-1", false).await;
    let body = json!({ "cluster": "default" }).to_string();
    let waiting = site.house.call("POST", "/sheaf/v1/stored", &auth(&site.house), &body).await.json();
    let path = format!("/tasks/{}", waiting["id"]);
    let state = async || site.house.call("GET", &path, &auth(&site.house), "").await.json()["state"].clone();
    until("it runs", async || state().await == "processing").await;
    assert_eq!(site.call("POST", "/tasks/cancel", "").await.status, 204);
    assert_eq!(state().await, "processing");
    let mine = format!("/api/vcenter/namespace-management/clusters/{}/support-bundle", site.edge);
    assert_eq!(site.call("POST", &mine, "").await.status, 201, "its own cluster is its own");
    let path = format!("/task/{}", waiting["id"]);
    assert_eq!(site.house.call("DELETE", &path, &auth(&site.house), "").await.status, 204);
    until("it is over", async || state().await == "cancelled").await;
}
