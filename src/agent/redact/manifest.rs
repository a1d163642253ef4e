//! Manifests of Kubernetes Secrets, in YAML and JSON: every value below `stringData`, and below `data` where `kind` is `Secret`.
//!
//! The kind may stand before or behind the values, and behind much else. A manifest is therefore judged as a whole, as long as it is not
//! larger than half a block; in one that is, values below `data` that are base64 count as a Secret's where its kind is not at hand.

use super::label::{self, Label};
use super::open::Open;
use super::scan::Found;
use super::text::{self, Edit, LOOK, Quote};

/// Bytes that are looked at for the kind, each way.
const REACH: usize = 128 << 10;
/// Blanks before a key at most.
const DEEPEST: usize = 64;
/// What the type of a Secret begins with.
const TYPES: [&[u8]; 4] = [b"Opaque", b"kubernetes.io/", b"helm.sh/", b"bootstrap.kubernetes.io/"];

/// `hit` is at `data` or `stringData`, or in the word `Secret`.
pub(super) fn find(hay: &[u8], hit: usize, found: &mut Found) {
    if hay[hit..].starts_with(b"ecret") {
        return kind(hay, hit, found);
    }
    let sure = hay[hit..].starts_with(b"stringData");
    let end = hit + if sure { "stringData".len() } else { "data".len() };
    match Quote::at(hay, end) {
        Some((quote, next)) => json(hay, hit, quote, next, sure, found),
        None => yaml(hay, hit, end, sure, found),
    }
}

/// `kind: Secret`: what follows belongs to it, and is not cut off from it.
fn kind(hay: &[u8], hit: usize, found: &mut Found) {
    let key = hit.saturating_sub("kind: S".len());
    let ends = matches!(hay.get(hit + "ecret".len()), None | Some(b'\n' | b'\r'));
    if let Some(key) = Key::at(hay, key).filter(|key| ends && hay[key.start..].starts_with(b"kind: Secret")) {
        let end = key.siblings_below(|_| None::<()>).1;
        found.whole(key.line, end);
    }
}

/// A key of a mapping in YAML.
struct Key<'a> {
    hay: &'a [u8],
    line: usize,
    start: usize,
    column: usize,
    /// Whether a `- ` before it begins the mapping.
    first: bool,
}

/// What a line of YAML is to a key.
struct Line<'a> {
    start: usize,
    end: usize,
    /// Blanks before its text.
    indent: usize,
    /// Column of its key, behind any `- `.
    column: usize,
    text: &'a [u8],
}

impl<'a> Line<'a> {
    /// The line at `start`; whether it ends within the bytes at hand stands in the end.
    fn at(hay: &'a [u8], start: usize) -> Self {
        let end = memchr::memchr(b'\n', &hay[start..]).map_or(hay.len(), |at| start + at);
        let whole = hay[start..end].trim_ascii_end();
        let indent = whole.iter().take_while(|b| **b == b' ').count();
        let dash = usize::from(whole[indent..].starts_with(b"- ")) * 2;
        Self { start, end, indent, column: indent + dash, text: &whole[indent + dash..] }
    }

    fn says_nothing(&self) -> bool {
        self.text.is_empty() || self.text[0] == b'#'
    }

    /// Whether it is a key of a mapping, with or without its value.
    fn is_key(&self) -> bool {
        let name = self.text.iter().take_while(|b| text::is_name(**b) || matches!(b, b'/' | b'"' | b'\'')).count();
        name > 0 && self.text.get(name) == Some(&b':') && matches!(self.text.get(name + 1), None | Some(b' '))
    }
}

impl<'a> Key<'a> {
    /// The key that begins at `start`, if only blanks or a dash are before it.
    fn at(hay: &'a [u8], start: usize) -> Option<Self> {
        let line = text::line_start(hay, start);
        let column = start - line;
        let before = hay[line..start].trim_ascii();
        let own = column <= DEEPEST && (before.is_empty() || before == b"-");
        own.then_some(Self { hay, line, start, column, first: !before.is_empty() })
    }

    /// Whether a line has the same key once more: another mapping, or none.
    fn is_again(&self, line: &Line<'_>) -> bool {
        let name = self.hay[self.start..].iter().take(LOOK).take_while(|b| text::is_name(**b)).count();
        line.text.strip_prefix(&self.hay[self.start..self.start + name]).is_some_and(|rest| rest.starts_with(b":"))
    }

    /// Asks about each key beside this one below it, until an answer; and says where the mapping ends, if that is at hand.
    fn siblings_below<T>(&self, ask: impl Fn(&[u8]) -> Option<T>) -> (Option<T>, Option<usize>) {
        let hay = &self.hay[..self.hay.len().min(self.start + REACH)];
        let mut line = Line::at(hay, self.line);
        let mut answer = None;
        while line.end < hay.len() {
            line = Line::at(hay, line.end + 1);
            if line.says_nothing() || line.indent > self.column {
                continue;
            }
            let item = line.column > line.indent && line.indent == self.column;
            if line.indent < self.column || item || !line.is_key() || self.is_again(&line) {
                return (answer, Some(line.start));
            }
            answer = answer.or_else(|| ask(line.text));
        }
        (answer, (hay.len() < self.hay.len()).then_some(hay.len()))
    }

