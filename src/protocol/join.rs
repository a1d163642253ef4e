//! How nodes join: the access info that a coordinator gives out once, and the call that trades it for an agent secret.
//!
//! The coordinator makes the access info, as Kubernetes manifests; whatever of it was saved, a node reads here. Then, over mutual
//! TLS with the join certificate, `POST /agent/v1/join` on the agents' listener: a [`JoinRequest`], answered 200 with a
//! [`JoinReply`], else a [`super::problem::Problem`]. The certificate names the cluster; a name in the body is only claimed.
//! Nothing here opens a file or a socket.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use serde_saphyr::{Options, alias_limits, budget, options};

use crate::id::NodeName;
use crate::secret::Secret;

/// Where a node joins.
pub const JOIN: &str = "/agent/v1/join";
/// What stands in place of access info that was downloaded before.
pub const DOWNLOADED: &str = "Downloaded";
/// The name of the manifest that holds the join certificate.
pub const SECRET_NAME: &str = "sheaf-agent-cert";
/// Its members, and the names of files where it is mounted: the coordinator's CA, the certificate, its key, the URL.
pub const MEMBERS: [&str; 4] = ["ca.crt", "sheaf-agent.crt", "sheaf-agent.key", "endpoint"];

/// Bytes of a saved access info at most.
pub const MOST: usize = 1 << 20;
/// Levels of lists and mappings inside each other, and values of all kinds.
const DEPTH: usize = 32;
const NODES: usize = 10_000;

/// What a node needs to join a cluster.
#[derive(Clone)]
pub struct AccessInfo {
    /// URL of the agents' listener.
    pub endpoint: String,
    /// The CA that it is known by, PEM.
    pub ca: String,
    /// The join certificate, PEM.
    pub certificate: String,
    /// The join certificate's key, PEM.
    pub key: Secret,
}

/// By hand: where it leads is all that may be printed.
impl fmt::Debug for AccessInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessInfo").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Why a text is no access info.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// It is the answer to a second download.
    #[error(
        "it says only that the access info was downloaded before; `sheaf cluster access-info CLUSTER --reset` lets it be downloaded anew"
    )]
    Downloaded,
    /// There is nothing in it.
    #[error("it is empty; `sheaf cluster access-info CLUSTER --output FILE` writes access info")]
    Empty,
    /// It ends before its end.
    #[error("it is cut: its JSON ends in line {0} before it is whole; copy it again")]
    Cut(u64),
    /// It is neither JSON nor YAML; in which line that shows.
    #[error(
        "it is no access info: neither JSON, as `sheaf cluster access-info` writes it, nor the same as YAML (line {0})"
    )]
    Unreadable(u64),
    /// It has other things in it than manifests.
    #[error("it is no access info: manifests are expected, as `sheaf cluster access-info` writes them")]
    NoManifests,
    /// It is longer than any.
    #[error("it is no access info: it is longer than {} KiB", MOST >> 10)]
    TooLong,
    /// No manifest in it holds a join certificate.
    #[error("it holds no Secret `sheaf-agent-cert`, which is the first of the two manifests of an access info")]
    NoSecret,
    /// A member of the Secret is missing or makes no sense.
    #[error("the Secret `sheaf-agent-cert` in it has no usable `{0}`; was it cut or changed?")]
    Member(&'static str),
}

