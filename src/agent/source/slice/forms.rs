//! The forms in which logs write times: one line's beginning in, what is written there out.
//!
//! Every form is anchored: at the line's start, behind what stands before a time in well-known logs, or in a member of a JSON object. Lines
//! that begin with a blank are continuations and have none. Nothing here allocates, and no line is looked at further than it was given.

mod text;

use self::text::Text;
use super::civil::{Order, Written, date, year_of_two};
use super::json;
use crate::bundle::slice::Rule;

/// Where an access log's time begins, at most.
const ACCESS: usize = 512;
/// Where a time begins behind a level or a name, at most.
const INNER: usize = 64;
/// Seconds since 1970 that a log can mean: 1990 to 2100.
const EPOCH: std::ops::RangeInclusive<i64> = 631_152_000..=4_102_444_800;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const WEEKDAYS: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

/// What a line's time is, and by which rule. `inner` also looks behind a level or a name.
pub(super) fn read(line: &[u8], inner: bool) -> Option<(Rule, Written)> {
    let mut text = Text(lead(line));
    let found = match text.0.first()? {
        b' ' | b'\t' | b'\r' | b'\n' => return None,
        b'{' => return json::read(text.0).map(|written| (Rule::Json, written)),
        b'<' => text.priority(),
        b'[' | b'(' => {
            text.0 = &text.0[1..];
            text.bracketed()
        }
        b'"' | b'\'' => {
            text.0 = &text.0[1..];
            text.dated()
        }
        byte if byte.is_ascii_digit() => text.numbered(),
        b'=' => text.report(),
        byte if byte.is_ascii_alphabetic() || *byte == b'@' => text.worded(),
        _ => None,
    };
    let text = Text(lead(line));
    found.or_else(|| text.access()).or_else(|| if inner { text.inner() } else { None })
}

/// A time and nothing else, as a member of JSON has it.
pub(super) fn whole(text: &[u8]) -> Option<Written> {
    let mut text = Text(text);
    let found = text.dated().or_else(|| text.numbered())?;
    Some(found.1)
}

/// Seconds since 1970, or a thousandth, millionth … of them, by how many there are.
pub(super) fn epoch(whole: i64, fraction_ms: i64) -> Option<Written> {
    let ms = match whole {
        0..100_000_000_000 => whole.checked_mul(1000)? + fraction_ms,
        100_000_000_000..100_000_000_000_000 => whole,
        100_000_000_000_000..100_000_000_000_000_000 => whole / 1000,
        _ => whole / 1_000_000,
    };
    EPOCH.contains(&(ms / 1000)).then_some(Written::At(ms))
}

/// The line without what a crash, an editor or a terminal has put before it.
fn lead(line: &[u8]) -> &[u8] {
    let mut line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    loop {
        let zeros = line.iter().take_while(|byte| **byte == 0).count();
        line = &line[zeros..];
        let Some(rest) = line.strip_prefix(b"\x1b[") else { return line };
        match rest.iter().take(16).position(|byte| !(byte.is_ascii_digit() || *byte == b';')) {
            Some(end) => line = &rest[end + 1..],
            None => return line,
        }
    }
}

