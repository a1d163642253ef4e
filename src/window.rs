//! A stretch of time that logs are taken from: how people name it, and what it comes to.
//!
//! A [`Moment`] comes from a command line, a query or a body (`2h`, `now`, RFC 3339); [`Lookback`] is what a configuration sets for when nobody
//! says. An [`Asked`] window becomes a [`Window`] once, against one clock, so that all nodes have the same one. Nothing here reads a log.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::rfc3339;
use crate::report;

/// How far back logs go when nobody says.
const LOOKBACK: Duration = Duration::from_secs(48 * 3600);
/// Ten years, which no log of a node outlives.
const LONGEST: Duration = Duration::from_secs(3650 * 86_400);
/// Bytes of a text that can be meant.
const TEXT: usize = 64;
/// Bytes of a date, `2026-11-21`.
const DATE: usize = 10;

/// Why a text names no time, or two times no window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Not a time.
    #[error(
        "`{0}` is no time: write one as 2026-11-21T16:02:00Z, a day (UTC) as 2026-11-21, how long ago it was as 45m, 2h or 3d, or now"
    )]
    Moment(String),
    /// A date and a time that may be anywhere in the world.
    #[error("`{0}` lacks its zone: add Z for UTC, or one such as +01:00")]
    Zone(String),
    /// Not how far back to go.
    #[error("`{0}` is no window: write how far back to go as 12h, 48h or 7d, or all")]
    Lookback(String),
    /// An open beginning is no end.
    #[error("a window ends at a time or stays open, so `all` is only for its beginning")]
    All,
    /// It begins after its end.
    #[error("the window begins at {since}, after its end at {until}")]
    Backwards {
        /// Its beginning.
        since: String,
        /// Its end.
        until: String,
    },
    /// It begins when nothing can have been written yet.
    #[error("the window begins at {since}, which is yet to come: it is {now} now")]
    Future {
        /// Its beginning.
        since: String,
        /// The time by the clock that counts.
        now: String,
    },
}

/// A time as people name it; only a clock makes a point in time of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Moment {
    /// Milliseconds since 1970.
    At(i64),
    /// So long ago; zero is now.
    Ago(Duration),
    /// As far back as there is anything.
    All,
}

impl FromStr for Moment {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let text = text.trim();
        match text {
            "all" => return Ok(Self::All),
            "now" => return Ok(Self::Ago(Duration::ZERO)),
            _ => {}
        }
        let bad = || WindowError::Moment(report::brief(text, TEXT));
        if text.len() > TEXT {
            return Err(bad());
        }
        if let Some(ago) = length(text) {
            return Ok(Self::Ago(ago));
        }
        // A query turns the plus of a zone into a space.
        let zoned = text.rsplit_once(' ').filter(|(_, zone)| zone.len() == 5 && zone.as_bytes()[2] == b':');
        let zoned = zoned.map(|(time, zone)| format!("{time}+{zone}"));
        // A date alone is a day of UTC, from its beginning; with a time beside it the zone has to be said.
        let day = (text.len() == DATE).then(|| format!("{text}T00:00:00Z"));
        match day.or(zoned).as_deref().unwrap_or(text).parse::<Timestamp>() {
            Ok(at) => Ok(Self::At(at.as_millisecond())),
            Err(_) if text.parse::<jiff::civil::DateTime>().is_ok() => {
                Err(WindowError::Zone(report::brief(text, TEXT)))
            }
            Err(_) => Err(bad()),
        }
    }
}

impl TryFrom<String> for Moment {
    type Error = WindowError;

    fn try_from(text: String) -> Result<Self, WindowError> {
        text.parse()
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.to_string()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(ms) => f.write_str(&rfc3339(*ms)),
            Self::Ago(Duration::ZERO) => f.write_str("now"),
            Self::Ago(ago) => write!(f, "{}s", ago.as_secs()),
            Self::All => f.write_str("all"),
        }
    }
}

impl Moment {
    /// The point in time, for whom it is `now_ms`; `None` for the beginning of all.
    fn at(self, now_ms: i64) -> Option<i64> {
        match self {
            Self::At(ms) => Some(ms),
            Self::Ago(ago) => Some(before(now_ms, ago)),
            Self::All => None,
        }
    }
}

/// A window as it is asked for, both ends as people name them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Its beginning; as far back from its end when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// Its end; open when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
}

impl Asked {
    /// All time.
    pub const ALL: Self = Self { since: Some(Moment::All), until: None };

