//! A deployment's manifest: YAML text from outside becomes checked names, counts and properties.
//!
//! The text comes from the faces, what is read goes to the resolver. The reader is bounded in depth, nodes, aliases and what aliases
//! expand to, so that a small text cannot become a large one. It knows nothing of nodes, and keeps no text.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_saphyr::{Options, alias_limits, budget, options};

use crate::id::{CollectorName, DeploymentName};
use crate::report;

/// Bytes of a manifest at most.
pub const MANIFEST_BYTES: usize = 1 << 20;
/// Levels of lists and mappings inside each other.
const DEPTH: usize = 32;
/// Values of all kinds, aliases expanded.
const NODES: usize = 50_000;
/// Aliases, and anchors.
const ALIASES: usize = 1_000;
/// Releases, stemcells, groups, jobs of one group, globs of one group.
const ENTRIES: usize = 256;
/// Characters of a group's name or of another word.
const WORD: usize = 128;
/// Characters of what is said of a text that cannot be read.
const FAULT: usize = 300;

/// Members that the director's manifests have and that mean nothing here.
const TOP: [&str; 18] = [
    "name",
    "releases",
    "stemcells",
    "instance_groups",
    "update",
    "tags",
    "features",
    "variables",
    "addons",
    "properties",
    "director_uuid",
    "disk_pools",
    "networks",
    "resource_pools",
    "compilation",
    "azs",
    "vm_types",
    "exported_from",
];
const GROUP: [&str; 18] = [
    "name",
    "instances",
    "nodes",
    "labels",
    "azs",
    "stemcell",
    "vm_type",
    "jobs",
    "networks",
    "vm_extensions",
    "lifecycle",
    "persistent_disk",
    "persistent_disk_type",
    "update",
    "env",
    "properties",
    "vm_resources",
    "migrated_from",
];
const JOB: [&str; 6] = ["name", "release", "properties", "consumes", "provides", "custom_provider_definitions"];

/// Why a text is no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read as YAML, or is too large, too deep, or expands to too much; says where.
    #[error("the manifest cannot be read: {0}")]
    Yaml(String),
    /// It is no mapping.
    #[error("the manifest must be a mapping, with `name` and `instance_groups`")]
    NoMapping,
    /// It has no name.
    #[error("the manifest has no `name`")]
    NoName,
    /// Something in it does not go together; says what.
    #[error("{0}")]
    Sense(String),
}

/// A manifest that was read.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    /// The deployment's name.
    pub name: DeploymentName,
    /// Packs of collectors that its jobs come from.
    #[serde(default)]
    pub releases: Vec<Release>,
    /// Operating systems that its groups ask for.
    #[serde(default)]
    pub stemcells: Vec<Stemcell>,
    /// Which nodes run which jobs.
    #[serde(default)]
    pub instance_groups: Vec<Group>,
    /// Members that have no effect, for a warning each.
    #[serde(skip)]
    pub unknown: Vec<String>,
}

/// A pack of collectors, by name and version.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Its version; `latest` for whichever the nodes have.
    pub version: String,
}

/// An operating system that groups refer to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Stemcell {
    /// The name by which groups refer to it.
    #[serde(default)]
    pub alias: Option<String>,
    /// Its name, such as `debian`.
    #[serde(default)]
    pub name: Option<String>,
    /// The operating system with its version, such as `debian-12`; or its name.
    #[serde(default)]
    pub os: Option<String>,
    /// Its version; `latest` for any.
    pub version: String,
}

impl Stemcell {
    /// What groups call it.
    pub fn called(&self) -> &str {
        self.alias.as_deref().or(self.name.as_deref()).or(self.os.as_deref()).unwrap_or_default()
    }
}

/// Nodes that run the same jobs.
#[derive(Clone, Debug, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// How many nodes; all that match when it is not said.
    #[serde(default)]
    pub instances: Option<u32>,
    /// Globs on names of nodes. Without these and labels, the group's name says which: it is a node's name, or its label
    /// `instance_group`.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// Labels that a node must have.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Names of the clusters in which nodes are looked for; all when empty.
    #[serde(default)]
    pub azs: Vec<String>,
    /// The operating system that nodes must have, as `stemcells` calls it.
    #[serde(default)]
    pub stemcell: Option<String>,
    /// A word for the kind of machine, shown and nothing else.
    #[serde(default)]
    pub vm_type: Option<String>,
    /// What runs there.
    #[serde(default)]
    pub jobs: Vec<Job>,
}

