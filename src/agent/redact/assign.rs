//! Settings: `name=value`, `name: value`, `"name":"value"` at any depth of escaping, `--name value`, `<name>value</name>`.
//!
//! A hit is some part of a secret's name. The name must be one ([`name::classify`]), a separator must follow it, and the
//! value must look like a value: logs speak of passwords all the time without holding one.

use super::label::Label;
use super::name::{self, Named};
use super::open::{self, Open};
use super::scan::Found;
use super::text::{self, Edit, LOOK, Quote, has};
use super::value::{self, Place};
use super::{apart, below, encoded, words};

/// Bytes of a tag's attributes.
const ATTRIBUTES: usize = 256;

/// What stands between a name and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Separator {
    Equal,
    Colon {
        spaced: bool,
    },
    /// A blank, NUL or `","` after a command's option, or a blank after a word that takes its value so.
    Gap,
    /// The end of an XML tag.
    Tag,
}

/// A name in its place.
pub(super) struct Name<'a> {
    pub(super) hay: &'a [u8],
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) named: Named,
    /// Whether nothing but a value can follow.
    pub(super) sure: bool,
}

/// Finds the setting whose name holds `hit`.
pub(super) fn find(hay: &[u8], hit: usize, found: &mut Found) {
    let Some((start, end)) = name_around(hay, hit) else { return };
    if hay.get(end) == Some(&b'%') {
        return encoded::find(hay, start, end, found);
    }
    let led = separator(hay, start, end).and_then(|led @ (at, by, _)| match by {
        Separator::Gap => words::value_of(hay, start, end, at).map(|(at, place)| (at, by, place, None)),
        _ => Some((led.0, by, Place::Option, led.2)),
    });
    let Some((at, separator, gap, quoted)) = led else { return apart::find(hay, start, end, found) };
    let bare = hay[start..end].iter().take_while(|b| matches!(b, b'-' | b'.')).count();
    let word = &hay[start + bare..end];
    let named = name::classify(word).or_else(|| name::with_value(&hay[..start], word, &hay[at..]));
    let Some(named) = named else {
        let named = Named { label: Label::Key, plural: false, pass: false, login: false, bare: false };
        return below::key(&Name { hay, start, end, named, sure: true }, at, separator, found);
    };
    if is_folder(&hay[start + bare..end], &hay[at..])
        || is_pam(&hay[text::line_start(hay, start)..start])
        || hay[..start].ends_with(b"checksum/")
        || quoted.is_some() && is_volume(&hay[..start])
    {
        return;
    }
    let name = Name { hay, start, end, named, sure: false };
    match separator {
        Separator::Gap => name.after_gap(at, gap, &mut found.edits),
        _ => name.value(at, separator, quoted, found),
    }
}

/// `PWD=/root`, as sudo and every environment have it.
fn is_folder(name: &[u8], value: &[u8]) -> bool {
    let pwd = name.eq_ignore_ascii_case(b"pwd") || name == b"OLDPWD";
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    pwd && matches!(value.first(), Some(b'/' | b'~'))
}

/// `pam_unix(passwd:chauthtok)`: a service, and what it asks for.
fn is_pam(before: &[u8]) -> bool {
    let module = before.strip_suffix(b"(").unwrap_or_default();
    let word = module.iter().rev().take_while(|b| text::is_word(**b)).count();
    module[module.len() - word..].starts_with(b"pam_")
}

/// `volume "token" : secret "x" not found`, as kubelet says it.
fn is_volume(before: &[u8]) -> bool {
    before.ends_with(b"volume \"") || before.ends_with(b"volume \\\"")
}

fn name_around(hay: &[u8], hit: usize) -> Option<(usize, usize)> {
    let most = name::LONGEST;
    let before = hay[..hit].iter().rev().take(most).take_while(|b| text::is_name(**b)).count();
    let after = hay[hit..].iter().take(most).take_while(|b| text::is_name(**b)).count();
    let (start, end) = (hit - before, hit + after);
    // `\npassword` in escaped text: the `n` is the end of an escape, not of the name.
    let start = if start > 0 && hay[start - 1] == b'\\' && matches!(hay[start], b'n' | b't' | b'r') {
        start + 1
    } else {
        start
    };
    (start <= hit && end - start <= most).then_some((start, end))
}

