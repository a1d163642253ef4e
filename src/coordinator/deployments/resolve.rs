//! From a manifest to nodes: which node runs which jobs, or one clear reason why it cannot be.
//!
//! The manifest was read before; the nodes are those that the caller may see, as they last described themselves. What comes
//! out is a plan, whole or not at all. Nothing here asks a node or writes anything.

use std::collections::{BTreeMap, BTreeSet};

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::manifest::{Group, Job, Manifest};
use crate::coordinator::roster::NodeRow;
use crate::id::{ClusterId, NodeName};
use crate::protocol::questions::{self, Deployment, Pack};
use crate::report;

/// Any version.
const LATEST: &str = "latest";
/// The label by which a node says to which group it belongs.
const GROUP_LABEL: &str = "instance_group";
/// Nodes, releases or jobs that a reason names.
const NAMED: usize = 3;
/// Characters of a foreign word in a reason.
const WORD: usize = 80;

/// Why a manifest cannot be carried out. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// No node has it.
    #[error("the release `{name}/{version}` is on no node that may be used here; there is {there}")]
    Release {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// What there is.
        there: String,
    },
    /// A job names no release that the manifest lists.
    #[error("the job `{job}` of the instance group `{group}` comes from {release}; list it under `releases`")]
    NotListed {
        /// The job.
        job: String,
        /// Its group.
        group: String,
        /// The release, or that it names none.
        release: String,
    },
    /// The release has no such job.
    #[error("the release `{release}` has no job `{job}`; it has {there}")]
    Job {
        /// The job.
        job: String,
        /// The release with its version.
        release: String,
        /// What there is.
        there: String,
    },
    /// A group names no stemcell that the manifest lists.
    #[error("the instance group `{group}` asks for the stemcell `{stemcell}`, which is not listed under `stemcells`")]
    Alias {
        /// The group.
        group: String,
        /// The stemcell's name.
        stemcell: String,
    },
    /// No node runs it.
    #[error("the stemcell `{stemcell}` is on no node that may be used here; there is {there}")]
    Stemcell {
        /// What was asked for.
        stemcell: String,
        /// What there is.
        there: String,
    },
    /// A glob cannot be read.
    #[error("the instance group `{group}` has a node glob that cannot be read: {reason}")]
    Glob {
        /// The group.
        group: String,
        /// Why.
        reason: String,
    },
    /// Too few nodes.
    #[error("the instance group `{group}` wants {wanted} node(s), {found} can be had{because}")]
    TooFew {
        /// The group.
        group: String,
        /// How many it wants.
        wanted: usize,
        /// How many there are.
        found: usize,
        /// What is wrong with the others.
        because: String,
    },
}

/// A name with a version: a release, or a stemcell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Versioned {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
}

/// A node that may be used.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What the state has of it.
    pub row: NodeRow,
    /// Whether its agent is connected.
    pub online: bool,
}

/// An instance that the deployment has already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its id.
    pub id: Uuid,
    /// Its group.
    pub group: String,
    /// Its number in the group.
    pub index: u32,
    /// Its node.
    pub node: NodeName,
}

/// One node's part in the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Group, number, id and node.
    pub placed: Placed,
    /// The node's cluster.
    pub cluster: ClusterId,
    /// What the agent is to keep.
    pub part: Deployment,
}

/// A manifest in terms of nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Releases that its jobs come from, with the versions that the nodes have.
    pub releases: Vec<Versioned>,
    /// Operating systems of its nodes.
    pub stemcells: Vec<Versioned>,
    /// Its instances, by group in the manifest's order, then by number.
    pub instances: Vec<Planned>,
}

/// The operating system that a node reports.
pub fn stemcell(row: &NodeRow) -> Versioned {
    let name = if row.about.os_id.is_empty() { "linux" } else { &row.about.os_id };
    Versioned { name: name.to_owned(), version: version(&row.about.os_version) }
}

/// A version that the director's clients can read: it stays as it is where they can, else what they stumble over is replaced.
pub fn version(text: &str) -> String {
    if is_version(text) {
        return text.to_owned();
    }
    let safe = |part: &str| {
        let part = part.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        if is_component(&part) { part } else { format!("_{part}") }
    };
    let parts: Vec<_> = text.split('.').filter(|part| !part.is_empty()).map(safe).collect();
    if parts.is_empty() { "0".to_owned() } else { parts.join(".") }
}

