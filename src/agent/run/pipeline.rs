//! The line of stages: source → redact → pack, on a thread of its own and at the lowest priority.
//!
//! A plan comes in, segments go to a sink. Used by the daemon and for a node's own bundle.

use std::io;
use std::ops::ControlFlow;
use std::thread::JoinHandle;

use tokio_util::sync::CancellationToken;

use super::pressure::{self, Pauses};
use crate::agent::host::Host;
use crate::agent::pack::{PackError, Packed, Packer, Totals};
use crate::agent::redact::{About, Added, Profile, Redactor, RuleError};
use crate::agent::source::{self, Found, Plan, Record};
use crate::bundle::path::EntryPath;
use crate::report;

/// Niceness of the thread: what the node is for comes first.
const NICE: i32 = 19;

/// Why a collection gave up as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Pipeline {
    /// Redaction could not be set up, so nothing was read.
    #[error("redaction cannot be set up")]
    Redact(#[from] RuleError),
    /// Packing ended.
    #[error(transparent)]
    Pack(#[from] PackError),
}

/// Collects everything of `plan`. What goes wrong with a source is an outcome and no error. A stop ends it early, and legally.
pub(in crate::agent) fn pipeline<S: FnMut(Packed) -> ControlFlow<()>>(
    plan: &Plan,
    added: Added<'_>,
    host: &Host,
    stop: &CancellationToken,
    mut packer: Packer<S>,
    mut pauses: Pauses<'_>,
) -> Result<Totals, Pipeline> {
    let mut redactor = Redactor::new(Profile::Secrets, &[added.site, added.asked].concat())?;
    let (entries, bytes) = packer.keep_account();
    let plan = &plan.leaving(entries, bytes);
    let mut packed = Ok(());
    // What ended it is known from `packed` and `stop`.
    let _ = source::collect(plan, host, stop, &mut |found| {
        packed = match found {
            Found::Missing(note) => packer.note(note),
            Found::Estimate(bytes) => {
                packer.expect(bytes);
                Ok(())
            }
            Found::Record(record) if packer.skip(&record.path) => Ok(()),
            Found::Record(record) => {
                rest(&mut packer, &mut pauses, stop).and_then(|()| packer.add(redactor.clean(record)))
            }
        };
        if packed.is_err() || stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    packed?;
    if let (Some(text), Ok(path)) = (pauses.json(), EntryPath::parse(pressure::PATH)) {
        let mut record = Record::text(path, "", text.into_bytes());
        record.mtime_ns = jiff::Timestamp::now().as_nanosecond();
        packer.add(redactor.clean(record))?;
    }
    if !stop.is_cancelled() {
        packer.account(&About::of(Profile::Secrets, added))?;
    }
    let totals = packer.finish()?;
    Ok(Totals { paused_ms: pauses.paused_ms(), ..totals })
}

/// Pauses where the node has too much to do; what is packed goes out before.
fn rest<S: FnMut(Packed) -> ControlFlow<()>>(
    packer: &mut Packer<S>,
    pauses: &mut Pauses<'_>,
    stop: &CancellationToken,
) -> Result<(), PackError> {
    if let Some(why) = pauses.due() {
        packer.flush()?;
        pauses.pause(&why, stop);
    }
    Ok(())
}

/// Starts `body` on a thread of low priority.
///
/// # Errors
/// When there is no thread to be had.
pub fn in_background<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name("collect".to_owned()).spawn(move || {
        // On Linux this is the priority of the calling thread alone.
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!(error = %report::chain(&error), "cannot lower the priority of the collection");
        }
        body()
    })
}
