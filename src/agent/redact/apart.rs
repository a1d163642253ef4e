//! Settings whose name and value stand apart: `name: DB_PASSWORD` with `value: x` behind it or on the next line, as pods have their
//! environment; an option and its value as two items of a list; attributes of XML; the argument of SQL's `PASSWORD('x')`.
//!
//! Nothing is searched for here: the name was found as the others are, and no separator follows it. What lies on two lines is asked to stay
//! together, so that no cut of a block parts them.

use super::assign::{self, Name};
use super::label::{self, Label};
use super::name::{self, Named};
use super::scan::Found;
use super::text::{self, LOOK, Quote, has};
use super::value::Place;
use super::{before, command};

/// Blanks and line ends between the two at most.
const GAP: usize = 256;

/// Looks for the value of the name between `start` and `end`, behind which no separator stands.
pub(super) fn find(hay: &[u8], start: usize, end: usize, found: &mut Found) {
    let (quote, next) = Quote::at(hay, end).map_or((None, end), |(quote, next)| (Some(quote), next));
    if matches!(&hay[start..end], b"chpasswd" | b"htpasswd" | b"passwd") {
        command::accounts(hay, start, end, &mut found.edits);
    }
    let first = hay.get(next).copied().unwrap_or(b'\n');
    if !matches!(first, b'\n' | b'\r' | b' ' | b',' | b'>' | b'(' | b'\t' | b'}' | b'/') {
        return;
    }
    let apart = Apart { hay, start, end, quote, next };
    match first {
        b'(' => apart.call(found),
        _ if hay[start] == b'-' => apart.item(found),
        _ => match apart.key() {
            Some(_) if first == b'>' => apart.text(found),
            Some(key) => apart.beside(key, found),
            None if first == b',' && quote.is_some() => apart.argument(found),
            None => {}
        },
    }
}

struct Apart<'a> {
    hay: &'a [u8],
    start: usize,
    end: usize,
    quote: Option<Quote>,
    /// Behind the name and its quote.
    next: usize,
}