    /// What it comes to at `now_ms`: where it names no beginning, it goes `lookback` back from its end.
    ///
    /// # Errors
    /// When it begins after its end, or in the future.
    pub fn resolve(self, lookback: Lookback, now_ms: i64) -> Result<Window, WindowError> {
        let until = match self.until {
            Some(Moment::All) => return Err(WindowError::All),
            until => until.and_then(|until| until.at(now_ms)),
        };
        let since = match self.since {
            Some(since) => since.at(now_ms),
            None => lookback.0.map(|back| before(until.unwrap_or(now_ms).min(now_ms), back)),
        };
        if let Some(since) = since {
            if since > now_ms {
                return Err(WindowError::Future { since: rfc3339(since), now: rfc3339(now_ms) });
            }
            if let Some(until) = until.filter(|until| since > *until) {
                return Err(WindowError::Backwards { since: rfc3339(since), until: rfc3339(until) });
            }
        }
        Ok(Window { since, until })
    }
}

/// How far back a window goes when a request does not say: a length of time, or `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Lookback(Option<Duration>);

impl Lookback {
    /// As far back as there is anything.
    pub const ALL: Self = Self(None);
}

impl Default for Lookback {
    fn default() -> Self {
        Self(Some(LOOKBACK))
    }
}

impl FromStr for Lookback {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        match text.trim() {
            "all" => Ok(Self::ALL),
            text => match length(text).filter(|length| !length.is_zero()) {
                Some(length) => Ok(Self(Some(length))),
                None => Err(WindowError::Lookback(report::brief(text, TEXT))),
            },
        }
    }
}

impl TryFrom<String> for Lookback {
    type Error = WindowError;

    fn try_from(text: String) -> Result<Self, WindowError> {
        text.parse()
    }
}

impl fmt::Display for Lookback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.map(|length| length.as_secs()) {
            None => f.write_str("all"),
            Some(seconds) if seconds.is_multiple_of(3600) => write!(f, "{}h", seconds / 3600),
            Some(seconds) => write!(f, "{seconds}s"),
        }
    }
}

/// A stretch of time; what lies on its ends is in it. On the wire and in files its ends are RFC 3339.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Its beginning, milliseconds since 1970; open when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "end")]
    pub since: Option<i64>,
    /// Its end, milliseconds since 1970; open when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "end")]
    pub until: Option<i64>,
}

impl Window {
    /// All time.
    pub const ALL: Self = Self { since: None, until: None };

    /// Whether nothing lies outside.
    pub fn is_all(&self) -> bool {
        *self == Self::ALL
    }

    /// The window by a clock that goes wrong by `offset_ms`, or did not when something was written; and `pad` longer at both ends.
    pub fn padded(self, pad: Duration, offset_ms: i64) -> Self {
        let pad = i64::try_from(pad.as_millis()).unwrap_or(i64::MAX);
        let wider = |at: i64, by: i64| at.saturating_add(by);
        Self {
            since: self.since.map(|at| wider(at, offset_ms.min(0)).saturating_sub(pad)),
            until: self.until.map(|at| wider(at, offset_ms.max(0)).saturating_add(pad)),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.since, self.until) {
            (None, None) => f.write_str("all"),
            (Some(since), None) => write!(f, "since {}", rfc3339(since)),
            (None, Some(until)) => write!(f, "until {}", rfc3339(until)),
            (Some(since), Some(until)) => write!(f, "{} to {}", rfc3339(since), rfc3339(until)),
        }
    }
}

fn before(now_ms: i64, ago: Duration) -> i64 {
    now_ms.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX))
}

/// `90s`, `45m`, `2h`, `3d`, `1w`, `1d12h`: ten years at most.
fn length(text: &str) -> Option<Duration> {
    let (mut seconds, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let factor = match &rest[..unit] {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 7 * 86_400,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(factor)?)?;
        rest = &rest[unit..];
    }
    let length = Duration::from_secs(seconds);
    (!text.is_empty() && length <= LONGEST).then_some(length)
}

/// An end of a window as RFC 3339.
mod end {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::clock::rfc3339;

