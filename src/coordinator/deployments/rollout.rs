//! Carrying a deployment out, and taking it back: the state first, then each agent, each told as a step of the task.
//!
//! What a task decided is wanted from then on, whoever could take it up: a node that refuses or does not answer fails the task, is
//! named in its events, and stays behind until it comes back or somebody deploys again. Nothing here reads manifests' texts.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::manifest::Manifest;
use super::resolve::{Candidate, Placed, Plan, Planned, resolve};
use super::row::{InstanceRow, RollOut};
use super::{AT_ONCE, Deployments};
use crate::coordinator::refusal::Refusal;
use crate::coordinator::run::{AskError, Step, StepState};
use crate::coordinator::tasks::{TaskError, Work};
use crate::id::DeploymentName;
use crate::protocol::questions::{Apply, Deployment};
use crate::report;

/// The director's codes: no such deployment, a manifest that cannot be carried out, agents that do not answer or say no.
const NOT_FOUND: u32 = 70000;
const BAD_MANIFEST: u32 = 440_001;
const AGENTS: u32 = 450_001;
/// Instances that a task's line of result names.
const NAMED: usize = 5;

/// Of which jobs a running collection is not waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SkipDrain {
    /// None.
    #[default]
    No,
    /// All.
    All,
    /// These.
    Jobs(Vec<String>),
}

impl SkipDrain {
    fn of(&self, part: &Deployment) -> bool {
        match self {
            Self::No => false,
            Self::All => true,
            Self::Jobs(names) => part.jobs.iter().any(|job| names.contains(&job.collector)),
        }
    }
}

/// How a manifest is carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Agents apply it anew, also where nothing changed.
    pub recreate: bool,
    /// Which jobs are not waited for.
    pub skip_drain: SkipDrain,
    /// Agents that do not answer fail nothing; they take it up when they come back.
    pub fix: bool,
    /// Nothing is done; it is only said what would be.
    pub dry_run: bool,
}

/// A manifest that is to be carried out.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What it says.
    pub manifest: Manifest,
    /// The text as it was sent.
    pub text: String,
    /// How.
    pub how: How,
    /// Who asks.
    pub user: String,
}

impl Deployments {
    /// Carries a manifest out on nodes among `candidates`. Answers the task's line of result.
    ///
    /// # Errors
    /// When it cannot be resolved, and nothing was changed; or when an agent did not take its part, and the others did.
    ///
    /// # Cancel safety
    /// What is wanted stands whole in the state or not at all; agents that were not asked yet are asked when they come back.
    pub async fn deploy(&self, work: &Work, wish: Wish, candidates: Vec<Candidate>) -> Result<String, TaskError> {
        let name = wish.manifest.name.clone();
        let _turn = work.unless_cancelled(self.deploying.take(&name)).await?;
        for member in &wish.manifest.unknown {
            work.warning(format!("`{member}` is not known and has no effect")).await;
        }
        let (plan, leaving) = self.prepare(work, &wish, candidates).await?;
        if wish.how.dry_run {
            for planned in &plan.instances {
                work.debug(&format!("would run on {}: {}", slug(&planned.placed), jobs(&planned.part))).await;
            }
            return Ok(format!(
                "dry run: {}, {} would leave; nothing was changed",
                report::counted(plan.instances.len(), "instance"),
                leaving.len()
            ));
        }
        self.store
            .roll_out(
                RollOut {
                    name: name.clone(),
                    manifest: wish.text.clone(),
                    releases: plan.releases.clone(),
                    stemcells: plan.stemcells.clone(),
                    instances: plan.instances.clone(),
                    user: wish.user.clone(),
                },
                self.clock.now_ms(),
            )
            .await
            .map_err(Refusal::from)?;
        let mut failed = self.update(work, &wish, plan.instances).await?;
        failed.extend(
            self.remove(work, &name, &wish.user, leaving).await?.into_iter().filter(|f| !wish.how.fix || !f.silent),
        );
        concluded(&name, &failed)
    }

    /// Takes a deployment back from all its nodes. With `force`, whoever does not answer is told when it comes back.
    ///
    /// # Errors
    /// When there is none, or an agent still keeps it, and `force` was not asked for.
    pub async fn delete(
        &self,
        work: &Work,
        name: &DeploymentName,
        user: &str,
        force: bool,
    ) -> Result<String, TaskError> {
        let _turn = work.unless_cancelled(self.deploying.take(name)).await?;
        let instances = self.store.instances(name).await.map_err(Refusal::from)?;
        if !self.store.withdraw(name).await.map_err(Refusal::from)? {
            return Err(TaskError::new(NOT_FOUND, format!("Deployment '{name}' doesn't exist")));
        }
        let failed = self.remove(work, name, user, instances).await?;
        if force {
            for failure in &failed {
                work.warning(format!(
                    "{} still keeps it, and is told when it comes back: {}",
                    failure.who, failure.reason
                ))
                .await;
            }
            self.store.delete_deployment(name).await.map_err(Refusal::from)?;
            return concluded(name, &[]);
        }
        concluded(name, &failed)
    }