    /// The same for those above it; and where the mapping begins.
    fn siblings_above<T>(&self, ask: impl Fn(&[u8]) -> Option<T>) -> (Option<T>, usize) {
        let floor = self.line.saturating_sub(REACH);
        let mut begins = self.line;
        while !self.first && begins > floor {
            let start = memchr::memrchr(b'\n', &self.hay[floor..begins - 1]).map_or(floor, |at| floor + at + 1);
            let line = Line::at(self.hay, start);
            let beside = line.column == self.column;
            let apart = line.column < self.column || beside && (!line.is_key() || self.is_again(&line));
            if apart && !line.says_nothing() {
                break;
            }
            begins = start;
            if line.column == self.column && !line.says_nothing() {
                if let Some(answer) = ask(line.text) {
                    return (Some(answer), begins);
                }
                if line.column > line.indent {
                    break;
                }
            }
        }
        (None, begins)
    }
}

/// Whether a key of the manifest says that it is a Secret, or something else.
fn says(text: &[u8]) -> Option<bool> {
    let value = |name: &[u8]| {
        let value = text.strip_prefix(name)?.strip_prefix(b":")?.trim_ascii();
        Some(value.strip_prefix(b"\"").or(value.strip_prefix(b"'")).unwrap_or(value))
    };
    if let Some(kind) = value(b"kind") {
        return Some(matches!(kind, b"Secret" | b"Secret\"" | b"Secret'"));
    }
    value(b"type").filter(|kind| TYPES.iter().any(|of| kind.starts_with(of))).map(|_| true)
}

fn yaml(hay: &[u8], start: usize, end: usize, sure: bool, found: &mut Found) {
    let Some(key) = Key::at(hay, start) else { return };
    let head = &hay[end..text::line_end(hay, end).min(end + LOOK)];
    if head.trim_ascii() != b":" {
        return;
    }
    let (above, begins) = key.siblings_above(says);
    let (below, ends) = key.siblings_below(says);
    found.whole(begins, ends);
    let secret = sure || above.or(below).unwrap_or(false);
    if secret || (above.or(below).is_none() && !found.ended && ends.is_none_or(|end| end >= start + REACH)) {
        values(&key, !secret, &mut found.edits);
    }
}

/// Takes out the values of the keys below a key; where it is not sure what they are, only those that are base64.
fn values(key: &Key<'_>, only_base64: bool, edits: &mut Vec<Edit>) {
    let hay = key.hay;
    let mut line = Line::at(hay, key.line);
    let mut column = None;
    // The value that the lines further in go on with.
    let mut last: Option<Edit> = None;
    let mut closed = false;
    while line.end < hay.len() && !closed {
        line = Line::at(hay, line.end + 1);
        if line.start == hay.len() || line.says_nothing() && line.indent <= key.column {
            continue;
        }
        closed = line.indent <= key.column;
        let own = *column.get_or_insert(line.indent);
        if !closed && line.indent > own {
            if let Some(edit) = &mut last {
                edit.end = line.start + hay[line.start..line.end].trim_ascii_end().len();
            }
            continue;
        }
        take(last.take(), hay, only_base64, edits);
        if !closed && let Some(at) = value_of(&line) {
            last = Some(Edit {
                start: at,
                end: line.start + line.indent + line.text.len(),
                label: Label::Secret,
                open: None,
            });
        }
    }
    if let Some(mut edit) = last {
        // It may go on behind the bytes at hand; then all that is further in goes with it.
        edit.open = Some(Open::Block { indent: key.column });
        edit.end = edit.end.max(edit.start);
        let goes_on = hay.last() == Some(&b'\n') || line.end == hay.len();
        edit.open = edit.open.filter(|_| goes_on && hay.len() > key.start + REACH);
        take(Some(edit), hay, only_base64, edits);
    }
}

/// Where the value of a line's key begins.
fn value_of(line: &Line<'_>) -> Option<usize> {
    let colon = line.text.windows(2).position(|two| two == b": ")?;
    let blanks = line.text[colon + 1..].iter().take_while(|b| **b == b' ').count();
    Some(line.start + line.indent + colon + 1 + blanks)
}

fn take(edit: Option<Edit>, hay: &[u8], only_base64: bool, edits: &mut Vec<Edit>) {
    let Some(mut edit) = edit else { return };
    let text = &hay[edit.start..edit.end];
    if let [quote @ (b'"' | b'\''), .., last] = text
        && quote == last
        && edit.open.is_none()
    {
        (edit.start, edit.end) = (edit.start + 1, edit.end - 1);
    }
    let text = &hay[edit.start..edit.end];
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=') || b.is_ascii_whitespace();
    let nothing = text.is_empty() || label::is_marker(text) || matches!(text, b"null" | b"{}" | b"~");
    if !nothing && (!only_base64 || text.len() >= 4 && text.iter().all(digit)) {
        edits.push(edit);
    }
}

