//! Writes both rings: each sample as it is, and averages with what stood out.
//!
//! Samples come in one after the other. What is held of them is one average at hand; numbers go on where the file ends.

use std::path::Path;
use std::time::Duration;

use super::ring::{Opening, RingFile};
use super::sample::{Pace, Sample};
use super::{Extent, HistoryError};
use crate::protocol::history::METRICS;

/// Writes samples; one process may have one for a file.
#[derive(Debug)]
pub struct Recorder {
    ring: RingFile,
    /// Numbers that are next.
    short: u64,
    long: u64,
    tick: u64,
    average: Option<Average>,
}

impl Recorder {
    /// Opens the file, or makes it at its full size.
    ///
    /// # Errors
    /// As [`RingFile::open_to_write`], and when it cannot be read.
    pub fn open(path: &Path, extent: Extent) -> Result<(Self, Opening), HistoryError> {
        let (ring, opening) = RingFile::open_to_write(path, extent)?;
        let look = |pace| ring.look(pace).map_err(HistoryError::io("read the history"));
        let (short, long) = (look(Pace::Short)?, look(Pace::Long)?);
        let tick = short.newest_tick.max(long.newest_tick) + 1;
        Ok((Self { ring, short: short.newest + 1, long: long.newest + 1, tick, average: None }, opening))
    }

    /// Takes a sample in.
    ///
    /// # Errors
    /// When it cannot be written; the next one may be.
    pub fn take(&mut self, mut sample: Sample) -> std::io::Result<()> {
        sample.ticks = (self.tick, self.tick);
        sample.peaks = sample.values;
        self.tick += 1;
        let (extent, written) = (*self.ring.extent(), self.ring.write(Pace::Short, self.short, &sample));
        self.short += 1;
        // An average is of one boot.
        if self.average.as_ref().is_some_and(|average| average.sample.stamp.boot != sample.stamp.boot) {
            self.finish()?;
        }
        let average = self.average.get_or_insert_with(|| Average::begin(&sample));
        average.add(sample);
        if average.is_over(&extent) {
            self.finish()?;
        }
        written
    }

    /// Writes the average at hand, whatever it is about so far.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(&mut self) -> std::io::Result<()> {
        let Some(average) = self.average.take() else { return Ok(()) };
        let number = self.long;
        self.long += 1;
        self.ring.write(Pace::Long, number, &average.end())
    }
}

/// The samples of one average.
#[derive(Debug)]
struct Average {
    /// The last sample's time, the whole span, and what stood out so far.
    sample: Sample,
    sums: [(f32, f32); METRICS.len()],
}

impl Average {
    fn begin(first: &Sample) -> Self {
        let mut sample = Sample::empty(first.stamp);
        sample.stamp.span_ms = 0;
        sample.ticks = first.ticks;
        Self { sample, sums: [(0.0, 0.0); METRICS.len()] }
    }

    fn add(&mut self, next: Sample) {
        let whole = &mut self.sample;
        // A sample is as much of the average as it is long.
        let weight = (next.stamp.span_ms as f32).max(1.0);
        whole.stamp.first |= next.stamp.first;
        whole.stamp.at_ms = next.stamp.at_ms;
        whole.stamp.uptime_ms = next.stamp.uptime_ms;
        whole.stamp.span_ms += next.stamp.span_ms;
        whole.ticks.1 = next.ticks.1;
        whole.mounts = next.mounts;
        for (place, value) in next.values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
            self.sums[place].0 += value * weight;
            self.sums[place].1 += weight;
            whole.peaks[place] = METRICS[place].worse(whole.peaks[place], *value);
        }
    }

    /// Whether another sample would lead past its end.
    fn is_over(&self, extent: &Extent) -> bool {
        let span = Duration::from_millis(self.sample.stamp.span_ms);
        span + extent.short / 2 >= extent.long
    }

    fn end(mut self) -> Sample {
        for (value, (sum, weight)) in self.sample.values.iter_mut().zip(self.sums) {
            *value = if weight > 0.0 { sum / weight } else { f32::NAN };
        }
        self.sample
    }
}
