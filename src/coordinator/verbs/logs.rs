//! A deployment's logs: a kept bundle of its nodes, or some of them, with what their jobs collect.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use globset::{GlobBuilder, GlobMatcher};

use super::{NodePart, Principal, Refusal, Role, Verbs};
use crate::bundle::Format;
use crate::coordinator::bundles::Wanted;
use crate::coordinator::deployments::row::InstanceRow;
use crate::coordinator::tasks::NewTask;
use crate::id::TaskId;
use crate::report;
use crate::window::Asked;

/// Filters of one request at most.
const FILTERS: usize = 64;
/// Bytes of one filter at most.
const FILTER: usize = 512;

/// Which of a deployment's logs.
#[derive(Clone, Debug, Default)]
pub struct LogsWanted {
    /// Only this instance group's.
    pub group: Option<String>,
    /// Only this instance's, by id or by its number in the group.
    pub instance: Option<String>,
    /// What the deployment's jobs collect.
    pub jobs: bool,
    /// What the nodes collect of themselves by default.
    pub own: bool,
    /// Of the jobs only what one of these globs matches; all when empty.
    pub filters: Vec<String>,
    /// The time that they are taken from.
    pub window: Asked,
}

/// Logs.
impl Verbs {
    /// Collects a deployment's logs and keeps them; the task's result is the kept bundle's id.
    ///
    /// # Errors
    /// As [`Verbs::deployment`]; [`Refusal::Invalid`] for a window or filters that are none; [`Refusal::Conflict`] when nothing matches; [`Refusal::TooMany`] when too many wait already.
    pub async fn deployment_logs(
        &self,
        who: &Principal,
        name: &str,
        wanted: LogsWanted,
        context_id: Option<String>,
    ) -> Result<TaskId, Refusal> {
        self.recorded(who, "deployment.logs", name, self.start_logs(who, name, wanted, context_id)).await
    }

    async fn start_logs(
        &self,
        who: &Principal,
        name: &str,
        wanted: LogsWanted,
        context_id: Option<String>,
    ) -> Result<TaskId, Refusal> {
        who.needs(Role::Operator)?;
        let row = self.deployment_of(who, name).await?;
        let window = self.window(wanted.window)?;
        let instances = self.rooms.store.instances(&row.name).await?;
        let jobs = instances.iter().filter_map(|instance| instance.wanted.as_ref()).flat_map(|part| &part.jobs);
        let filters = Filters::read(&wanted.filters, &jobs.map(|job| job.collector.as_str()).collect())?;
        let matching =
            instances.into_iter().filter(|instance| instance.wanted.is_some() && is_meant(&wanted, instance));
        let mut own = HashMap::new();
        if wanted.own {
            for cluster in &row.clusters {
                let rows = self.rooms.store.nodes(Some(*cluster)).await?;
                own.extend(rows.into_iter().map(|row| (row.name, row.about.collectors)));
            }
        }
        let mut nodes = Vec::new();
        let mut found = false;
        for instance in matching {
            found = true;
            let declared = own.get(&instance.placed.node).into_iter().flatten();
            let defaults = declared.filter(|(_, on)| **on).map(|(name, _)| name.clone()).collect();
            nodes.extend(part(&wanted, &filters, instance, defaults, row.name.as_str()));
        }
        if nodes.is_empty() {
            let lacks = if found { "no job that matches" } else { "no such instance" };
            return Err(Refusal::Conflict(format!("deployment `{name}` has {lacks}")));
        }
        let task = NewTask {
            kind: "logs".into(),
            description: "fetch logs".into(),
            user: who.name.clone(),
            clusters: row.clusters.iter().copied().collect(),
            deployment: Some(row.name.clone()),
            context_id,
        };
        let wanted = Wanted {
            task,
            of: row.name.to_string(),
            clusters: row.clusters.into_iter().collect(),
            nodes,
            node_filter: Vec::new(),
            collectors: Vec::new(),
            redact: Vec::new(),
            budgets: self.rooms.budgets,
            window,
            format: Format::TarZst,
            case: None,
            note: None,
        };
        self.rooms.bundles.keep(wanted).await
    }
}

/// Whether the request means this instance.
fn is_meant(wanted: &LogsWanted, instance: &InstanceRow) -> bool {
    let placed = &instance.placed;
    let group = wanted.group.as_ref().is_none_or(|group| *group == placed.group);
    let id = |id: &String| *id == placed.id.to_string() || *id == placed.index.to_string();
    group && wanted.instance.as_ref().is_none_or(id)
}

