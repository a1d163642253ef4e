//! Requests on loopback, as a part of a collection: one after the other, each an entry, or a note that says why not.
//!
//! What is asked comes from collectors, and a token from a file below one of their roots; answers go out as records. A server that is not
//! there is no failure.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::{COMMANDS, Gather, skipped};
use crate::agent::source::budget::cut::COUNT;
use crate::agent::source::collector::{self, Collector};
use crate::agent::source::condition;
use crate::agent::source::ends::Ends;
use crate::agent::source::http::{Answer, Refusal, Request};
use crate::bundle::outcome::Outcome;
use crate::bundle::path::EntryPath;
use crate::bundle::segment::Note;
use crate::secret::Secret;

/// Bytes of a token's file at most.
const TOKEN: u64 = 16 << 10;

impl Gather<'_> {
    /// Asks what a collector asks of this node's servers.
    pub(super) fn requests(&mut self, collector: &Collector) -> ControlFlow<()> {
        if !self.host.is_own() && !collector.http.is_empty() {
            let reason = "another root than / is read: this node's servers would speak of another system";
            return self.missing(skipped("http/*".to_owned(), collector, reason.to_owned()));
        }
        for wanted in &collector.http {
            let path = format!("http/{}.txt", wanted.name);
            if !self.plan.wants(collector.name.as_str(), Path::new(&path)) {
                continue;
            }
            let limit = wanted.max_bytes.unwrap_or(self.plan.bounds.command_bytes);
            let Some(most) = self.budget.most(limit, COMMANDS, "an answer") else {
                self.no_room(path, collector.name.as_str(), None)?;
                continue;
            };
            match self.ask(collector, wanted, most.bytes.saturating_add(COUNT)) {
                Ok(answer) => {
                    let ending = answer.ending();
                    self.output(&path, collector, Box::new(Ends::new(answer, most, Arc::clone(&ending))), &ending)?;
                }
                Err(Refusal::Absent(reason)) => self.missing(skipped(path, collector, reason))?,
                Err(Refusal::Denied(reason)) => {
                    let reason = condition::granted(reason, collector.granted_by.as_deref());
                    self.missing(skipped(path, collector, reason))?;
                }
                Err(Refusal::Failed(reason)) => {
                    let err = EntryPath::parse(&format!("{path}.err"));
                    let note = Note { outcome: Outcome::Failed, ..skipped(path, collector, reason) };
                    match err {
                        Ok(err) => self.failed(note, err)?,
                        Err(_) => self.missing(note)?,
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn ask(&self, collector: &Collector, wanted: &collector::Http, bytes: u64) -> Result<Answer, Refusal> {
        if let Some(reason) = self.conditions.missing(&wanted.when, collector.granted_by.as_deref()) {
            return Err(Refusal::Absent(reason));
        }
        let token = wanted.token_file.as_ref().map(|file| self.token(collector, file)).transpose()?;
        let bounds = &self.plan.bounds;
        let request = Request {
            at: &wanted.at,
            path: &wanted.path,
            statuses: &wanted.statuses,
            time: wanted.timeout.unwrap_or(bounds.command_time),
            bytes,
            token,
            stop: self.stop,
        };
        request.send()
    }

    /// A token out of its file, which lies below a root of the collector wherever links lead.
    fn token(&self, collector: &Collector, file: &Path) -> Result<Secret, Refusal> {
        let failed = |problem: &str| Refusal::Failed(format!("token file {} {problem}", file.display()));
        let resolve = |path: &Path| self.conditions.resolve(path);
        let real = resolve(file).map_err(|_| Refusal::Absent(format!("token file {} is not there", file.display())))?;
        let own = self.host.below(&real);
        if !collector.roots.iter().any(|root| resolve(root).is_ok_and(|root| real.starts_with(root)))
            || self.plan.never.iter().any(|never| own.starts_with(never))
        {
            return Err(failed("lies outside of the declared roots"));
        }
        let text = self.host.read_plain(&real, TOKEN).map_err(|error| failed(&format!("cannot be read: {error}")))?;
        let text = String::from_utf8(text).unwrap_or_default();
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(failed("holds no token: one line of visible ASCII"));
        }
        Ok(Secret::new(token))
    }
}