/// `release[-pre][+post]`, each of components between points: the semi-semantic form.
fn is_version(text: &str) -> bool {
    let (rest, post) = text.split_once('+').map_or((text, None), |(rest, post)| (rest, Some(post)));
    let (release, pre) = rest.split_once('-').map_or((rest, None), |(release, pre)| (release, Some(pre)));
    let segment = |text: &str| text.split('.').all(is_component);
    segment(release) && pre.is_none_or(segment) && post.is_none_or(segment)
}

/// Letters, digits and `_`; a number must be one that fits.
fn is_component(text: &str) -> bool {
    let number = text.bytes().all(|b| b.is_ascii_digit());
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !(number && text.len() > 9)
}

/// The packs that a node reports, with versions as [`version`] gives them.
pub fn packs(row: &NodeRow) -> impl Iterator<Item = (Versioned, &Pack)> {
    row.about.packs.iter().map(|pack| (Versioned { name: pack.name.clone(), version: version(&pack.version) }, pack))
}

/// Resolves a manifest among nodes. What the deployment has already stays where it is, as far as it still matches.
///
/// # Errors
/// The first reason why it cannot be carried out.
pub fn resolve(manifest: &Manifest, nodes: &[Candidate], placed: &[Placed]) -> Result<Plan, Unresolved> {
    let scene = Scene::new(manifest, nodes)?;
    let placed: Places<'_> = placed.iter().map(|placed| ((placed.group.as_str(), &placed.node), placed)).collect();
    let mut plan = Plan::default();
    let mut used: Vec<&Candidate> = Vec::new();
    let mut taken = BTreeSet::new();
    for group in &manifest.instance_groups {
        let chosen = scene.choose(group, &taken, &placed)?;
        taken.extend(chosen.iter().map(|node| node.row.name.clone()));
        plan.instances.extend(numbered(manifest, group, &chosen, &placed));
        used.extend(chosen);
    }
    let stemcells: BTreeSet<_> = used.iter().map(|node| stemcell(&node.row)).collect();
    (plan.stemcells, plan.releases) = (stemcells.into_iter().collect(), scene.releases(&used));
    Ok(plan)
}

/// What the deployment has already, by group and node.
type Places<'a> = BTreeMap<(&'a str, &'a NodeName), &'a Placed>;

/// The manifest with what all nodes together can give.
struct Scene<'a> {
    manifest: &'a Manifest,
    nodes: &'a [Candidate],
    /// Jobs by release and version, of all nodes.
    jobs: BTreeMap<Versioned, BTreeSet<&'a str>>,
}

impl<'a> Scene<'a> {
    fn new(manifest: &'a Manifest, nodes: &'a [Candidate]) -> Result<Self, Unresolved> {
        let mut jobs: BTreeMap<Versioned, BTreeSet<&str>> = BTreeMap::new();
        for (release, pack) in nodes.iter().flat_map(|node| packs(&node.row)) {
            jobs.entry(release).or_default().extend(pack.jobs.iter().map(String::as_str));
        }
        let scene = Self { manifest, nodes, jobs };
        scene.check_releases()?;
        scene.check_jobs()?;
        scene.check_stemcells()?;
        Ok(scene)
    }

    fn check_releases(&self) -> Result<(), Unresolved> {
        let absent = |release: &&super::manifest::Release| {
            !self.jobs.keys().any(|have| have.name == release.name && fits(&release.version, &have.version))
        };
        match self.manifest.releases.iter().find(absent) {
            None => Ok(()),
            Some(release) => Err(Unresolved::Release {
                name: safe(&release.name),
                version: safe(&release.version),
                there: named(self.jobs.keys().map(slug)),
            }),
        }
    }

    fn check_jobs(&self) -> Result<(), Unresolved> {
        for group in &self.manifest.instance_groups {
            for job in &group.jobs {
                let release = release_of(self.manifest, job).map_err(|release| Unresolved::NotListed {
                    job: job.name.to_string(),
                    group: safe(&group.name),
                    release,
                })?;
                let mut there = self
                    .jobs
                    .iter()
                    .filter(|(have, _)| have.name == release.name && fits(&release.version, &have.version));
                if !there.clone().any(|(_, jobs)| jobs.contains(job.name.as_str())) {
                    return Err(Unresolved::Job {
                        job: job.name.to_string(),
                        release: safe(&format!("{}/{}", release.name, release.version)),
                        there: named(there.by_ref().flat_map(|(_, jobs)| jobs).map(|&job| safe(job))),
                    });
                }
            }
        }
        Ok(())
    }