/// What one node is to collect; `None` for nothing.
fn part(
    wanted: &LogsWanted,
    filters: &Filters,
    instance: InstanceRow,
    defaults: Vec<String>,
    deployment: &str,
) -> Option<NodePart> {
    let jobs = instance.wanted.map(|part| part.jobs).unwrap_or_default();
    let (mut collectors, mut picks) = (defaults, BTreeMap::new());
    for job in jobs.into_iter().map(|job| job.collector).filter(|_| wanted.jobs) {
        match filters.of(&job) {
            Share::Nothing => continue,
            Share::All => {}
            // What the node collects of itself by default, it collects whole.
            Share::Ends(_) if collectors.contains(&job) => {}
            Share::Ends(globs) => {
                picks.insert(job.clone(), globs);
            }
        }
        collectors.push(job);
    }
    collectors.sort_unstable();
    collectors.dedup();
    // Without a name the node would run everything.
    (!collectors.is_empty()).then(|| NodePart {
        node: instance.placed.node,
        collectors: Some(collectors),
        picks,
        deployment: Some(deployment.to_owned()),
    })
}

/// What of the jobs' logs is wanted. Each filter is a glob, as the director's clients give them for what lies below the folder of
/// logs, where each job has its own: one that matches a job's name stands for all of that job, `<job>/<glob>` for some of its files,
/// and any other for files of all jobs, by the ends of their paths. A word that is no glob, path or file name is a job's name.
struct Filters {
    all: bool,
    each: Vec<Filter>,
}

struct Filter {
    text: String,
    whole: GlobMatcher,
    /// Its first component, where that names jobs, and the rest.
    inside: Option<(GlobMatcher, String)>,
}

/// What of one job is wanted.
enum Share {
    Nothing,
    All,
    /// What these globs match.
    Ends(Vec<String>),
}

impl Filters {
    /// Reads filters for a deployment with these jobs.
    fn read(globs: &[String], jobs: &BTreeSet<&str>) -> Result<Self, Refusal> {
        if globs.len() > FILTERS {
            return Err(Refusal::Invalid(format!("at most {FILTERS} filters")));
        }
        let glob = |text: &str| match GlobBuilder::new(text).literal_separator(true).build() {
            Ok(glob) if text.len() <= FILTER => Ok(glob.compile_matcher()),
            Ok(_) => Err(Refusal::Invalid(format!("a filter has at most {FILTER} bytes"))),
            Err(e) => Err(Refusal::Invalid(report::brief(&format!("a filter cannot be read: {e}"), 200))),
        };
        let read = |text: &String| {
            let inside = text.split_once('/').filter(|(first, rest)| !first.is_empty() && !rest.is_empty());
            let inside = inside.map(|(first, rest)| Ok::<_, Refusal>((glob(first)?, rest.to_owned()))).transpose()?;
            if let Some((_, rest)) = &inside {
                glob(rest)?;
            }
            let inside = inside.filter(|(first, _)| jobs.iter().any(|job| first.is_match(job)));
            Ok(Filter { whole: glob(text)?, inside, text: text.clone() })
        };
        Ok(Self { all: globs.is_empty(), each: globs.iter().map(read).collect::<Result<_, Refusal>>()? })
    }

    fn of(&self, job: &str) -> Share {
        if self.all || self.each.iter().any(|filter| filter.whole.is_match(job)) {
            return Share::All;
        }
        let mut ends = Vec::new();
        for filter in &self.each {
            match &filter.inside {
                Some((first, _)) if !first.is_match(job) => {}
                Some((_, rest)) if matches!(rest.as_str(), "*" | "**" | "**/*") => return Share::All,
                Some((_, rest)) => ends.push(rest.clone()),
                None if filter.text.contains(['/', '.', '*', '?', '[', '{']) => ends.push(filter.text.clone()),
                None => {}
            }
        }
        if ends.is_empty() { Share::Nothing } else { Share::Ends(ends) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(filters: &[&str], job: &str) -> String {
        let texts: Vec<_> = filters.iter().map(|&text| text.to_owned()).collect();
        match Filters::read(&texts, &["nginx", "other"].into()).expect("filters").of(job) {
            Share::Nothing => "nothing".to_owned(),
            Share::All => "all".to_owned(),
            Share::Ends(globs) => globs.join(" "),
        }
    }

    #[test]
    fn filters_are_jobs_and_files() {
        for (filters, job, share) in [
            (&[][..], "nginx", "all"),
            (&["nginx"], "nginx", "all"),
            (&["ng*", "x"], "nginx", "all"),
            (&["nginx/**/*"], "nginx", "all"),
            (&["other"], "nginx", "nothing"),
            (&["other", "access.log"], "nginx", "access.log"),
            (&["nginx/access.log", "*.err"], "nginx", "access.log *.err"),
            (&["nginx/access.log"], "other", "nothing"),
            (&["log/access.log"], "other", "log/access.log"),
            (&["*/access.log"], "nginx", "access.log"),
            (&["**/*.log"], "nginx", "*.log"),
        ] {
            assert_eq!(shares(filters, job), share, "{filters:?} of {job}");
        }
        for bad in ["[", "a/[", &"x".repeat(FILTER + 1)] {
            assert!(
                matches!(Filters::read(&[bad.to_owned()], &BTreeSet::new()), Err(Refusal::Invalid(_))),
                "{bad:.10}"
            );
        }
    }
}
