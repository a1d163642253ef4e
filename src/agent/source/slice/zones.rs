//! Zones: the names that logs write behind a time, and the offsets that there are in the world.
//!
//! Plain data. A name that means one zone here and another there has no offset: it counts where the node's own zone is called so.

/// Milliseconds of a quarter of an hour: offsets come in those.
const QUARTER: i64 = 900_000;

/// A zone's name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: &'static str,
    /// Quarters of an hour east of Greenwich; none for a name of several zones.
    quarters: Option<i64>,
}

impl Name {
    /// Milliseconds east of Greenwich, where it is one zone's name in all the world.
    pub(super) fn east(&self) -> Option<i64> {
        self.quarters.map(|quarters| quarters * QUARTER)
    }
}

const fn name(text: &'static str, quarters: i64) -> Name {
    Name { text, quarters: Some(quarters) }
}

const fn several(text: &'static str) -> Name {
    Name { text, quarters: None }
}

/// Names that are met beside those of UTC: those of RFC 5322 but for CST, which is China's too, and the common ones of the tz database.
static NAMES: [Name; 43] = [
    name("WET", 0),
    name("WEST", 4),
    name("CET", 4),
    name("CEST", 8),
    name("MEZ", 4),
    name("MESZ", 8),
    name("MET", 4),
    name("MEST", 8),
    name("EET", 8),
    name("EEST", 12),
    name("MSK", 12),
    name("WAT", 4),
    name("CAT", 8),
    name("SAST", 8),
    name("EAT", 12),
    name("PKT", 20),
    name("WIB", 28),
    name("WITA", 32),
    name("WIT", 36),
    name("HKT", 32),
    name("JST", 36),
    name("KST", 36),
    name("AWST", 32),
    name("ACST", 38),
    name("ACDT", 42),
    name("AEST", 40),
    name("AEDT", 44),
    name("NZST", 48),
    name("NZDT", 52),
    name("EST", -20),
    name("EDT", -16),
    name("CDT", -20),
    name("MST", -28),
    name("MDT", -24),
    name("PST", -32),
    name("PDT", -28),
    name("AKST", -36),
    name("AKDT", -32),
    name("HST", -40),
    several("CST"),
    several("IST"),
    several("BST"),
    several("AST"),
];

/// Letters of a name at most.
pub(super) const LETTERS: usize = 5;

/// The name that these letters are.
pub(super) fn named(letters: &[u8]) -> Option<&'static Name> {
    NAMES.iter().find(|name| name.text.as_bytes() == letters)
}

/// Offsets of zones that somebody lives in, in quarters of an hour east of Greenwich; those of whole hours from -12 to 14 beside them.
const ODD: [i64; 14] = [-38, -14, -10, 14, 18, 22, 23, 26, 35, 38, 42, 51, 55, 33];
const HOURS: std::ops::RangeInclusive<i64> = -12..=14;

/// How long before its file a line may have been written that tells the zone, and how long after by another clock, in milliseconds.
const LATE: i64 = 30_000;
const EARLY: i64 = 5_000;

/// The zone in which a clock shows `shown` (as if it were UTC's) a moment before `at`; milliseconds east of Greenwich.
pub(super) fn showing(shown: i64, at: i64) -> Option<i64> {
    let ahead = shown.checked_sub(at)?.checked_add(LATE)?;
    let quarters = ahead.div_euclid(QUARTER);
    let is_one = (quarters % 4 == 0 && HOURS.contains(&(quarters / 4))) || ODD.contains(&quarters);
    (is_one && ahead.rem_euclid(QUARTER) <= LATE + EARLY).then_some(quarters * QUARTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 4 * QUARTER;

    #[test]
    fn no_name_stands_twice_and_none_is_longer_than_is_looked_at() {
        for (at, name) in NAMES.iter().enumerate() {
            assert!(NAMES[at + 1..].iter().all(|other| other.text != name.text), "{name:?}");
            assert!((1..=LETTERS).contains(&name.text.len()), "{name:?}");
            assert!(name.quarters.is_none_or(|quarters| (-48..=56).contains(&quarters)), "{name:?}");
        }
        assert_eq!(named(b"PDT").and_then(Name::east), Some(-7 * HOUR));
        assert_eq!(named(b"IST").map(Name::east), Some(None));
        assert_eq!(named(b"NOPE"), None);
    }

    #[test]
    fn a_zone_is_told_by_what_its_clock_shows() {
        let at = 1_795_276_921_000;
        for quarters in [-48, -38, -20, 0, 4, 22, 23, 36, 55, 56] {
            for off in [-LATE, -1000, 0, EARLY] {
                assert_eq!(showing(at + quarters * QUARTER + off, at), Some(quarters * QUARTER), "{quarters} {off}");
            }
            for off in [-LATE - 1, EARLY + 1, -QUARTER / 2] {
                assert_eq!(showing(at + quarters * QUARTER + off, at), None, "{quarters} {off}");
            }
        }
        // Nobody lives there.
        for quarters in [-52, -49, 1, 3, 60, 96, 4000] {
            assert_eq!(showing(at + quarters * QUARTER, at), None, "{quarters}");
        }
        assert_eq!((showing(i64::MIN, at), showing(i64::MAX, -1)), (None, None));
    }
}