    fn check_stemcells(&self) -> Result<(), Unresolved> {
        for group in &self.manifest.instance_groups {
            let Some(called) = group.stemcell.as_deref() else { continue };
            let listed = self.manifest.stemcells.iter().find(|stemcell| stemcell.called() == called);
            let listed =
                listed.ok_or_else(|| Unresolved::Alias { group: safe(&group.name), stemcell: safe(called) })?;
            let nodes = self.nodes.iter().map(|node| stemcell(&node.row));
            if !nodes.clone().any(|have| is_stemcell(listed, &have)) {
                let there: BTreeSet<_> = nodes.map(|have| slug(&have)).collect();
                let name = listed.name.as_deref().or(listed.os.as_deref()).unwrap_or_default();
                return Err(Unresolved::Stemcell {
                    stemcell: safe(&format!("{name}/{}", listed.version)),
                    there: named(there.into_iter()),
                });
            }
        }
        Ok(())
    }

    /// The listed releases, in the versions that the used nodes have, or in one that there is where none of them has it.
    fn releases(&self, used: &[&Candidate]) -> Vec<Versioned> {
        let mut found = BTreeSet::new();
        for release in &self.manifest.releases {
            let is = |have: &Versioned| have.name == release.name && fits(&release.version, &have.version);
            let before = found.len();
            found.extend(used.iter().flat_map(|node| packs(&node.row)).map(|(have, _)| have).filter(is));
            if found.len() == before {
                found.extend(self.jobs.keys().find(|have| is(have)).cloned());
            }
        }
        found.into_iter().collect()
    }

    /// The nodes of a group.
    fn choose(
        &self,
        group: &Group,
        taken: &BTreeSet<NodeName>,
        placed: &Places<'_>,
    ) -> Result<Vec<&'a Candidate>, Unresolved> {
        let globs = globs(group)?;
        let matching = self
            .nodes
            .iter()
            .filter(|node| !taken.contains(&node.row.name) && belongs(group, globs.as_ref(), &node.row));
        let mut unfit = Vec::new();
        let mut fit: Vec<_> = matching
            .filter(|node| match self.misfit(group, &node.row) {
                None => true,
                Some(reason) => {
                    unfit.push(reason);
                    false
                }
            })
            .collect();
        let wanted = group.instances.map_or(fit.len() + unfit.len(), |count| count as usize);
        if fit.len() < wanted || (group.instances.is_none() && wanted == 0) {
            let because = if unfit.is_empty() { String::new() } else { format!(": {}", named(unfit.into_iter())) };
            return Err(Unresolved::TooFew {
                group: safe(&group.name),
                wanted: wanted.max(1),
                found: fit.len(),
                because,
            });
        }
        let number =
            |node: &Candidate| placed.get(&(group.name.as_str(), &node.row.name)).map_or(u32::MAX, |p| p.index);
        // What is there stays; then those that can take it up at once.
        fit.sort_by_cached_key(|node| (number(node), !node.online, node.row.name.clone()));
        fit.truncate(wanted);
        Ok(fit)
    }

    /// Why a node that belongs to a group cannot run its jobs.
    fn misfit(&self, group: &Group, row: &NodeRow) -> Option<String> {
        let name = &row.name;
        let listed =
            group.stemcell.as_deref().and_then(|called| self.manifest.stemcells.iter().find(|s| s.called() == called));
        let have = stemcell(row);
        if listed.is_some_and(|listed| !is_stemcell(listed, &have)) {
            return Some(format!("{name} runs {}", slug(&have)));
        }
        let lacks = group.jobs.iter().find(|job| {
            let Ok(release) = release_of(self.manifest, job) else { return true };
            !packs(row).any(|(have, pack)| {
                have.name == release.name
                    && fits(&release.version, &have.version)
                    && pack.jobs.iter().any(|j| j == job.name.as_str())
            })
        });
        lacks.map(|job| format!("{name} has no job `{}` of that release", job.name))
    }
}