/// `"data": {"name": "value", …}`: nothing but strings below it, and a kind or type beside it.
fn json(hay: &[u8], start: usize, quote: Quote, next: usize, sure: bool, found: &mut Found) {
    let opens = start.checked_sub(quote.slashes + 1).and_then(|at| Quote::at(hay, at));
    if opens != Some((quote, start)) {
        return;
    }
    let Some(inside) = after(hay, next, b':').and_then(|at| after(hay, at, b'{')) else { return };
    let mut edits = Vec::new();
    let end = match strings(hay, inside, quote, &mut edits) {
        Strings::Whole(end) => Some(end),
        Strings::Cut => None,
        Strings::Other => return,
    };
    let secret = sure || is_secret(hay, start, end, quote);
    // As far as the kind would be told behind it.
    let told = end.map(|end| end + 64).filter(|told| *told <= hay.len());
    found.whole(text::line_start(hay, start).max(start.saturating_sub(LOOK / 2)), told.or(end.filter(|_| secret)));
    if secret {
        found.edits.append(&mut edits);
    }
}

enum Strings {
    /// All of it, and where it ends.
    Whole(usize),
    /// The bytes at hand end first.
    Cut,
    /// Something else than strings.
    Other,
}

fn strings(hay: &[u8], mut at: usize, quote: Quote, edits: &mut Vec<Edit>) -> Strings {
    loop {
        at = blanks(hay, at);
        match hay.get(at) {
            None => return Strings::Cut,
            Some(b'}') => return Strings::Whole(at + 1),
            Some(b',') => at += 1,
            Some(_) => {
                let Some((_, name)) = Quote::at(hay, at).filter(|(q, _)| *q == quote) else { return Strings::Other };
                let (end, closed) = quote.close(hay, name);
                let value =
                    if closed { after(hay, end + quote.slashes + 1, b':').map(|at| blanks(hay, at)) } else { None };
                let Some(value) = value else { return if closed { Strings::Other } else { Strings::Cut } };
                let Some((_, inner)) = Quote::at(hay, value).filter(|(q, _)| *q == quote) else {
                    return Strings::Other;
                };
                let (end, closed) = quote.close(hay, inner);
                let text = &hay[inner..end];
                if !text.is_empty() && !label::is_marker(text) {
                    let open = (!closed).then_some(Open::Quoted(quote));
                    edits.push(Edit { start: inner, end, label: Label::Secret, open });
                }
                if !closed {
                    return Strings::Cut;
                }
                at = end + quote.slashes + 1;
            }
        }
    }
}

fn blanks(hay: &[u8], at: usize) -> usize {
    at + hay.get(at..).unwrap_or_default().iter().take(LOOK).take_while(|b| b.is_ascii_whitespace()).count()
}

/// Past `byte`, which stands at `at` or behind the blanks there.
fn after(hay: &[u8], at: usize, byte: u8) -> Option<usize> {
    let at = blanks(hay, at);
    (hay.get(at) == Some(&byte)).then_some(at + 1)
}

/// Whether what stands beside `data` says so: behind it first, then the last kind before it.
fn is_secret(hay: &[u8], start: usize, end: Option<usize>, quote: Quote) -> bool {
    let mut at = end;
    for _ in 0..2 {
        let Some((name, value, next)) = at.and_then(|at| after(hay, at, b',')).and_then(|at| member(hay, at, quote))
        else {
            break;
        };
        match name {
            b"kind" => return value == b"Secret",
            b"type" if TYPES.iter().any(|kind| value.starts_with(kind)) => return true,
            b"immutable" => at = Some(next),
            _ => break,
        }
    }
    let floor = start.saturating_sub(4 * LOOK);
    let kind = memchr::memmem::rfind(&hay[floor..start], b"kind").map(|at| floor + at);
    let opens = kind.and_then(|at| at.checked_sub(quote.slashes + 1));
    opens.and_then(|at| member(hay, at, quote)).is_some_and(|(name, value, _)| name == b"kind" && value == b"Secret")
}

/// The member of an object at `at`, whose value is a string or a bare word, and where it ends.
fn member(hay: &[u8], at: usize, quote: Quote) -> Option<(&[u8], &[u8], usize)> {
    let (_, name) = Quote::at(hay, blanks(hay, at)).filter(|(q, _)| *q == quote)?;
    let end = name + hay[name..].iter().take(64).take_while(|b| b.is_ascii_alphanumeric()).count();
    let (_, next) = Quote::at(hay, end)?;
    let value = blanks(hay, after(hay, next, b':')?);
    let Some((_, inner)) = Quote::at(hay, value) else {
        let word = value + hay[value..].iter().take(16).take_while(|b| b.is_ascii_alphanumeric()).count();
        return Some((&hay[name..end], &hay[value..word], word));
    };
    let (stop, _) = quote.close(hay, inner);
    Some((&hay[name..end], &hay[inner..stop], stop + quote.slashes + 1))
}
