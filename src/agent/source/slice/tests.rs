//! Every form of time at its edges, and every way of cutting against the plain one.

mod cuts;
mod edges;
mod orders;
mod stamps;
mod zones;

use std::io;

use jiff::tz::TimeZone;

use super::civil::{Calendar, Stamp, Unsaid};
use super::lines::Place;
use super::reader::Reader;
use crate::window::Window;

/// 2026-11-21T16:02:01Z.
const NOON: i64 = 1_795_276_921_000;
const SECOND: i64 = 1000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// A zone with daylight saving, as a node's /etc/localtime has it.
fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone")
}

fn ms(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap_or_else(|error| panic!("{text}: {error}")).as_millisecond()
}

fn calendar(zone: TimeZone, mtime: i64) -> Calendar {
    Calendar::new(zone, mtime, None)
}

fn window(since: Option<i64>, until: Option<i64>) -> Window {
    Window { since, until }
}

/// Bytes in memory, and how many were read.
struct Memory {
    bytes: Vec<u8>,
    read: u64,
}

impl Memory {
    fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), read: 0 }
    }
}

impl Place for Memory {
    fn at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.bytes.get(at..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count as u64;
        Ok(count)
    }
}