impl Text<'_> {
    /// A date and a time, from the date's year on; with the zone if there is one.
    fn dated(&mut self) -> Option<(Rule, Written)> {
        let year = self.digits(4)?;
        let separator = self.one_of(b"-/")?;
        let month = self.digits(2)?;
        self.byte(separator)?;
        let day = self.digits(2)?;
        self.one_of(b"Tt _")?;
        let _ = self.byte(b' ');
        let ms = date(year.into(), month, day)? + self.time()?;
        let written = self.zone().at(ms);
        let rule = match (separator, written) {
            (b'/', _) => Rule::Slashed,
            (_, Written::At(_)) => Rule::Rfc3339,
            (_, Written::Named(_, name)) if name.east().is_some() => Rule::Rfc3339,
            _ => Rule::Iso8601,
        };
        Some((rule, written))
    }

    /// A line that begins with a digit.
    fn numbered(&mut self) -> Option<(Rule, Written)> {
        let start = *self;
        if let Some(found) = self.dated() {
            let container = self.0.starts_with(b" stdout ") || self.0.starts_with(b" stderr ");
            return Some(if container { (Rule::Cri, found.1) } else { found });
        }
        *self = start;
        if let Some(found) = self.clf() {
            return Some((Rule::Clf, found));
        }
        for form in [Self::numbers, Self::compact, Self::redis] {
            *self = start;
            if let Some(found) = form(self) {
                return Some(found);
            }
        }
        *self = start;
        self.epoch()
    }

    /// `11/21/2026 4:02:01 PM`, `21/11/26 16:02:01`, `21-11-2026, 16:02:01`, whose order a file's other lines tell; with dots it is the day's.
    fn numbers(&mut self) -> Option<(Rule, Written)> {
        let first = self.one_or_two()?;
        let separator = self.one_of(b"/-.")?;
        let second = self.one_or_two()?;
        self.byte(separator)?;
        let digits = self.0.iter().take(5).take_while(|byte| byte.is_ascii_digit()).count();
        let third = self.digits(digits).filter(|_| matches!(digits, 2 | 4))?;
        let _ = self.byte(b',');
        self.one_of(b" T")?;
        self.blanks();
        let (time, numbers) = (self.time_of_half()?, [first, second, third]);
        if separator == b'.' {
            return Some((Rule::Dotted, self.zone().at(Order::Day.date(numbers)? + time)));
        }
        Order::ALL.iter().find_map(|order| order.date(numbers))?;
        Some((Rule::Numeric, Written::Numbers { numbers, time, zone: self.zone() }))
    }

    /// `261121 16:02:01`, also with a blank before an hour of one digit, as older MySQL has it.
    fn compact(&mut self) -> Option<(Rule, Written)> {
        let (year, month, day) = (self.digits(2)?, self.digits(2)?, self.digits(2)?);
        self.byte(b' ')?;
        let _ = self.byte(b' ');
        let ms = date(year_of_two(year).into(), month, day)? + self.time()?;
        Some((Rule::Compact, self.zone().at(ms)))
    }

    /// `1234:M 21 Nov 2026 16:02:01.123 * x`, or without a year, as older Redis has it.
    fn redis(&mut self) -> Option<(Rule, Written)> {
        let digits = self.0.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
        self.0 = &self.0[digits..];
        self.byte(b':')?;
        self.one_of(b"MSCX")?;
        self.byte(b' ')?;
        let start = *self;
        if let Some(written) = self.clf() {
            return Some((Rule::Redis, written));
        }
        *self = start;
        let day = self.one_or_two()?;
        self.byte(b' ')?;
        let month = self.word(&MONTHS)?;
        self.byte(b' ')?;
        let time = self.time()?;
        date(2000, month, day)?;
        Some((Rule::Redis, Written::Yearless { month, day, time, own: false }))
    }

    /// `=INFO REPORT==== 21-Nov-2026::16:02:01 ===`, as Erlang's programs have it.
    fn report(&mut self) -> Option<(Rule, Written)> {
        const MARK: &[u8] = b"==== ";
        let head = &self.0[..self.0.len().min(INNER)];
        let at = memchr::memmem::find(head, MARK)?;
        self.0 = &self.0[at + MARK.len()..];
        self.clf().map(|written| (Rule::Clf, written))
    }

    /// `1795276921.123` or `1795276921123`.
    fn epoch(&mut self) -> Option<(Rule, Written)> {
        let digits = self.0.iter().take(14).take_while(|byte| byte.is_ascii_digit()).count();
        let number = self.0[..digits].iter().fold(0_i64, |number, digit| number * 10 + i64::from(digit - b'0'));
        self.0 = &self.0[digits..];
        let ms = match (digits, self.0.first()) {
            (10, Some(b'.' | b',')) if self.0.get(1).is_some_and(u8::is_ascii_digit) => i64::from(self.fraction()),
            (13, None | Some(b' ' | b'\t' | b',' | b';' | b'|')) => 0,
            _ => return None,
        };
        epoch(number, ms).map(|written| (Rule::Epoch, written))
    }

    /// `21/Nov/2026:16:02:01 +0000`, also with dashes and a blank.
    fn clf(&mut self) -> Option<Written> {
        let day = self.one_or_two()?;
        let separator = self.one_of(b"/- ")?;
        let month = self.word(&MONTHS)?;
        self.byte(separator)?;
        let year = self.digits(4)?;
        let between = self.one_of(b": ")?;
        let _ = self.byte(between);
        let ms = date(year.into(), month, day)? + self.time()?;
        Some(self.zone().at(ms))
    }

    /// `Nov 21 16:02:01`, or with the year behind the day.
    fn syslog(&mut self) -> Option<(Rule, Written)> {
        let month = self.word(&MONTHS)?;
        self.byte(b' ')?;
        let day = self.day()?;
        let comma = self.byte(b',').is_some();
        self.byte(b' ')?;
        let mut dated = *self;
        if let Some(year) = dated.digits(4)
            && dated.byte(b' ').is_some()
            && let Some(of_day) = dated.time_of_half()
        {
            *self = dated;
            // `Nov 21, 2026 4:02:01 PM` is how Java's own logging writes it.
            let rule = if comma { Rule::Asctime } else { Rule::Rfc3164 };
            return Some((rule, self.zone().at(date(year.into(), month, day)? + of_day)));
        }
        if comma {
            return None;
        }
        let time = self.time()?;
        // A leap year has every date that there is.
        date(2000, month, day)?;
        Some((Rule::Rfc3164, Written::Yearless { month, day, time, own: true }))
    }

    /// `Sat Nov 21 16:02:01.123 2026`, also with a zone before the year.
    fn asctime(&mut self) -> Option<(Rule, Written)> {
        self.word(&WEEKDAYS)?;
        let _ = self.byte(b',');
        self.byte(b' ')?;
        if self.0.first()?.is_ascii_digit() {
            return self.clf().map(|written| (Rule::Asctime, written));
        }
        let month = self.word(&MONTHS)?;
        self.byte(b' ')?;
        let day = self.day()?;
        self.byte(b' ')?;
        let of_day = self.time()?;
        let zone = self.zone();
        self.byte(b' ')?;
        let mut year = self.digits(4);
        if year.is_none() {
            // A name that nobody knows: it is the node's own zone, who would have one else?
            let name = self.0.iter().take(6).take_while(|byte| byte.is_ascii_uppercase()).count();
            self.0 = &self.0[name..];
            self.byte(b' ')?;
            year = self.digits(4);
        }
        let ms = date(year?.into(), month, day)? + of_day;
        Some((Rule::Asctime, zone.at(ms)))
    }

    /// `<34>` and what follows it.
    fn priority(&mut self) -> Option<(Rule, Written)> {
        self.byte(b'<')?;
        let digits = self.0.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
        self.digits(digits).filter(|_| digits > 0)?;
        self.byte(b'>')?;
        if self.byte(b'1').is_some() {
            self.byte(b' ')?;
            return self.dated().map(|(_, written)| (Rule::Rfc5424, written));
        }
        let start = *self;
        self.syslog().or_else(|| {
            *self = start;
            self.dated()
        })
    }

    /// What stands in a bracket at the start of a line.
    fn bracketed(&mut self) -> Option<(Rule, Written)> {
        let start = *self;
        if let Some(found) = self.dated() {
            return Some(found);
        }
        *self = start;
        if let Some(written) = self.clf() {
            return Some((Rule::Clf, written));
        }
        for form in [Self::asctime, Self::numbers, Self::epoch] {
            *self = start;
            if let Some(found) = form(self) {
                return Some(found);
            }
        }
        *self = start;
        self.dmesg()
    }

    /// `  123.456789]`
    fn dmesg(&mut self) -> Option<(Rule, Written)> {
        self.blanks();
        let digits = self.0.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
        let seconds = i64::from(self.digits(digits).filter(|_| (1..10).contains(&digits))?);
        if self.0.first() != Some(&b'.') {
            return None;
        }
        let ms = i64::from(self.fraction());
        self.byte(b']')?;
        Some((Rule::Dmesg, Written::Uptime(seconds * 1000 + ms)))
    }

    /// A line that begins with a letter.
    fn worded(&mut self) -> Option<(Rule, Written)> {
        let start = *self;
        if let Some(found) = self.syslog() {
            return Some(found);
        }
        *self = start;
        if let Some(found) = self.asctime() {
            return Some(found);
        }
        *self = start;
        if let Some(found) = self.klog() {
            return Some(found);
        }
        *self = start;
        if let Some(found) = self.audit() {
            return Some(found);
        }
        *self = start;
        self.named()
    }

    /// `I1121 16:02:01.123456`
    fn klog(&mut self) -> Option<(Rule, Written)> {
        self.one_of(b"IWEFD")?;
        let (month, day) = (self.digits(2)?, self.digits(2)?);
        self.byte(b' ')?;
        self.blanks();
        let time = self.time()?;
        date(2000, month, day)?;
        Some((Rule::Klog, Written::Yearless { month, day, time, own: false }))
    }

    /// `type=SYSCALL msg=audit(1795276921.123:456):`
    fn audit(&mut self) -> Option<(Rule, Written)> {
        const MARK: &[u8] = b"msg=audit(";
        if !self.0.starts_with(b"type=") && !self.0.starts_with(b"node=") {
            return None;
        }
        let head = &self.0[..self.0.len().min(2 * INNER)];
        let at = memchr::memmem::find(head, MARK)?;
        self.0 = &self.0[at + MARK.len()..];
        self.epoch().map(|(_, written)| (Rule::Audit, written))
    }

    /// `time="2026-11-21T16:02:01Z"`, `ts=…`, and `Start-Date: …`
    fn named(&mut self) -> Option<(Rule, Written)> {
        let name = self.0.iter().take(16).position(|byte| matches!(byte, b'=' | b':'))?;
        const NAMES: [&[u8]; 8] =
            [b"time", b"ts", b"t", b"timestamp", b"@timestamp", b"date", b"Start-Date", b"End-Date"];
        if !NAMES.contains(&&self.0[..name]) {
            return None;
        }
        self.0 = &self.0[name + 1..];
        self.blanks();
        let _ = self.byte(b'"');
        let start = *self;
        self.dated().or_else(|| {
            *self = start;
            self.epoch()
        })
    }

    /// An access log: a time in brackets behind address and names.
    fn access(self) -> Option<(Rule, Written)> {
        let head = &self.0[..self.0.len().min(ACCESS)];
        memchr::memchr_iter(b'[', head).take(4).find_map(|at| {
            let mut text = Text(&self.0[at + 1..]);
            let written = text.clf()?;
            Some((Rule::Clf, written))
        })
    }

    /// A date and a time behind a level or a name.
    fn inner(self) -> Option<(Rule, Written)> {
        let head = &self.0[..self.0.len().min(INNER)];
        memchr::memchr2_iter(b'-', b'/', head).take(8).find_map(|dash| {
            let start = dash.checked_sub(4)?;
            let apart = start == 0 || !self.0[start - 1].is_ascii_alphanumeric();
            let (_, written) = Text(&self.0[start..]).dated().filter(|_| apart)?;
            Some((Rule::Iso8601, written))
        })
    }
}