    pub(super) fn serialize<S: Serializer>(end: &Option<i64>, to: S) -> Result<S::Ok, S::Error> {
        match end {
            Some(ms) => to.serialize_str(&rfc3339(*ms)),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        let at = text.parse::<Timestamp>().map_err(|_| D::Error::custom("not a time as RFC 3339 has it"))?;
        Ok(Some(at.as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    /// 2026-11-21T16:02:00Z.
    const NOW: i64 = 1_795_276_920_000;

    fn resolve(since: &str, until: &str) -> Result<Window, WindowError> {
        let moment = |text: &str| if text.is_empty() { Ok(None) } else { text.parse().map(Some) };
        Asked { since: moment(since)?, until: moment(until)? }.resolve(Lookback::default(), NOW)
    }

    fn window(since: Option<i64>, until: Option<i64>) -> Window {
        Window { since, until }
    }

    #[test]
    fn what_people_write_is_resolved_against_one_clock() {
        assert_eq!(rfc3339(NOW), "2026-11-21T16:02:00.000Z");
        for (since, until, expected) in [
            ("", "", window(Some(NOW - 48 * HOUR), None)),
            ("2h", "", window(Some(NOW - 2 * HOUR), None)),
            ("1d12h", "45m", window(Some(NOW - 36 * HOUR), Some(NOW - 45 * 60_000))),
            ("1w", "now", window(Some(NOW - 168 * HOUR), Some(NOW))),
            ("90s", "", window(Some(NOW - 90_000), None)),
            ("now", "now", window(Some(NOW), Some(NOW))),
            ("all", "", Window::ALL),
            ("all", "3h", window(None, Some(NOW - 3 * HOUR))),
            ("", "3h", window(Some(NOW - 51 * HOUR), Some(NOW - 3 * HOUR))),
            ("2026-11-21T15:02:00Z", "2026-11-21T16:02:00+00:00", window(Some(NOW - HOUR), Some(NOW))),
            ("2026-11-21T16:02:00+01:00", "", window(Some(NOW - HOUR), None)),
            ("2026-11-21 15:02:00.250Z", "", window(Some(NOW - HOUR + 250), None)),
            ("2026-11-21", "", window(Some(NOW - 16 * HOUR - HOUR / 30), None)),
            ("2026-11-20", "2026-11-21", window(Some(NOW - 40 * HOUR - HOUR / 30), Some(NOW - 16 * HOUR - HOUR / 30))),
            ("2026-11-21T16:02:00 01:00", "", window(Some(NOW - HOUR), None)),
            // An end that is yet to come is an open one, and the default reaches back from now.
            ("", "2026-11-22T16:02:00Z", window(Some(NOW - 48 * HOUR), Some(NOW + 24 * HOUR))),
        ] {
            assert_eq!(resolve(since, until), Ok(expected), "{since:?} {until:?}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_words() {
        for (since, until, words) in [
            ("yesterday", "", "`yesterday` is no time"),
            ("-2h", "", "`-2h` is no time"),
            ("2", "", "is no time"),
            ("2y", "", "is no time"),
            ("h", "", "is no time"),
            ("99999d", "", "is no time"),
            ("18446744073709551615w", "", "is no time"),
            ("2026-02-30T00:00:00Z", "", "is no time"),
            ("2026-02-30", "", "is no time"),
            ("21.11.2026", "", "is no time"),
            ("2026-11-21T16:02:00", "", "lacks its zone"),
            ("1h", "2h", "begins at 2026-11-21T15:02:00.000Z, after its end at 2026-11-21T14:02:00.000Z"),
            ("2026-11-21T16:02:01Z", "", "yet to come"),
            ("", "all", "only for its beginning"),
            ("\u{1b}[31m", "", "is no time"),
            (&"9".repeat(5000), "", "is no time"),
        ] {
            let said = resolve(since, until).expect_err(since).to_string();
            assert!(said.contains(words) && said.len() < 300 && !said.contains('\u{1b}'), "{since:?}: {said}");
        }
        assert!(" ".parse::<Moment>().is_err());
    }

    #[test]
    fn a_lookback_is_a_length_or_all() {
        assert_eq!("48h".parse(), Ok(Lookback::default()));
        assert_eq!("2d".parse(), Ok(Lookback::default()));
        assert_eq!("all".parse(), Ok(Lookback::ALL));
        assert_eq!(Lookback::default().to_string(), "48h");
        assert_eq!(Asked::default().resolve(Lookback::ALL, NOW), Ok(Window::ALL));
        for bad in ["0h", "", "now", "2026-11-21T16:02:00Z", "many"] {
            assert!(bad.parse::<Lookback>().is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_come_back_as_they_went() {
        for text in ["all", "now", "7200s", "2026-11-21T16:02:00.000Z"] {
            let moment: Moment = text.parse().expect("a moment");
            assert_eq!(moment.to_string(), text);
            assert_eq!(serde_json::to_value(moment).expect("json"), *text);
        }
        let wide = window(Some(NOW), None);
        let json = serde_json::to_string(&wide).expect("json");
        assert_eq!(json, r#"{"since":"2026-11-21T16:02:00.000Z"}"#);
        assert_eq!(serde_json::from_str::<Window>(&json).expect("read"), wide);
        assert_eq!(serde_json::from_str::<Window>("{}").expect("read"), Window::ALL);
        assert!(serde_json::from_str::<Window>(r#"{"since":"x"}"#).is_err());
        assert!(serde_json::from_str::<Moment>("\"soon\"").is_err());
    }

    #[test]
    fn padding_only_makes_wider() {
        let minute = Duration::from_secs(60);
        let window = window(Some(NOW), Some(NOW + HOUR));
        for (offset, since, until) in [(0, 0, 0), (5000, 0, 5000), (-5000, -5000, 0)] {
            let padded = window.padded(minute, offset);
            assert_eq!(padded.since, Some(NOW - 60_000 + since), "{offset}");
            assert_eq!(padded.until, Some(NOW + HOUR + 60_000 + until), "{offset}");
        }
        assert_eq!(Window::ALL.padded(minute, 5), Window::ALL);
        let _ = Window { since: Some(i64::MIN), until: Some(i64::MAX) }.padded(minute, i64::MAX);
    }
}