impl Apart<'_> {
    fn named(&self) -> Option<Named> {
        let dashes = self.hay[self.start..self.end].iter().take_while(|b| **b == b'-').count();
        name::classify(&self.hay[self.start + dashes..self.end])
    }

    /// Where the name begins with its quote.
    fn begin(&self) -> Option<usize> {
        let Some(quote) = self.quote else { return Some(self.start) };
        let begin = self.start.checked_sub(quote.slashes + 1)?;
        (Quote::at(self.hay, begin) == Some((quote, self.start))).then_some(begin)
    }

    /// Where the key begins of which the name is itself the value: `name` or, in XML, `key`.
    fn key(&self) -> Option<usize> {
        let begin = self.begin()?;
        let floor = begin.saturating_sub(32);
        let before = &self.hay[floor..begin];
        let blanks = before.iter().rev().take_while(|b| **b == b' ').count();
        let (&separator, before) = before[..before.len() - blanks].split_last()?;
        let blanks = before.iter().rev().take_while(|b| **b == b' ').count();
        let before = &before[..before.len() - blanks];
        let mark = before.iter().rev().take_while(|b| matches!(b, b'"' | b'\'' | b'\\')).count();
        let before = &before[..before.len() - mark];
        let word = before.len() - before.iter().rev().take_while(|b| text::is_name(**b)).count();
        let is_key = match (separator, &before[word..]) {
            (b':', b"name" | b"Name" | b"NAME") => true,
            (b'=', b"name" | b"key") => before[..word].ends_with(b" ") && self.quote.is_some(),
            _ => false,
        };
        is_key.then(|| (floor + word).saturating_sub(mark))
    }

    /// `value`, behind a comma or on the next line at the same column; or else before the name.
    fn beside(&self, key: usize, found: &mut Found) {
        let known = (found.edits.len(), found.wholes.len());
        self.behind(found);
        if known == (found.edits.len(), found.wholes.len())
            && let Some(named) = self.named()
        {
            let name = Name { hay: self.hay, start: self.start, end: self.end, named, sure: true };
            before::find(&name, key, found);
        }
    }

    /// `value`, behind a comma or on the next line at the same column.
    fn behind(&self, found: &mut Found) {
        let hay = self.hay;
        let comma = usize::from(hay.get(self.next) == Some(&b','));
        let at = self.next + comma;
        let at = at + hay[at..].iter().take(GAP).take_while(|b| b.is_ascii_whitespace()).count();
        if at == hay.len() {
            if !found.ended {
                found.whole(text::line_start(hay, self.start), None);
            }
            return;
        }
        let (quote, start) = Quote::at(hay, at).map_or((None, at), |(quote, next)| (Some(quote), next));
        if !has(hay, start, b"value") && !has(hay, start, b"Value") {
            return;
        }
        let end = start + "value".len();
        let lines = memchr::memchr(b'\n', &hay[self.next..at]).is_some();
        let line = text::line_start(hay, self.start);
        if !lines && comma == 0 && self.quote.is_none() {
            return;
        }
        if lines && comma == 0 && self.column(line) != Some(at - text::line_start(hay, at)) {
            return;
        }
        if lines && !found.ended && text::line_end(hay, start) == hay.len() {
            found.whole(line, None);
        } else if lines {
            found.whole(line, Some(text::line_end(hay, start)));
        }
        let Some(named) = self.named() else { return };
        let Some((value, separator, closing)) = assign::separator(hay, end.min(hay.len()), end) else { return };
        if closing == quote && separator != assign::Separator::Gap {
            Name { hay, start, end, named, sure: true }.value(value, separator, closing, found);
        }
    }

    /// The column of the key `name` in its line.
    fn column(&self, line: usize) -> Option<usize> {
        let lead = self.hay[line..self.start].iter().take_while(|b| matches!(b, b' ' | b'-')).count();
        has(self.hay, line + lead, b"name").then_some(lead)
    }

    /// The next item of the list that an option is in.
    fn item(&self, found: &mut Found) {
        let hay = self.hay;
        let Some(begin) = self.begin() else { return };
        let line = text::line_start(hay, self.start);
        let before = &hay[line..begin];
        let comma = hay.get(self.next) == Some(&b',');
        let rest = self.next + usize::from(comma);
        let at = rest + hay[rest..].iter().take(GAP).take_while(|b| b.is_ascii_whitespace()).count();
        let lines = memchr::memchr(b'\n', &hay[rest..at]).is_some();
        let dash = before.iter().take_while(|b| **b == b' ').count();
        let list = match (comma, lines) {
            // `- --token`, then `- value`.
            (false, _) => before.trim_ascii() == b"-",
            // `"--token",` on a line of its own, then `"value"`.
            (true, true) => self.quote.is_some() && (before.trim_ascii().is_empty() || before.ends_with(b"[")),
            // `[--token, value]`.
            (true, false) => {
                self.quote.is_none() && memchr::memrchr2(b'[', b']', before).is_some_and(|at| before[at] == b'[')
            }
        };
        if !list || !lines && !comma {
            return;
        }
        if at == hay.len() {
            if !found.ended {
                found.whole(line, None);
            }
            return;
        }
        let mut value = at;
        if !comma {
            if at - text::line_start(hay, at) != dash || !has(hay, at, b"- ") {
                return;
            }
            value = text::skip_blanks(hay, at + 2);
        }
        let stop = if lines { text::line_end(hay, value) } else { value };
        if lines {
            found.whole(line, Some(stop).filter(|stop| found.ended || *stop < hay.len()));
        }
        let Some(named) = self.named() else { return };
        let name = Name { hay, start: self.start, end: self.end, named, sure: true };
        let edits = &mut found.edits;
        match Quote::at(hay, value) {
            Some((_, inner)) if hay.get(inner) == Some(&b'-') => {}
            Some((quote, inner)) => name.quoted(Place::Option, quote, inner, edits),
            None if hay.get(value) == Some(&b'-') || comma && lines => {}
            None if comma => {
                let ends = |b: &u8| matches!(b, b',' | b']' | b'"' | b'\'') || b.is_ascii_whitespace();
                let marker = label::marker_length(&hay[value..]).unwrap_or(0);
                let word = hay[value + marker..].iter().take(LOOK).take_while(|b| !ends(b)).count();
                let end = value + marker + word;
                name.take(Place::Option, value, end, None, edits);
            }
            None => {
                let end = value + hay[value..stop].trim_ascii_end().len();
                name.take(Place::Option, value, end, None, edits);
            }
        }
    }

    /// `<entry key="password">x</entry>`.
    fn text(&self, found: &mut Found) {
        let Some(named) = self.named() else { return };
        let name = Name { hay: self.hay, start: self.start, end: self.end, named, sure: true };
        name.value(self.next + 1, assign::Separator::Tag, None, found);
    }

    /// `define('DB_PASSWORD', 'x')`.
    fn argument(&self, found: &mut Found) {
        let Some((begin, named)) = self.begin().zip(self.named()) else { return };
        let known = [b"define(".as_slice(), b"setenv(", b"setdefault(", b"getenv(", b"setProperty("];
        let at = text::skip_blanks(self.hay, self.next + 1);
        if let Some((quote, inner)) = Quote::at(self.hay, at)
            && known.iter().any(|call| self.hay[..begin].ends_with(call))
        {
            let name = Name { hay: self.hay, start: self.start, end: self.end, named, sure: true };
            name.quoted(Place::Sure, quote, inner, &mut found.edits);
        }
    }

    /// `PASSWORD('x')`.
    fn call(&self, found: &mut Found) {
        let hay = self.hay;
        if self.quote.is_some() || !hay[self.start..self.end].eq_ignore_ascii_case(b"password") {
            return;
        }
        let Some((quote, inner)) = Quote::at(hay, self.next + 1).filter(|(quote, _)| quote.mark == b'\'') else {
            return;
        };
        let (end, closed) = quote.close(hay, inner);
        if closed && has(hay, end + quote.slashes + 1, b")") {
            let named = Named { label: Label::Password, plural: false, pass: false, login: false, bare: false };
            let name = Name { hay, start: self.start, end: self.end, named, sure: true };
            name.take(Place::Sure, inner, end, None, &mut found.edits);
        }
    }
}
