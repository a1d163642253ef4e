//! One sample, and the 512 bytes that it is on the disk.
//!
//! Values come from whoever measures. A record carries its own number, place and digest, so that what a crash tore, or a disk turned over,
//! is known for what it is and costs nothing else. It never holds a path but the mounts' own.

use crate::protocol::history::{METRICS, Mounted, Stamp};

/// Bytes of a record.
pub const RECORD: usize = 512;
/// File systems that a sample names: those with the least left.
pub const WORST: usize = 3;
/// Places for values; what is measured may become more.
const PLACES: usize = 32;
/// Bytes of a mount's name.
const NAME: usize = 44;
/// Bytes of a file system.
const MOUNTED: usize = NAME + 12;

const VALUES: usize = 72;
const PEAKS: usize = VALUES + 4 * PLACES;
const MOUNTS: usize = PEAKS + 4 * PLACES;
const _: () = assert!(METRICS.len() <= PLACES && MOUNTS + WORST * MOUNTED <= RECORD);

/// Of which ring a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Every sample.
    Short,
    /// Averages.
    Long,
}

/// What is known of a node at one time, or of a stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub stamp: Stamp,
    /// Number of the first sample in it, and of the last one: the same, unless it is an average.
    pub ticks: (u64, u64),
    /// Averages, by [`crate::protocol::history::Key`]; what is not known is not a number.
    pub values: [f32; METRICS.len()],
    /// What stood out.
    pub peaks: [f32; METRICS.len()],
    /// The file systems with the least left, fullest first.
    pub mounts: Vec<Mounted>,
}

impl Sample {
    /// A sample in which nothing was measured.
    pub fn empty(stamp: Stamp) -> Self {
        Self {
            stamp,
            ticks: (0, 0),
            values: [f32::NAN; METRICS.len()],
            peaks: [f32::NAN; METRICS.len()],
            mounts: Vec::new(),
        }
    }

    /// Its bytes, as number `number` of a ring.
    pub fn encode(&self, pace: Pace, number: u64) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        put(8, &number.to_le_bytes());
        put(16, &self.ticks.1.to_le_bytes());
        put(24, &self.ticks.0.to_le_bytes());
        put(32, &self.stamp.at_ms.to_le_bytes());
        put(40, &self.stamp.uptime_ms.to_le_bytes());
        put(48, &u32::try_from(self.stamp.span_ms).unwrap_or(u32::MAX).to_le_bytes());
        let mounts = self.mounts.len().min(WORST);
        put(52, &[pace as u8, u8::from(self.stamp.first), METRICS.len() as u8, mounts as u8]);
        put(56, &self.stamp.boot.to_be_bytes());
        for (place, (value, peak)) in self.values.iter().zip(&self.peaks).enumerate() {
            put(VALUES + 4 * place, &value.to_le_bytes());
            put(PEAKS + 4 * place, &peak.to_le_bytes());
        }
        for (place, mounted) in self.mounts.iter().take(WORST).enumerate() {
            let at = MOUNTS + place * MOUNTED;
            put(at, short(&mounted.mount).as_bytes());
            for (n, value) in [mounted.used_percent, mounted.inodes_used_percent, mounted.free_kib].iter().enumerate() {
                put(at + NAME + 4 * n, &value.to_le_bytes());
            }
        }
        let digest = digest(&bytes);
        bytes[..8].copy_from_slice(&digest);
        bytes
    }

    /// Reads a record, with its number; `None` for what is none of this ring.
    pub fn decode(bytes: &[u8; RECORD], pace: Pace) -> Option<(u64, Self)> {
        if bytes[..8] != digest(bytes) || bytes[52] != pace as u8 {
            return None;
        }
        let eight = |at: usize| u64::from_le_bytes(part(bytes, at));
        let float = |at: usize| f32::from_le_bytes(part(bytes, at));
        // One of an earlier release knows fewer values, one of a later release more.
        let known = usize::from(bytes[54]).min(METRICS.len());
        let values =
            |from: usize| std::array::from_fn(|place| if place < known { float(from + 4 * place) } else { f32::NAN });
        let mounted = |place: usize| {
            let at = MOUNTS + place * MOUNTED;
            let name = &bytes[at..at + NAME];
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(NAME);
            Mounted {
                mount: String::from_utf8_lossy(&name[..end]).into_owned(),
                used_percent: float(at + NAME),
                inodes_used_percent: float(at + NAME + 4),
                free_kib: float(at + NAME + 8),
            }
        };
        let stamp = Stamp {
            at_ms: i64::from_le_bytes(part(bytes, 32)),
            uptime_ms: eight(40),
            span_ms: u32::from_le_bytes(part(bytes, 48)).into(),
            boot: u128::from_be_bytes(part(bytes, 56)),
            first: bytes[53] & 1 == 1,
        };
        let mounts = (0..usize::from(bytes[55]).min(WORST)).map(mounted).collect();
        let sample =
            Self { stamp, ticks: (eight(24), eight(16)), values: values(VALUES), peaks: values(PEAKS), mounts };
        Some((eight(8), sample))
    }
}

