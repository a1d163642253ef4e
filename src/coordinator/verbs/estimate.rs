//! Estimates: what a bundle would hold, asked of all its nodes at once, with nothing collected.
//!
//! A request comes in like that of a bundle and reaches the same nodes; each node's own answer goes out, or why there is none, and what the
//! budgets would let it give. Sizes are foreign numbers: they are added up and shown, and nothing is decided by them.

use std::time::Duration;

use futures_util::future::join_all;

use super::bundles::{check_budgets, check_request};
use super::{BundleRequest, Principal, Refusal, Role, Verbs};
use crate::coordinator::run::shares;
use crate::id::NodeName;
use crate::protocol::questions::{CollectorSize, Estimate, EstimateOf, Question, Reply};
use crate::report;

/// Time that a node has to answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Collectors of one answer, notes on each, and characters of a note that are taken.
const COLLECTORS: usize = 512;
const NOTES: usize = 20;
const NOTE: usize = 200;

/// One node's part of an estimate.
#[derive(Clone, Debug)]
pub struct NodeEstimate {
    /// The node.
    pub node: NodeName,
    /// What it would give, or why nobody knows.
    pub answer: Result<Estimate, String>,
    /// Bytes that it may give.
    pub allowed: u64,
}

impl NodeEstimate {
    /// Bytes of files that it would give, were there no bound.
    pub fn bytes(&self) -> u64 {
        self.answer.as_ref().map_or(0, sum)
    }
}

fn sum(estimate: &Estimate) -> u64 {
    estimate.collectors.iter().fold(0, |sum, row| sum.saturating_add(row.bytes))
}

impl Verbs {
    /// Asks the nodes of a bundle what it would hold. Answers within seconds; a node that does not is named.
    ///
    /// # Errors
    /// Those of [`Verbs::start_bundle`], as far as they are known before a bundle begins.
    pub async fn estimate_bundle(&self, who: &Principal, request: BundleRequest) -> Result<Vec<NodeEstimate>, Refusal> {
        let target = request.cluster.clone();
        self.watched(who, "bundle.estimate", &target, async {
            who.needs(Role::Operator)?;
            check_request(&request)?;
            let window = self.window(request.window)?;
            let (_, nodes) = self.chosen_nodes(who, &request).await?;
            check_budgets(request.budgets, nodes.len())?;
            let of = EstimateOf { collectors: request.collectors, window };
            let asking = nodes.iter().map(|node| self.sizes(who, node, of.clone()));
            let answers = join_all(asking).await;
            let limits: Vec<(u64, u64)> =
                answers.iter().map(|answer| answer.as_ref().map_or((0, 0), |one| (sum(one), one.limit))).collect();
            let allowed = shares(request.budgets.or(self.rooms.budgets), self.rooms.engine.node_bytes(), &limits);
            let parts = nodes.into_iter().zip(answers).zip(allowed);
            Ok(parts.map(|((node, answer), allowed)| NodeEstimate { node, answer, allowed }).collect())
        })
        .await
    }

    async fn sizes(&self, who: &Principal, node: &NodeName, of: EstimateOf) -> Result<Estimate, String> {
        match self.rooms.engine.ask(node, &who.name, Question::Estimate(of), DEADLINE).await {
            Ok(Reply::Estimate(estimate)) => Ok(bounded(estimate)),
            Ok(_) => Err("its answer belongs to another kind of question".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// An answer comes from outside: what is taken of it is bounded.
fn bounded(mut estimate: Estimate) -> Estimate {
    estimate.collectors.truncate(COLLECTORS);
    for CollectorSize { collector, notes, .. } in &mut estimate.collectors {
        *collector = report::brief(collector, 63);
        notes.truncate(NOTES);
        notes.iter_mut().for_each(|note| *note = report::brief(note, NOTE));
    }
    estimate
}