/// Where the value begins, what leads to it, and the quote that closes the name.
pub(super) fn separator(hay: &[u8], start: usize, end: usize) -> Option<(usize, Separator, Option<Quote>)> {
    if start > 0 && hay[start - 1] == b'<' && hay.get(end) == Some(&b'>') {
        return Some((end + 1, Separator::Tag, None));
    }
    if start > 0 && hay[start - 1] == b'<' && hay.get(end) == Some(&b' ') {
        // A tag with attributes.
        let tag = hay[end..].iter().take(ATTRIBUTES).position(|b| matches!(b, b'<' | b'>' | b'\n'));
        return tag
            .filter(|at| hay[end + at] == b'>' && !matches!(hay[end + at - 1], b'/' | b'-'))
            .map(|at| (end + at + 1, Separator::Tag, None));
    }
    let (quote, mut at) = match Quote::at(hay, end) {
        Some((quote, next)) => (Some(quote), next),
        None => (None, end),
    };
    at += usize::from(hay.get(at) == Some(&b']'));
    let after = text::skip_blanks(hay, at);
    let found = match hay.get(after)? {
        b'=' if has(hay, after + 1, b"=") || has(hay, after + 1, b">") => Some((after + 2, false)),
        b'=' => Some((after + 1, false)),
        b':' if has(hay, after + 1, b":") || has(hay, after + 1, b"//") => return None,
        b':' if has(hay, after + 1, b"=") => Some((after + 2, false)),
        b':' => Some((after + 1, true)),
        b'%' if has(hay, after + 1, b"3D") || has(hay, after + 1, b"3d") => Some((after + 3, false)),
        _ => None,
    };
    if let Some((next, colon)) = found {
        let value = text::skip_blanks(hay, next);
        let separator = if colon { Separator::Colon { spaced: value > next } } else { Separator::Equal };
        return Some((value, separator, quote));
    }
    match (quote, hay[after]) {
        (Some(_), b',') => {
            let value = text::skip_blanks(hay, after + 1);
            Quote::at(hay, value).map(|_| (value, Separator::Gap, None))
        }
        (Some(_), _) if hay[start] == b'-' && after > at => Some((after, Separator::Gap, None)),
        (None, 0) => Some((after + 1, Separator::Gap, None)),
        (None, _) if after > at => Some((after, Separator::Gap, None)),
        _ => None,
    }
}