/// A collector that runs.
#[derive(Clone, Debug, Deserialize)]
pub struct Job {
    /// The collector.
    pub name: CollectorName,
    /// The release it comes from; may be left out where the manifest has one only.
    #[serde(default)]
    pub release: Option<String>,
    /// Values of its properties.
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
}

impl Manifest {
    /// Reads a text.
    ///
    /// # Errors
    /// When it is no manifest.
    pub fn read(text: &str) -> Result<Self, ManifestError> {
        let tree = tree(text)?;
        if !tree.contains_key("name") {
            return Err(ManifestError::NoName);
        }
        // From the text again, since only there a version 1.10 is not 1.1, and a fault has a line.
        let mut manifest: Self = serde_saphyr::from_str_with_options(text, limits()).map_err(|e| unread(&e))?;
        manifest.check().map_err(ManifestError::Sense)?;
        manifest.unknown = unknown(&tree);
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let many = |what: &str, count: usize| match count > ENTRIES {
            true => Err(format!("the manifest has more than {ENTRIES} {what}")),
            false => Ok(()),
        };
        many("releases", self.releases.len())?;
        many("stemcells", self.stemcells.len())?;
        many("instance groups", self.instance_groups.len())?;
        unique("release", self.releases.iter().map(|release| release.name.as_str()))?;
        for stemcell in &self.stemcells {
            if stemcell.name.is_none() && stemcell.os.is_none() {
                return Err(format!("the stemcell `{}` says neither `os` nor `name`", safe(stemcell.called())));
            }
        }
        unique("stemcell", self.stemcells.iter().map(Stemcell::called))?;
        unique("instance group", self.instance_groups.iter().map(|group| group.name.as_str()))?;
        for group in &self.instance_groups {
            let name = safe(&group.name);
            many(&format!("jobs in the instance group `{name}`"), group.jobs.len())?;
            many(&format!("node globs in the instance group `{name}`"), group.nodes.len())?;
            // A part of URLs, and of events.
            if group.name.parse::<CollectorName>().is_err() {
                return Err(format!(
                    "an instance group's name must match [A-Za-z0-9][A-Za-z0-9._-]{{0,62}}, `{name}` does not"
                ));
            }
            let jobs = group.jobs.iter().map(|job| job.name.as_str());
            unique(&format!("job of the instance group `{name}`"), jobs)?;
        }
        Ok(())
    }
}

/// A manifest as a tree of plain values, for whoever compares two.
///
/// # Errors
/// When it cannot be read as YAML, or is no mapping.
pub fn tree(text: &str) -> Result<Map<String, Value>, ManifestError> {
    if text.len() > MANIFEST_BYTES {
        return Err(ManifestError::Yaml(format!("it is longer than {MANIFEST_BYTES} bytes")));
    }
    match serde_saphyr::from_str_with_options(text, limits()).map_err(|e| unread(&e))? {
        Value::Object(tree) => Ok(tree),
        _ => Err(ManifestError::NoMapping),
    }
}

fn limits() -> Options {
    options! {
        budget: budget! {
            flow_nesting_limit: DEPTH,
            max_depth: DEPTH,
            max_events: 4 * NODES,
            max_nodes: NODES,
            max_aliases: ALIASES,
            max_anchors: ALIASES,
            max_recorded_anchor_events: 4 * NODES,
            max_recorded_anchor_bytes: 4 * MANIFEST_BYTES,
            max_total_scalar_bytes: 4 * MANIFEST_BYTES,
            max_documents: 1,
            max_merge_keys: ALIASES,
        },
        alias_limits: alias_limits! {
            max_total_replayed_events: NODES,
            max_replay_stack_depth: 16,
        },
    }
}

fn unread(error: &serde_saphyr::Error) -> ManifestError {
    let text = error.without_snippet().to_string();
    ManifestError::Yaml(report::brief(text.lines().next().unwrap_or_default(), FAULT))
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() || name.chars().count() > WORD {
            return Err(format!("a {what} has no name, or one of more than {WORD} characters"));
        }
        if !seen.insert(name) {
            return Err(format!("the manifest names the {what} `{}` twice", safe(name)));
        }
    }
    Ok(())
}

fn safe(text: &str) -> String {
    report::brief(text, WORD)
}

/// Members that nobody reads, as paths.
fn unknown(tree: &Map<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    let mut look = |at: &str, map: &Map<String, Value>, known: &[&str]| {
        let names = map.keys().filter(|name| !known.contains(&name.as_str()));
        found.extend(names.take(8).map(|name| format!("{at}{}", safe(name))));
    };
    look("", tree, &TOP);
    for group in members(tree, "instance_groups") {
        let name = safe(group.get("name").and_then(Value::as_str).unwrap_or_default());
        look(&format!("instance_groups.{name}."), group, &GROUP);
        for job in members(group, "jobs") {
            let job_name = safe(job.get("name").and_then(Value::as_str).unwrap_or_default());
            look(&format!("instance_groups.{name}.jobs.{job_name}."), job, &JOB);
        }
    }
    found
}

