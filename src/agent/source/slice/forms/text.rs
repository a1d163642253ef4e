//! What is left of a line, and what can be taken from its start: digits, words, a time of day, a zone.
//!
//! Each taker moves behind what it took; where it takes nothing, whoever asked starts again. Nothing here allocates.

use super::super::civil::{Zone, time};
use super::super::zones;

/// Milliseconds of twelve hours.
const NOON: i64 = 12 * 3_600_000;

/// What is left of a line.
#[derive(Clone, Copy)]
pub(super) struct Text<'a>(pub(super) &'a [u8]);

impl Text<'_> {
    pub(super) fn digits(&mut self, count: usize) -> Option<u32> {
        let digits = self.0.get(..count)?;
        let mut number = 0;
        for digit in digits {
            number = number * 10 + char::from(*digit).to_digit(10)?;
        }
        self.0 = &self.0[count..];
        Some(number)
    }

    /// One digit, or two where there are two.
    pub(super) fn one_or_two(&mut self) -> Option<u32> {
        self.digits(if self.0.get(1).is_some_and(u8::is_ascii_digit) { 2 } else { 1 })
    }

    /// One or two digits, with or without a blank before one.
    pub(super) fn day(&mut self) -> Option<u32> {
        if self.byte(b' ').is_some() { self.digits(1) } else { self.one_or_two() }
    }

    pub(super) fn byte(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    pub(super) fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let first = *self.0.first().filter(|byte| bytes.contains(byte))?;
        self.0 = &self.0[1..];
        Some(first)
    }

    pub(super) fn blanks(&mut self) {
        self.0 = &self.0[self.0.iter().take(16).take_while(|byte| **byte == b' ').count()..];
    }

    pub(super) fn word<const N: usize>(&mut self, words: &[&[u8; N]]) -> Option<u32> {
        let head = self.0.get(..N)?;
        let found = words.iter().position(|word| word.as_slice() == head)?;
        self.0 = &self.0[N..];
        u32::try_from(found + 1).ok()
    }

    /// `16:02:01.123456`, as milliseconds of the day; an hour may have one digit.
    pub(super) fn time(&mut self) -> Option<i64> {
        let hour = self.one_or_two()?;
        self.byte(b':')?;
        let minute = self.digits(2)?;
        self.byte(b':')?;
        let second = self.digits(2)?;
        let ms = self.fraction();
        // A longer number is no second.
        if self.0.first().is_some_and(u8::is_ascii_digit) {
            return None;
        }
        time(hour, minute, second, ms)
    }

    /// The same, perhaps by a clock of twelve hours: `4:02:01 PM`.
    pub(super) fn time_of_half(&mut self) -> Option<i64> {
        let of_day = self.time()?;
        let mut rest = *self;
        let _ = rest.byte(b' ');
        let Some(half) = rest.word(&[b"AM", b"PM", b"am", b"pm"]) else { return Some(of_day) };
        if rest.0.first().is_some_and(u8::is_ascii_alphanumeric) {
            return Some(of_day);
        }
        *self = rest;
        // Twelve comes before one.
        let of_half = of_day % NOON + if half % 2 == 0 { NOON } else { 0 };
        (NOON / 12..NOON / 12 * 13).contains(&of_day).then_some(of_half)
    }

    /// `.123456789` or `,123`; milliseconds of it.
    pub(super) fn fraction(&mut self) -> u32 {
        if !matches!(self.0, [b'.' | b',', digit, ..] if digit.is_ascii_digit()) {
            return 0;
        }
        let digits = self.0[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let ms = self.0[1..=digits].iter().chain(b"00").take(3).fold(0, |ms, digit| ms * 10 + u32::from(digit - b'0'));
        self.0 = &self.0[digits + 1..];
        ms
    }

    /// `Z`, `+01:00`, ` -0500`, ` UTC`, ` CEST`. What is none of them is not taken.
    pub(super) fn zone(&mut self) -> Zone {
        let before = self.0;
        let blank = self.byte(b' ').is_some();
        let found = self.zone_here(blank);
        if found == Zone::Unsaid || self.0.first().is_some_and(u8::is_ascii_alphanumeric) {
            self.0 = before;
            return Zone::Unsaid;
        }
        found
    }

    fn zone_here(&mut self, blank: bool) -> Zone {
        match self.0.first() {
            Some(b'+' | b'-') => self.offset(blank).map_or(Zone::Unsaid, Zone::East),
            Some(b'z') if !blank => {
                self.0 = &self.0[1..];
                Zone::East(0)
            }
            Some(b'A'..=b'Z') => {
                let letters = self.0.iter().take(zones::LETTERS + 1).take_while(|byte| byte.is_ascii_uppercase());
                let (name, rest) = self.0.split_at(letters.count());
                self.0 = rest;
                if matches!(name, b"Z" | b"UTC" | b"GMT" | b"UT") {
                    return Zone::East(0);
                }
                zones::named(name).map_or(Zone::Unsaid, Zone::Named)
            }
            _ => Zone::Unsaid,
        }
    }

    /// `+01:00`, `-0500`, `+03`: milliseconds east of Greenwich.
    fn offset(&mut self, blank: bool) -> Option<i64> {
        let sign = if self.one_of(b"+-")? == b'+' { 1 } else { -1 };
        let hours = self.digits(2)?;
        let colon = self.byte(b':').is_some();
        let minutes = match self.0.first() {
            Some(digit) if digit.is_ascii_digit() => self.digits(2)?,
            // Behind a blank a number may be anything, but for one that stands alone before a bracket, as PostgreSQL's does.
            _ if colon || (blank && !self.0.starts_with(b" [")) => return None,
            _ => 0,
        };
        (hours <= 18 && minutes <= 59).then(|| sign * i64::from(hours * 60 + minutes) * 60_000)
    }
}