/// The release that a job comes from; else words for which one it names.
fn release_of<'a>(manifest: &'a Manifest, job: &Job) -> Result<&'a super::manifest::Release, String> {
    match (&job.release, &manifest.releases[..]) {
        (None, [only]) => Ok(only),
        (None, _) => Err("no release that it names".to_owned()),
        (Some(name), listed) => {
            let found = listed.iter().find(|release| release.name == *name);
            found.ok_or_else(|| format!("the release `{}`", safe(name)))
        }
    }
}

fn fits(wanted: &str, have: &str) -> bool {
    wanted == LATEST || wanted == have
}

fn is_stemcell(listed: &super::manifest::Stemcell, have: &Versioned) -> bool {
    let named = listed.name.as_ref().is_none_or(|name| *name == have.name);
    let os = listed.os.as_ref().is_none_or(|os| *os == have.name || *os == format!("{}-{}", have.name, have.version));
    named && os && fits(&listed.version, &have.version)
}

fn globs(group: &Group) -> Result<Option<GlobSet>, Unresolved> {
    if group.nodes.is_empty() {
        return Ok(None);
    }
    let fault = |e: globset::Error| Unresolved::Glob { group: safe(&group.name), reason: safe(&e.to_string()) };
    let mut set = GlobSetBuilder::new();
    for glob in &group.nodes {
        set.add(Glob::new(glob).map_err(fault)?);
    }
    set.build().map(Some).map_err(fault)
}

/// Whether a node is one that the group means.
fn belongs(group: &Group, globs: Option<&GlobSet>, row: &NodeRow) -> bool {
    let cluster =
        group.azs.is_empty() || group.azs.iter().any(|az| *az == row.cluster_name || *az == row.cluster.to_string());
    let labels = group.labels.iter().all(|(name, value)| row.about.labels.get(name) == Some(value));
    let named = match globs {
        Some(globs) => globs.is_match(row.name.as_str()),
        None if !group.labels.is_empty() => true,
        None => row.name.as_str() == group.name || row.about.labels.get(GROUP_LABEL) == Some(&group.name),
    };
    cluster && labels && named
}

/// Numbers for the nodes of a group: those that have one keep it, others get the lowest that is free.
fn numbered(manifest: &Manifest, group: &Group, chosen: &[&Candidate], placed: &Places<'_>) -> Vec<Planned> {
    let old = |node: &Candidate| placed.get(&(group.name.as_str(), &node.row.name)).map(|&placed| placed.clone());
    let used: BTreeSet<u32> = chosen.iter().filter_map(|node| old(node)).map(|p| p.index).collect();
    let mut free = (0..).filter(|index| !used.contains(index));
    let jobs: Vec<_> = group.jobs.iter().map(|job| part_of(manifest, job)).collect();
    let part = Deployment { name: manifest.name.to_string(), jobs };
    let place = |node: &&Candidate| {
        let placed = old(node).unwrap_or_else(|| Placed {
            id: Uuid::new_v4(),
            group: group.name.clone(),
            index: free.next().unwrap_or(u32::MAX),
            node: node.row.name.clone(),
        });
        Planned { placed, cluster: node.row.cluster, part: part.clone() }
    };
    let mut planned: Vec<_> = chosen.iter().map(place).collect();
    planned.sort_by_key(|planned| planned.placed.index);
    planned
}

fn part_of(manifest: &Manifest, job: &Job) -> questions::Job {
    questions::Job {
        collector: job.name.to_string(),
        pack: release_of(manifest, job).ok().map(|release| release.name.clone()),
        properties: job.properties.clone(),
    }
}

/// `name/version`, safe to show.
fn slug(versioned: &Versioned) -> String {
    safe(&format!("{}/{}", versioned.name, versioned.version))
}

fn safe(text: &str) -> String {
    report::brief(text, WORD)
}

/// The first few of a list, in words.
fn named(all: impl Iterator<Item = String>) -> String {
    let all: Vec<_> = all.collect();
    let first = all.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match all.len() {
        0 => "nothing".to_owned(),
        few if few <= NAMED => first,
        many => format!("{first} and {} more", many - NAMED),
    }
}

#[cfg(test)]
mod tests;