fn members<'a>(map: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a Map<String, Value>> + use<'a> {
    map.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "---\nname: web\nreleases:\n- {name: sheaf-collectors, version: 1.10}\nstemcells:\n\
        - {alias: default, os: debian, version: 12}\ninstance_groups:\n- name: front\n  instances: 2\n  labels: {role: web}\n  \
        stemcell: default\n  lables: {x: y}\n  jobs:\n  - name: journal\n    release: sheaf-collectors\n    \
        properties: {units: [ssh], lines: 5}\n";

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let read = Manifest::read(GOOD).expect("read");
        assert_eq!(read.name.as_str(), "web");
        assert_eq!(read.releases[0].version, "1.10", "not a number");
        assert_eq!(read.stemcells[0].version, "12");
        let group = &read.instance_groups[0];
        assert_eq!((group.instances, group.labels["role"].as_str()), (Some(2), "web"));
        assert_eq!(group.jobs[0].properties["lines"], 5);
        assert_eq!(read.unknown, ["instance_groups.front.lables"]);
    }

    #[test]
    fn what_is_no_manifest_says_why() {
        for (text, part) in [
            ("", "mapping"),
            ("[a]", "mapping"),
            ("just text", "mapping"),
            ("releases: []", "no `name`"),
            ("name: ../x", "name"),
            ("name: {a: b}", "line 1"),
            ("name: a\ninstance_groups: 3", "line 2"),
            ("name: a\ninstance_groups:\n- {name: g, instances: three}", "line 3"),
            ("name: a\ninstance_groups:\n- {name: g, instances: -1}", "line 3"),
            ("name: a\ninstance_groups:\n- {name: g}\n- {name: g}", "twice"),
            ("name: a\ninstance_groups:\n- {name: 'a b'}", "must match"),
            ("name: a\ninstance_groups:\n- {name: g, jobs: [{name: x}, {name: x}]}", "twice"),
            ("name: a\nreleases:\n- {name: r, version: 1}\n- {name: r, version: 2}", "twice"),
            ("name: a\nstemcells:\n- {alias: s, version: 1}", "neither"),
            ("name: a\nname: b", "duplicate"),
            ("name: [", "cannot be read"),
            ("name: a\n--- \nname: b", "cannot be read"),
        ] {
            let fault = Manifest::read(text).expect_err(text).to_string();
            assert!(fault.contains(part), "{text:?}: {fault}");
        }
    }

    #[test]
    fn a_small_text_never_becomes_a_large_one() {
        let mut laughs = "name: a\na: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (one, next) in "abcdefgh".chars().zip("bcdefghi".chars()) {
            laughs.push_str(&format!(
                "{next}: &{next} [*{one}, *{one}, *{one}, *{one}, *{one}, *{one}, *{one}, *{one}, *{one}]\n"
            ));
        }
        let merged: String = (0..2_000).map(|n| format!("k{n}: {{<<: *base}}\n")).collect();
        for (what, text) in [
            ("laughs", laughs),
            ("depth", format!("name: a\nx: {}{}", "[".repeat(5_000), "]".repeat(5_000))),
            (
                "blocks",
                format!("name: a\nx:\n{}", (1..200).map(|n| format!("{}- \n", " ".repeat(n))).collect::<String>()),
            ),
            ("nodes", format!("name: a\nx: [{}1]", "1,".repeat(NODES))),
            ("merges", format!("name: a\nbase: &base {{a: 1}}\n{merged}")),
            ("bytes", format!("name: a\nx: {}", "y".repeat(MANIFEST_BYTES))),
        ] {
            let fault = Manifest::read(&text).expect_err(what);
            assert!(matches!(fault, ManifestError::Yaml(_)), "{what}: {fault}");
            assert!(fault.to_string().chars().count() < 2 * FAULT, "{what}");
        }
    }

    #[test]
    fn anchors_are_good_as_long_as_they_are_few() {
        let text = "name: a\nx: &jobs [{name: journal}]\ninstance_groups:\n- {name: g, jobs: *jobs}\n- {name: h, jobs: *jobs}\n";
        let read = Manifest::read(text).expect("read");
        assert_eq!(read.instance_groups[1].jobs[0].name.as_str(), "journal");
    }
}