/// Eight bytes of BLAKE3 over all that comes after them.
fn digest(bytes: &[u8; RECORD]) -> [u8; 8] {
    part(blake3::hash(&bytes[8..]).as_bytes(), 0)
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a place inside the record")
}

/// The start and the end of a name that is too long.
fn short(name: &str) -> String {
    if name.len() <= NAME {
        return name.to_owned();
    }
    let head = (0..=NAME / 2).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    let room = NAME - head - '…'.len_utf8();
    let tail = (name.len() - room..=name.len()).find(|at| name.is_char_boundary(*at)).unwrap_or(name.len());
    format!("{}…{}", &name[..head], &name[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::history::Key;

    pub(super) fn sample() -> Sample {
        let stamp = Stamp { at_ms: -5, uptime_ms: 70_000, span_ms: 10_000, boot: 7 << 100, first: true };
        let mounted = Mounted { mount: "/var".to_owned(), used_percent: 91.5, inodes_used_percent: 3.0, free_kib: 1e6 };
        let mut sample = Sample { ticks: (3, 9), mounts: vec![mounted; WORST], ..Sample::empty(stamp) };
        sample.values = [1.5; METRICS.len()];
        sample.peaks = [2.5; METRICS.len()];
        sample
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let sample = sample();
        let bytes = sample.encode(Pace::Long, 4711);
        assert_eq!(Sample::decode(&bytes, Pace::Long), Some((4711, sample)));
        assert_eq!(Sample::decode(&bytes, Pace::Short), None, "of the other ring");
        assert_eq!(Sample::decode(&[0; RECORD], Pace::Short), None);
    }

    #[test]
    fn one_bit_is_enough_to_tell() {
        let bytes = sample().encode(Pace::Short, 1);
        for bit in 0..8 * RECORD {
            let mut turned = bytes;
            turned[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Sample::decode(&turned, Pace::Short), None, "bit {bit}");
        }
    }

    #[test]
    fn what_an_earlier_release_did_not_measure_is_not_known() {
        let mut bytes = sample().encode(Pace::Short, 1);
        bytes[54] = Key::AgentRss as u8;
        let sum = digest(&bytes);
        bytes[..8].copy_from_slice(&sum);
        let (_, read) = Sample::decode(&bytes, Pace::Short).expect("a record");
        assert!(read.values[Key::AgentRss as usize].is_nan() && read.values[Key::Forks as usize] == 1.5);
    }

    #[test]
    fn long_names_keep_both_ends() {
        let name = format!("/var/lib/{}/volumes/é", "kubelet/pods/".repeat(9));
        let cut = short(&name);
        assert!(cut.len() <= NAME && cut.starts_with("/var/lib/kubelet") && cut.ends_with("/volumes/é"), "{cut}");
        let odd = short(&"é".repeat(60));
        assert!(odd.len() <= NAME && odd.contains('…'), "{odd}");
    }
}
