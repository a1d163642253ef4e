//! The history as an answer to a question: the last samples, as many points as a screen has.
//!
//! Samples are read from the file twice: once to know how long they are, once to sort them into points. The memory is that of the points.

use std::path::Path;
use std::time::Duration;

use super::HistoryError;
use super::lines::Samples;
use crate::protocol::history::{History, Points, Timeline};

/// The last `since` of the history in this file, in at most `points` points.
///
/// # Errors
/// When there is no history, or nothing in it.
pub fn answer(path: &Path, since: Duration, points: usize) -> Result<History, HistoryError> {
    let mut samples = Samples::of(path)?;
    let mut timeline = Timeline::default();
    while let Some(sample) = samples.next() {
        timeline.step(&sample.stamp);
    }
    samples.rewind();
    let since_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let every_ms = u64::try_from(samples.extent().short.as_millis()).unwrap_or(u64::MAX);
    let mut made = Points::new(timeline.elapsed_ms, every_ms, since_ms, points);
    let mut mounts = Vec::new();
    while let Some(sample) = samples.next() {
        made.add(&sample.stamp, &sample.values, &sample.peaks);
        mounts = sample.mounts;
    }
    Ok(made.finish(mounts, samples.damaged()))
}