impl AccessInfo {
    /// The manifests: the Secret, and the DaemonSet that runs `image` on every node.
    pub fn manifests(&self, image: &str) -> [Value; 2] {
        let values = [&self.ca, &self.certificate, self.key.expose(), &self.endpoint];
        let data: serde_json::Map<_, _> = MEMBERS
            .iter()
            .zip(values)
            .map(|(name, value)| ((*name).to_owned(), Value::String(STANDARD.encode(value))))
            .collect();
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": SECRET_NAME, "namespace": NAMESPACE, "labels": labels() },
            "type": "Opaque",
            "data": data,
        });
        [secret, daemon_set(image)]
    }

    /// Reads what was saved of it: the array of strings as it was downloaded, a `List`, or manifests one after the other,
    /// with or without `---` between them; as JSON, or as the YAML that `kubectl` and people make of it. What is said of a text that
    /// cannot be read never repeats any of it, since it may hold the key.
    ///
    /// # Errors
    /// When there is no join certificate in it.
    pub fn read(text: &str) -> Result<Self, AccessError> {
        if text.len() > MOST {
            return Err(AccessError::TooLong);
        }
        let mut found = Vec::new();
        for value in documents(text)? {
            manifests_in(value, &mut found)?;
        }
        let secret = found
            .iter()
            .find(|m| m["kind"] == "Secret" && m["metadata"]["name"] == SECRET_NAME)
            .ok_or(AccessError::NoSecret)?;
        let member = |at: usize| {
            let name = MEMBERS[at];
            // YAML folds long lines, and lets people write a Secret's members as they are.
            let decoded = |encoded: &str| STANDARD.decode(encoded.split_ascii_whitespace().collect::<String>()).ok();
            let text = match secret["stringData"][name].as_str() {
                Some(text) => Some(text.to_owned()),
                None => secret["data"][name].as_str().and_then(decoded).and_then(|bytes| String::from_utf8(bytes).ok()),
            };
            text.filter(|text| !text.trim().is_empty()).ok_or(AccessError::Member(name))
        };
        Ok(Self { ca: member(0)?, certificate: member(1)?, key: Secret::new(member(2)?), endpoint: member(3)? })
    }
}

/// The values in a text, one after the other.
fn documents(text: &str) -> Result<Vec<Value>, AccessError> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(AccessError::Empty);
    }
    let mut values = Vec::new();
    let mut line = 0;
    let mut bad = None;
    'json: for document in text.split('\n').collect::<Vec<_>>().split(|line| line.trim_end() == "---") {
        for value in serde_json::Deserializer::from_str(&document.join("\n")).into_iter::<Value>() {
            match value {
                Ok(value) => values.push(value),
                Err(error) => {
                    bad = Some((line + error.line() as u64, error.is_eof()));
                    break 'json;
                }
            }
        }
        line += document.len() as u64 + 1;
    }
    let Some((line, cut)) = bad else { return Ok(values) };
    let is_json = text.trim_start().starts_with(['{', '[', '"']);
    match serde_saphyr::from_multiple_with_options(text, yaml()) {
        Ok(values) => Ok(values),
        Err(_) if is_json && cut => Err(AccessError::Cut(line)),
        Err(_) if is_json => Err(AccessError::Unreadable(line)),
        Err(error) => Err(AccessError::Unreadable(error.location().map_or(line, |at| at.line()))),
    }
}

/// Bounds of a YAML text: a small one cannot become a large one.
fn yaml() -> Options {
    options! {
        budget: budget! {
            flow_nesting_limit: DEPTH,
            max_depth: DEPTH,
            max_events: 4 * NODES,
            max_nodes: NODES,
            max_aliases: 16,
            max_anchors: 16,
            max_total_scalar_bytes: 2 * MOST,
            max_documents: 64,
            max_merge_keys: 16,
        },
        alias_limits: alias_limits! {
            max_total_replayed_events: NODES,
            max_replay_stack_depth: 4,
        },
    }
}

fn manifests_in(value: Value, found: &mut Vec<Value>) -> Result<(), AccessError> {
    match value {
        Value::Array(items) => items.into_iter().try_for_each(|item| manifests_in(item, found)),
        Value::String(text) if text == DOWNLOADED => Err(AccessError::Downloaded),
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(Value::Object(manifest)) => {
                found.push(Value::Object(manifest));
                Ok(())
            }
            _ => Err(AccessError::NoManifests),
        },
        // A `---` at the end of YAML.
        Value::Null => Ok(()),
        Value::Object(mut object) => {
            match object.remove("items") {
                Some(Value::Array(items)) => items.into_iter().for_each(|item| found.push(item)),
                _ => found.push(Value::Object(object)),
            }
            Ok(())
        }
        _ => Err(AccessError::NoManifests),
    }
}