    /// The plan, and the instances that are to leave.
    async fn prepare(
        &self,
        work: &Work,
        wish: &Wish,
        candidates: Vec<Candidate>,
    ) -> Result<(Plan, Vec<InstanceRow>), TaskError> {
        let step = |state, data| Step {
            stage: "Preparing deployment",
            tags: Vec::new(),
            total: 1,
            task: "Preparing deployment".to_owned(),
            index: 1,
            progress: if state == StepState::Started { 0 } else { 100 },
            state,
            data,
        };
        work.step(step(StepState::Started, None)).await;
        let there = self.store.instances(&wish.manifest.name).await.map_err(Refusal::from)?;
        let placed: Vec<Placed> =
            there.iter().filter(|row| row.wanted.is_some()).map(|row| row.placed.clone()).collect();
        let resolved = resolve(&wish.manifest, &candidates, &placed).map_err(|reason| reason.to_string());
        match resolved.and_then(all_have_jobs) {
            Ok(plan) => {
                work.step(step(StepState::Finished, None)).await;
                let staying: BTreeSet<_> = plan.instances.iter().map(|planned| &planned.placed.node).collect();
                let leaving = there.into_iter().filter(|row| !staying.contains(&row.placed.node)).collect();
                Ok((plan, leaving))
            }
            Err(reason) => {
                work.step(step(StepState::Failed, Some(json!({ "error": reason })))).await;
                Err(TaskError::new(BAD_MANIFEST, reason))
            }
        }
    }

    async fn update(&self, work: &Work, wish: &Wish, instances: Vec<Planned>) -> Result<Vec<Failure>, TaskError> {
        let total = instances.len() as u64;
        let (name, how) = (&wish.manifest.name, &wish.how);
        let one = |(index, planned): (u64, Planned)| async move {
            let step = Told { work, stage: "Updating instance", total, index, placed: &planned.placed };
            step.say(StepState::Started, None).await;
            let apply = Apply {
                recreate: how.recreate,
                skip_drain: how.skip_drain.of(&planned.part),
                deployment: planned.part.clone(),
            };
            match self.ask_to_keep(name, &planned.placed.node, &wish.user, apply).await {
                Ok(changed) => {
                    let status = if changed { "applied" } else { "unchanged" };
                    step.say(StepState::Finished, Some(json!({ "status": status }))).await;
                    None
                }
                Err(error) if how.fix && silent(&error) => {
                    step.say(StepState::Finished, Some(json!({ "status": "waits for its agent" }))).await;
                    work.warning(format!("{} takes it up when it comes back: {error}", slug(&planned.placed))).await;
                    None
                }
                Err(error) => {
                    step.say(StepState::Failed, Some(json!({ "error": error.to_string() }))).await;
                    Some(Failure::of(&planned.placed, &error))
                }
            }
        };
        each(work, stream::iter((1..).zip(instances)).map(one)).await
    }

    async fn remove(
        &self,
        work: &Work,
        name: &DeploymentName,
        user: &str,
        instances: Vec<InstanceRow>,
    ) -> Result<Vec<Failure>, TaskError> {
        let total = instances.len() as u64;
        let one = |(index, row): (u64, InstanceRow)| async move {
            let step = Told { work, stage: "Deleting instances", total, index, placed: &row.placed };
            step.say(StepState::Started, None).await;
            match self.ask_to_forget(name, &row.placed.node, user).await {
                Ok(()) => {
                    step.say(StepState::Finished, None).await;
                    None
                }
                Err(error) => {
                    step.say(StepState::Failed, Some(json!({ "error": error.to_string() }))).await;
                    Some(Failure::of(&row.placed, &error))
                }
            }
        };
        each(work, stream::iter((1..).zip(instances)).map(one)).await
    }
}

/// A node without a job has no part to keep.
fn all_have_jobs(plan: Plan) -> Result<Plan, String> {
    match plan.instances.iter().find(|planned| planned.part.jobs.is_empty()) {
        None => Ok(plan),
        Some(planned) => Err(format!("the instance group `{}` has nodes, and has no jobs", planned.placed.group)),
    }
}

/// A node that did not do its part.
struct Failure {
    who: String,
    reason: String,
    silent: bool,
}

impl Failure {
    fn of(placed: &Placed, error: &AskError) -> Self {
        Self { who: slug(placed), reason: error.to_string(), silent: silent(error) }
    }
}

/// Whether nothing was heard, as against a no.
fn silent(error: &AskError) -> bool {
    matches!(error, AskError::NotConnected | AskError::TimedOut)
}

/// Runs steps side by side, a bounded number at a time, until they are through or the task is to stop.
async fn each<S, F>(work: &Work, steps: S) -> Result<Vec<Failure>, TaskError>
where
    S: stream::Stream<Item = F>,
    F: Future<Output = Option<Failure>>,
{
    work.unless_cancelled(steps.buffer_unordered(AT_ONCE).filter_map(|failed| async { failed }).collect()).await
}

/// One instance's step of a task.
struct Told<'a> {
    work: &'a Work,
    stage: &'static str,
    total: u64,
    index: u64,
    placed: &'a Placed,
}

impl Told<'_> {
    async fn say(&self, state: StepState, data: Option<serde_json::Value>) {
        self.work
            .step(Step {
                stage: self.stage,
                tags: vec![self.placed.group.clone()],
                total: self.total,
                task: slug(self.placed),
                index: self.index,
                progress: if state == StepState::Started { 0 } else { 100 },
                state,
                data,
            })
            .await;
    }
}

/// `group/id (number) on node`, as the director names an instance, and where it is.
fn slug(placed: &Placed) -> String {
    format!("{}/{} ({}) on {}", placed.group, placed.id, placed.index, placed.node)
}

fn jobs(part: &Deployment) -> String {
    part.jobs.iter().map(|job| job.collector.as_str()).collect::<Vec<_>>().join(", ")
}

fn concluded(name: &DeploymentName, failed: &[Failure]) -> Result<String, TaskError> {
    if failed.is_empty() {
        return Ok(format!("/deployments/{name}"));
    }
    let first: Vec<_> = failed.iter().take(NAMED).map(|f| format!("{}: {}", f.who, f.reason)).collect();
    let more = if failed.len() > NAMED { format!(" and {} more", failed.len() - NAMED) } else { String::new() };
    let count = failed.len();
    Err(TaskError::new(AGENTS, format!("{count} instance(s) did not follow: {}{more}", first.join("; "))))
}
