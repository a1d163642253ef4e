//! A deployment's logs: a kept bundle of its nodes, or some of them, with what their jobs collect.

use std::collections::HashMap;

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::{NodePart, Principal, Refusal, Role, Verbs};
use crate::bundle::Format;
use crate::bundle::manifest::Budgets;
use crate::coordinator::bundles::Wanted;
use crate::coordinator::deployments::row::InstanceRow;
use crate::coordinator::tasks::NewTask;
use crate::id::TaskId;
use crate::report;
use crate::window::Asked;

/// Filters of one request at most.
const FILTERS: usize = 64;

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
    /// Of the jobs only those that one of these globs matches; all when empty.
    pub filters: Vec<String>,
    /// The time that they are taken from.
    pub window: Asked,
}

/// Logs.
impl Verbs {
    /// Collects a deployment's logs and keeps them; the task's result is the kept bundle's id.
    ///
    /// # Errors
    /// As [`Verbs::deployment`]; [`Refusal::Invalid`] when nothing matches; [`Refusal::TooMany`] when too many wait already.
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
        let (filters, window) = (filters(&wanted.filters)?, self.window(wanted.window)?);
        let instances = self.rooms.store.instances(&row.name).await?;
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
            nodes.extend(part(&wanted, filters.as_ref(), instance, defaults, row.name.as_str()));
        }
        if nodes.is_empty() {
            let lacks = if found { "no job that matches" } else { "no such instance" };
            return Err(Refusal::Invalid(format!("deployment `{name}` has {lacks}")));
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
            budgets: Budgets::default(),
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
    filters: Option<&GlobSet>,
    instance: InstanceRow,
    defaults: Vec<String>,
    deployment: &str,
) -> Option<NodePart> {
    let jobs = instance.wanted.map(|part| part.jobs).unwrap_or_default();
    let jobs = jobs.into_iter().map(|job| job.collector).filter(|_| wanted.jobs);
    let jobs = jobs.filter(|job| filters.is_none_or(|filters| filters.is_match(job)));
    let mut collectors: Vec<String> = jobs.chain(defaults).collect();
    collectors.sort_unstable();
    collectors.dedup();
    // Without a name the node would run everything.
    (!collectors.is_empty()).then(|| NodePart {
        node: instance.placed.node,
        collectors: Some(collectors),
        deployment: Some(deployment.to_owned()),
    })
}

fn filters(globs: &[String]) -> Result<Option<GlobSet>, Refusal> {
    if globs.is_empty() {
        return Ok(None);
    }
    if globs.len() > FILTERS {
        return Err(Refusal::Invalid(format!("at most {FILTERS} filters")));
    }
    let invalid = |e: globset::Error| Refusal::Invalid(report::brief(&format!("a filter cannot be read: {e}"), 200));
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(Glob::new(glob).map_err(invalid)?);
    }
    set.build().map(Some).map_err(invalid)
}