/// Where the manifests put things: system components are at home there, and may mount the host.
const NAMESPACE: &str = "kube-system";

fn labels() -> Value {
    json!({ "app.kubernetes.io/name": "sheaf-agent" })
}

/// The DaemonSet: one agent a node, which sees the host's root, reads it only, and keeps its secret on the host.
fn daemon_set(image: &str) -> Value {
    let mount = |name: &str, path: &str| json!({ "name": name, "mountPath": path });
    let mut host = mount("host", "/host");
    (host["readOnly"], host["mountPropagation"]) = (true.into(), "HostToContainer".into());
    let mut access = mount("access", "/etc/sheaf/access");
    access["readOnly"] = true.into();
    let container = json!({
        "name": "sheaf-agent",
        "image": image,
        "args": ["run", "--join", "/etc/sheaf/access", "--state-dir", "/var/lib/sheaf-agent", "--host-root", "/host"],
        "env": [{ "name": "SHEAF_NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }],
        "securityContext": {
            "runAsUser": 0,
            "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"], "add": ["DAC_READ_SEARCH", "SYSLOG"] },
        },
        "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "256Mi" } },
        "volumeMounts": [host, mount("state", "/var/lib/sheaf-agent"), access],
    });
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": { "name": "sheaf-agent", "namespace": NAMESPACE, "labels": labels() },
        "spec": {
            "selector": { "matchLabels": labels() },
            "updateStrategy": { "type": "RollingUpdate" },
            "template": {
                "metadata": { "labels": labels() },
                "spec": {
                    "automountServiceAccountToken": false,
                    "hostPID": true,
                    "hostNetwork": true,
                    "dnsPolicy": "ClusterFirstWithHostNet",
                    "terminationGracePeriodSeconds": 30,
                    "tolerations": [{ "operator": "Exists" }],
                    "containers": [container],
                    "volumes": [
                        { "name": "host", "hostPath": { "path": "/" } },
                        { "name": "state", "hostPath": { "path": "/var/lib/sheaf-agent", "type": "DirectoryOrCreate" } },
                        { "name": "access", "secret": { "secretName": SECRET_NAME, "defaultMode": 0o400 } },
                    ],
                },
            },
        },
    })
}

/// What a node that joins says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The name that it claims.
    pub name: NodeName,
    /// `/etc/machine-id`: a node that comes again is known by it, another machine under its name is refused.
    pub machine_id: String,
}

/// What a node gets for its join certificate.
#[derive(Clone, Deserialize)]
pub struct JoinReply {
    /// Its name.
    pub name: NodeName,
    /// Its cluster's name.
    pub cluster: String,
    /// Its agent secret, the only time that it is shown; every earlier one of its name is retired.
    pub secret: Secret,
}