impl Name<'_> {
    pub(super) fn value(&self, at: usize, separator: Separator, quote: Option<Quote>, found: &mut Found) {
        let hay = self.hay;
        let Some(&first) = hay.get(at) else { return };
        if text::is_break(first) || first == b'\r' {
            if first != 0 && matches!(separator, Separator::Colon { .. }) && self.heads_line() {
                below::find(self, at, found);
            }
            return;
        }
        let edits = &mut found.edits;
        if separator == Separator::Tag {
            // `<Password><Value>x</Value>`.
            let inner = has(hay, at, b"<Value>") || has(hay, at, b"<value>");
            let at = at + if inner { "<value>".len() } else { 0 };
            let end = at + hay[at..].iter().take_while(|b| **b != b'<' && !text::is_break(**b)).count();
            return self.take(Place::Sure, at, end, None, edits);
        }
        let place = self.place(separator, quote, at);
        let prefixed = matches!(first, b'b' | b'B' | b'u' | b'U' | b'r' | b'@') && Quote::at(hay, at + 1).is_some();
        let at = at + usize::from(prefixed);
        if let Some((open, inner)) = Quote::at(hay, at) {
            if quote.is_some() || !open.closes_around(hay, self.start, inner) {
                let known = edits.len();
                self.quoted(place, open, inner, edits);
                let over =
                    edits[known..].last().is_some_and(|edit| edit.open.is_none() && hay.get(edit.end) == Some(&b'\n'));
                if over && quote.is_none() && self.heads_line() {
                    below::goes_on(self, separator, open, inner, found);
                }
            }
            return;
        }
        match first {
            b'[' if !has(hay, at, b"[redacted:") => self.list(place, at, edits),
            b'{' if separator == Separator::Equal && quote.is_none() && self.braced(at, edits) => {}
            b'{' if !scheme(&hay[at..]) => below::object(self, at, quote, found),
            b'|' | b'>' if matches!(separator, Separator::Colon { .. }) && self.heads_line() => self.block(at, edits),
            _ => self.bare(place, separator, at, edits),
        }
    }

    /// How sure one may be that a value follows.
    fn place(&self, separator: Separator, quote: Option<Quote>, at: usize) -> Place {
        if self.sure {
            return Place::Sure;
        }
        let before = self.hay[..self.start].iter().rev().find(|b| !b.is_ascii_whitespace());
        // A quote behind the name is its own where it has one before it too, or where a quoted value follows.
        let own = |quote: Quote| {
            let opening = self.start.checked_sub(quote.slashes + 1);
            let path = opening.is_some_and(|at| at > 0 && self.hay[at - 1] == b'/');
            // `near "token": syntax error`, in a sentence.
            let said =
                opening.is_some_and(|at| at > 1 && self.hay[at - 1] == b' ' && self.hay[at - 2].is_ascii_alphabetic());
            opening.and_then(|at| Quote::at(self.hay, at)) == Some((quote, self.start)) && !path && !said
                || Quote::at(self.hay, at).is_some()
        };
        let header = self.hay[self.start..self.end].get(..2).is_some_and(|x| x.eq_ignore_ascii_case(b"x-"));
        match separator {
            Separator::Colon { spaced: false } if self.openssl() => Place::Sure,
            Separator::Colon { .. } if quote.is_some_and(own) || header || self.in_braces() => Place::Sure,
            Separator::Colon { spaced: false } if matches!(before, Some(b',' | b'(' | b'[')) => Place::Sure,
            Separator::Colon { spaced: true } if self.heads_line() => Place::Setting,
            Separator::Colon { .. } => Place::Prose,
            _ => Place::Sure,
        }
    }

    /// Whether it is `pass:` behind an option of openssl that says where its password comes from.
    fn openssl(&self) -> bool {
        let before = [b"-passin".as_slice(), b"-passout", b"-pass"];
        let line = self.hay[..self.start].strip_suffix(b" ").or_else(|| self.hay[..self.start].strip_suffix(b"\0"));
        &self.hay[self.start..self.end] == b"pass" && line.is_some_and(|line| before.iter().any(|o| line.ends_with(o)))
    }

    /// Whether the name is in a mapping that braces enclose on its line, as `{user: x, password: y}`.
    fn in_braces(&self) -> bool {
        let line = &self.hay[text::line_start(self.hay, self.start)..self.start];
        let before = line.trim_ascii_end().last();
        matches!(before, Some(b'{' | b',')) && memchr::memrchr2(b'{', b'}', line).is_some_and(|at| line[at] == b'{')
    }

    /// How far into its line it begins.
    pub(super) fn column(&self) -> usize {
        self.start - text::line_start(self.hay, self.start)
    }

    pub(super) fn heads_line(&self) -> bool {
        let line = &self.hay[text::line_start(self.hay, self.start)..self.start];
        let line = line.trim_ascii_start();
        let lead = |b: &u8| matches!(b, b' ' | b'\t' | b'-' | b'#' | b';' | b'+' | b'>' | b'*' | b'"' | b'\'');
        // Containers' logs say before each line when and from where it came.
        let container = [b" stdout F ".as_slice(), b" stderr F "]
            .iter()
            .find_map(|w| memchr::memmem::find(line, w).map(|at| at + w.len()));
        let line = line[container.unwrap_or(0)..].trim_ascii_start();
        let line = [b"export ".as_slice(), b"set ", b"declare -x ", b"Environment=", b"MESSAGE="]
            .iter()
            .find_map(|word| line.strip_prefix(*word))
            .unwrap_or(line);
        line.iter().all(lead)
    }

    pub(super) fn quoted(&self, place: Place, quote: Quote, inner: usize, edits: &mut Vec<Edit>) {
        let (end, open) = open::quoted(quote, self.hay, inner);
        let scheme = value::scheme(&self.hay[inner..end]);
        self.take(place, inner + scheme, end, open, edits);
    }

    /// Each string of a list, or the one bare word in brackets.
    fn list(&self, place: Place, at: usize, edits: &mut Vec<Edit>) {
        let hay = self.hay;
        let mut at = text::skip_blanks(hay, at + 1);
        if Quote::at(hay, at).is_none() {
            let end = at
                + hay[at..]
                    .iter()
                    .take_while(|b| !matches!(b, b']' | b',' | b'{' | b'[') && !text::is_break(**b))
                    .count();
            return self.take(if place == Place::Sure { Place::Sure } else { Place::Prose }, at, end, None, edits);
        }
        while let Some((quote, inner)) = Quote::at(hay, at) {
            let (end, open) = open::quoted(quote, hay, inner);
            self.take(place, inner, end, open, edits);
            at = text::skip_blanks(hay, (end + quote.slashes + 1).min(hay.len()));
            if hay.get(at) != Some(&b',') {
                return;
            }
            at = text::skip_blanks(hay, at + 1);
        }
    }

    /// `password={x}` of a connection string; whether it is that.
    fn braced(&self, at: usize, edits: &mut Vec<Edit>) -> bool {
        let hay = self.hay;
        let ends = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'{' | b'}' | b'"' | b':' | b',');
        let word = hay[at + 1..].iter().take(LOOK).take_while(|b| !ends(b)).count();
        let end = at + 1 + word;
        let braced = hay.get(end) == Some(&b'}') && value::looks_secret(&hay[at + 1..end]);
        if braced {
            self.take(Place::Sure, at + 1, end, None, edits);
        }
        braced
    }

    /// A YAML block: the text on the lines below that are further in.
    fn block(&self, at: usize, edits: &mut Vec<Edit>) {
        let hay = self.hay;
        let rest = hay[at + 1..text::line_end(hay, at)].trim_ascii_end();
        if !rest.iter().all(|b| matches!(b, b'+' | b'-' | b'0'..=b'9')) {
            return self.bare(Place::Setting, Separator::Colon { spaced: true }, at, edits);
        }
        let indent = self.start - text::line_start(hay, self.start);
        // Whether the next line belongs to it may not have been read yet: its end is found by going on from here.
        let mut open = Open::Block { indent };
        let (end, closed) = open.go_on(hay, at, false);
        let end = if closed { end } else { end.max(at + 1) };
        edits.push(Edit { start: at, end, label: self.named.label, open: (!closed).then_some(open) });
    }

    fn bare(&self, place: Place, separator: Separator, at: usize, edits: &mut Vec<Edit>) {
        let hay = self.hay;
        let whole_line = match separator {
            Separator::Equal | Separator::Colon { spaced: true } => self.heads_line(),
            _ => false,
        };
        let start = at + value::scheme(&hay[at..text::line_end(hay, at)]);
        let (end, open) = if whole_line {
            value::rest_of_line(hay, start, text::enclosing(hay, self.start))
        } else {
            let query = self.start > 0 && matches!(hay[self.start - 1], b'?' | b'&' | b';');
            value::bare_end(hay, start, query, text::enclosing(hay, self.start).is_some())
        };
        // `password=hash("x")`: what is handed over is the secret.
        let called = hay[start..end].strip_suffix(b"(").filter(|name| name.iter().all(|b| text::is_name(*b)));
        match Quote::at(hay, end).filter(|_| called.is_some_and(|name| !name.is_empty())) {
            Some((quote, inner)) => self.quoted(Place::Sure, quote, inner, edits),
            None => self.take(place, start, end, open, edits),
        }
    }

    /// The value of a command's option, or of a word that takes one after a blank.
    fn after_gap(&self, at: usize, place: Place, edits: &mut Vec<Edit>) {
        let hay = self.hay;
        if hay.get(at).is_none_or(|first| text::is_break(*first) || *first == b'\r') {
            return;
        }
        if let Some((quote, inner)) = Quote::at(hay, at) {
            return self.quoted(place, quote, inner, edits);
        }
        let mut at = at;
        let word = &hay[self.start..self.end];
        if word.starts_with(b"wpa-") || word.starts_with(b"wireless-") {
            let (end, open) = value::rest_of_line(hay, at, None);
            return self.take(Place::Sure, at, end, open, edits);
        }
        if word.ends_with(b"sshpass") {
            // Only `-p` is followed by the password itself.
            if !has(hay, at, b"-p") {
                return;
            }
            at += 2;
            at += usize::from(hay.get(at).is_some_and(|b| matches!(b, b' ' | 0)));
            if let Some((quote, inner)) = Quote::at(hay, at) {
                return self.quoted(place, quote, inner, edits);
            }
        } else if hay.get(at) == Some(&b'-') {
            return;
        }
        if let Some(value) = self.argument(at) {
            // What is in hex is found by what decodes it.
            if let Some((quote, inner)) = Quote::at(hay, value).filter(|(_, inner)| hay.get(*inner) != Some(&b'-')) {
                self.quoted(place, quote, inner, edits);
            }
            return;
        }
        let inside = text::enclosing(hay, self.start).is_some();
        let nul = at > 0 && hay[at - 1] == 0;
        let ends = |at: usize, b: u8| match b {
            b'\\' => inside && matches!(hay.get(at + 1), Some(b'n' | b'r' | b't')),
            b'\n' | 0 => true,
            // Between NULs is one argument.
            _ => !nul && (b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'`')),
        };
        let word = hay[at..].iter().enumerate().take_while(|(n, b)| !ends(at + n, **b)).count();
        let (end, open) = match self.rest_of_word(at, at + word) {
            Some(rest) => rest,
            None => {
                let end = self.in_list(at, at + word);
                (end, (end == hay.len()).then_some(Open::Bare))
            }
        };
        self.take(place, at, end, open, edits);
    }

    /// Where the next argument's value begins, as the audit log writes a command: `a1="--password" a2="x"`.
    fn argument(&self, at: usize) -> Option<usize> {
        let hay = self.hay;
        let own = self.start > 1 && &hay[self.start - 2..self.start] == b"=\"" && hay.get(at) == Some(&b'a');
        let digits = hay.get(at + 1..).unwrap_or_default().iter().take(4).take_while(|b| b.is_ascii_digit()).count();
        let named = own && digits > 0 && hay.get(at + 1 + digits) == Some(&b'=');
        named.then_some(at + digits + 2)
    }

    /// Where a word goes to in which a quoted part follows `=`, as in `x="y z"`.
    fn rest_of_word(&self, at: usize, end: usize) -> Option<(usize, Option<Open>)> {
        let hay = self.hay;
        let slashes = hay[at..end].iter().rev().take_while(|b| **b == b'\\').count();
        let (quote, inner) = Quote::at(hay, end - slashes).filter(|_| hay[at..end - slashes].ends_with(b"="))?;
        // Base64 ends in `=` too, right before the quote that closes the text around it.
        let ends = |b: &u8| b.is_ascii_whitespace() || matches!(b, 0 | b',' | b'}' | b')' | b']' | b';');
        if hay.get(inner).is_none_or(ends) || slashes == 0 && text::enclosing(hay, at) == Some(quote.mark) {
            return None;
        }
        let (end, open) = open::quoted(quote, hay, inner);
        let closing = if open.is_none() && Quote::at(hay, end).is_some() { quote.slashes + 1 } else { 0 };
        Some((end + closing, open))
    }

    /// The end of a word without the bracket that closes a list around it, as in `args=[--password x]`.
    fn in_list(&self, at: usize, end: usize) -> usize {
        let line = &self.hay[text::line_start(self.hay, self.start)..self.start];
        let open = memchr::memrchr2(b'[', b']', line).is_some_and(|found| line[found] == b'[');
        let marker = super::label::marker_length(&self.hay[at..end]).unwrap_or(0);
        match memchr::memchr(b']', &self.hay[at + marker..end]).map(|close| close + marker) {
            Some(close) if open && close > 0 && value::closes(self.hay, at + close) => at + close,
            _ => end,
        }
    }

    pub(super) fn take(&self, place: Place, start: usize, end: usize, open: Option<Open>, edits: &mut Vec<Edit>) {
        let text = &self.hay[start..end];
        // A key in PEM has its own rule, which knows where it ends.
        if text.is_empty() || text.starts_with(b"-----BEGIN ") || !value::is_secret(text, place, self.named) {
            return;
        }
        edits.push(Edit { start, end, label: self.named.label, open });
    }
}

/// Whether a value begins with the scheme of a stored password, as in `{SSHA}…`.
fn scheme(value: &[u8]) -> bool {
    let name = value[1..].iter().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || **b == b'-').count();
    name >= 3 && value.get(1 + name) == Some(&b'}')
}

/// `sig=` of a signed URL.
pub(super) fn signature(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let Some((start, end)) = name_around(hay, hit) else { return };
    let escaped = hay[..start].last() == Some(&b'\\') && has(hay, start, b"u0026");
    let start = start + if escaped { "u0026".len() } else { 0 };
    let query = escaped || start > 0 && matches!(hay[start - 1], b'?' | b'&' | b';');
    let name = hay[start..end].to_ascii_lowercase();
    let known = matches!(name.as_slice(), b"sig" | b"signature" | b"x-amz-signature" | b"x-goog-signature");
    if !known || !query || hay.get(end) != Some(&b'=') {
        return;
    }
    let (stop, open) = value::bare_end(hay, end + 1, true, text::enclosing(hay, start).is_some());
    if stop > end + 1 && !super::label::is_marker(&hay[end + 1..stop]) {
        edits.push(Edit { start: end + 1, end: stop, label: Label::Signature, open });
    }
}