/// By hand, since the secret must not print.
impl fmt::Debug for JoinReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinReply").field("name", &self.name).field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl JoinReply {
    /// As it travels.
    pub fn to_json(&self) -> Value {
        json!({ "name": self.name, "cluster": self.cluster, "secret": self.secret.expose() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> AccessInfo {
        AccessInfo {
            endpoint: "https://c.example:25556".into(),
            ca: "CA".into(),
            certificate: "CERTIFICATE".into(),
            key: Secret::new("CANARY"),
        }
    }

    #[test]
    fn what_was_saved_in_any_way_is_read() {
        let manifests = info().manifests("image");
        let texts: Vec<String> = manifests.iter().map(Value::to_string).collect();
        let pretty = serde_json::to_string_pretty(&manifests[0]).expect("JSON");
        for saved in [
            json!(texts).to_string(),
            json!(manifests).to_string(),
            json!({ "kind": "List", "items": manifests }).to_string(),
            texts.join("\n"),
            format!("---\n{pretty}\n---\n{}\n", texts[1]),
            texts[0].clone(),
            as_yaml(&manifests, false),
            as_yaml(&manifests, true),
            format!("apiVersion: v1\nkind: List\nitems:\n- {}\n- {}\n", texts[0], texts[1]),
            "kind: Secret\nmetadata: {name: sheaf-agent-cert}\nstringData:\n  ca.crt: CA\n  sheaf-agent.crt: CERTIFICATE\n  \
             sheaf-agent.key: |-\n    CANARY\n  endpoint: https://c.example:25556\n---\n"
                .to_owned(),
        ] {
            let read = AccessInfo::read(&saved).expect("read");
            assert_eq!(read.endpoint, info().endpoint);
            assert_eq!(
                (read.ca.as_str(), read.certificate.as_str(), read.key.expose()),
                ("CA", "CERTIFICATE", "CANARY")
            );
        }
    }

    /// The Secret as YAML, as `kubectl get -o yaml` prints it, `folded` over several lines; and the DaemonSet after it.
    fn as_yaml(manifests: &[Value; 2], folded: bool) -> String {
        let mut text =
            "# saved by hand\napiVersion: v1\nkind: Secret\nmetadata:\n  name: sheaf-agent-cert\ndata:\n".to_owned();
        for (name, value) in manifests[0]["data"].as_object().expect("data") {
            let value = value.as_str().expect("text");
            let (first, rest) = value.split_at(4);
            let value = if folded { format!(">-\n    {first}\n    {rest}") } else { value.to_owned() };
            text.push_str(&format!("  {name}: {value}\n"));
        }
        format!("{text}---\n{}\n", manifests[1])
    }

    #[test]
    fn what_is_cut_or_wild_says_so_and_repeats_nothing() {
        let whole = serde_json::to_string_pretty(&info().manifests("image")).expect("JSON");
        for end in (1..whole.len() - 1).step_by(7) {
            let error = AccessInfo::read(&whole[..end]).expect_err("cut");
            assert!(matches!(error, AccessError::Cut(line) if line >= 1), "{end}: {error}");
        }
        let yaml = as_yaml(&info().manifests("image"), false);
        let cut = &yaml[..yaml.find("sheaf-agent.key").expect("the key") + 22];
        assert_eq!(AccessInfo::read(cut).expect_err("cut"), AccessError::Member("sheaf-agent.key"));
        let deep = "[".repeat(10_000);
        let bomb = format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(5_000), "*a,".repeat(16));
        for text in [deep.as_str(), &bomb, "a: [CANARY\n", "\tkind: CANARY", "CANARY: CANARY: CANARY"] {
            let error = AccessInfo::read(text).expect_err("refused").to_string();
            assert!(!error.contains("CANARY") && error.len() < 200, "{error}");
        }
        assert_eq!(AccessInfo::read(&" ".repeat(MOST + 1)).expect_err("long"), AccessError::TooLong);
    }

    #[test]
    fn what_is_no_access_info_says_why() {
        let without = |name: &str| {
            let mut secret = info().manifests("image")[0].clone();
            secret["data"].as_object_mut().expect("data").remove(name);
            secret.to_string()
        };
        for (saved, expected) in [
            ("[\"Downloaded\"]".to_owned(), AccessError::Downloaded),
            (String::new(), AccessError::Empty),
            ("\u{feff}\n \n".to_owned(), AccessError::Empty),
            ("kind: Secret\n".to_owned(), AccessError::NoSecret),
            ("just a text\n".to_owned(), AccessError::NoManifests),
            ("{\"kind\": x}\n}".to_owned(), AccessError::Unreadable(1)),
            ("[1]".to_owned(), AccessError::NoManifests),
            ("[\"x\"]".to_owned(), AccessError::NoManifests),
            ("{}".to_owned(), AccessError::NoSecret),
            (without("ca.crt"), AccessError::Member("ca.crt")),
            (without("endpoint"), AccessError::Member("endpoint")),
        ] {
            assert_eq!(AccessInfo::read(&saved).expect_err(&saved), expected);
        }
    }

    #[test]
    fn the_key_does_not_print() {
        assert!(!format!("{:?}", info()).contains("CANARY"));
        let reply =
            JoinReply { name: "n".parse().expect("a name"), cluster: "c".into(), secret: Secret::new("CANARY") };
        assert!(!format!("{reply:?}").contains("CANARY"));
    }
}
