//! Command lines: credentials in short options, which mean that only for some programs.

use regex::bytes::Regex;

use super::label::{self, Label};
use super::text::{self, Edit, Quote, has};
use super::value;

/// Bytes of a command line that are looked at, at most.
const COMMAND: usize = 2048;

/// Programs that take a password beside a user, and the option for it.
const PROGRAMS: [(&[u8], &[u8]); 5] = [
    (b"mongo", b" -p "),
    (b"twine ", b" -p "),
    (b"cqlsh", b" -p "),
    (b"rabbitmqadmin", b" -p "),
    (b"mosquitto_", b" -P "),
];

/// Values that one command line is taken to have, at most.
const VALUES: usize = 4;

/// `mysql -psecret` and the like; `hit` is at the program's name, with which `program` begins.
pub(super) fn options(program: &Regex, option: &Regex, hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let line = &hay[hit..hit + COMMAND.min(hay.len() - hit)];
    let Some(found) = program.find(line) else { return };
    // The blank behind the program stands before its first option.
    let start = found.end() - usize::from(matches!(line[found.end() - 1], b' ' | 0));
    let end = memchr::memchr3(b'\n', b'|', b';', &line[start..]).map_or(line.len(), |at| start + at);
    for groups in option.captures_iter(&line[start..end]).take(VALUES) {
        let value = groups.get(1).expect("every pattern has its group");
        push(hay, hit + start + value.start(), hit + start + value.end(), edits);
    }
}

/// ` -u name:password`, `--user name:password`; `hit` is at the blank, or at `-user`. `1000:1000` is a user and a group.
pub(super) fn user(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let option = if hay[hit..].starts_with(b"-user") { 5 } else { 3 };
    let mut at = hit + option;
    if !matches!(hay.get(at), Some(b' ' | b'=' | 0)) {
        return;
    }
    at += 1;
    at += usize::from(matches!(hay.get(at), Some(b'"' | b'\'')));
    let word =
        &hay[at..at + hay[at..].iter().take(1024).take_while(|b| **b > b' ' && !matches!(b, b'"' | b'\'')).count()];
    let Some(colon) = memchr::memchr(b':', word) else { return beside(hay, hit, edits) };
    let (name, password) = (&word[..colon], &word[colon + 1..]);
    let line = &hay[text::line_start(hay, hit)..hit];
    let client = [b"curl".as_slice(), b"http", b"wget"].iter().any(|c| memchr::memmem::find(line, c).is_some());
    if client && !name.is_empty() && !password.is_empty() {
        push(hay, at + colon + 1, at + word.len(), edits);
    } else if client && password.is_empty() && name.len() >= 12 && value::looks_secret(name) {
        // `-u token:`, where the user is the secret.
        push(hay, at, at + colon, edits);
    }
}

/// `mongo -u user -p password`: the option beside the user, of programs that mean a password by it; `hit` is at the user's.
fn beside(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let line = &hay[text::line_start(hay, hit)..hit];
    let known = |(program, _): &&(&[u8], _)| memchr::memmem::find(line, program).is_some();
    let Some((_, option)) = PROGRAMS.iter().find(known) else { return };
    let rest = &hay[hit..hay.len().min(hit + COMMAND)];
    let rest = &rest[..text::line_end(rest, 0)];
    let rest = &rest[..memchr::memchr2(b'|', b';', rest).unwrap_or(rest.len())];
    let Some(at) = memchr::memmem::find(rest, option).map(|at| hit + at + option.len()) else { return };
    let (quote, at) = Quote::at(hay, at).map_or((None, at), |(quote, inner)| (Some(quote), inner));
    let ends = |b: &u8| quote.is_none() && *b <= b' ' || matches!(b, b'\n' | b'"' | b'\'' | b'`' | b'\\');
    let word = hay[at..].iter().take(COMMAND).take_while(|b| !ends(b)).count();
    if word > 0 && hay[at] != b'-' {
        push(hay, at, at + word, edits);
    }
}

/// Accounts that are handed to `chpasswd` (`echo user:password | chpasswd`), a password to `passwd --stdin`, or given to `htpasswd -b file user password`; the name is at hand.
pub(super) fn accounts(hay: &[u8], start: usize, end: usize, edits: &mut Vec<Edit>) {
    let quoted = |b: &u8| matches!(b, b'"' | b'\'' | b'\\') || b.is_ascii_whitespace();
    let stdin = has(hay, end, b" --stdin");
    if &hay[start..end] == b"chpasswd" || stdin {
        let line = text::line_start(hay, start);
        let path = hay[line..start].iter().rev().take_while(|b| text::is_name(**b) || **b == b'/').count();
        let Some(before) = hay[line..start - path].trim_ascii_end().strip_suffix(b"|") else { return };
        let before = &before[..before.len() - before.iter().rev().take_while(|b| quoted(b)).count()];
        let word = before.iter().rev().take_while(|b| !quoted(b)).count();
        let at = line + before.len() - word;
        let account = &hay[at..line + before.len()];
        let echoed = [b"echo ".as_slice(), b"echo \"", b"echo '"].iter().any(|echo| hay[line..at].ends_with(echo));
        let colon = memchr::memchr(b':', account).filter(|at| *at > 0 && !account[*at..].starts_with(b":$"));
        match colon {
            _ if stdin && echoed => push(hay, at, at + account.len(), edits),
            Some(colon) if !stdin => push(hay, at + colon + 1, at + account.len(), edits),
            _ => {}
        }
        return;
    }
    if &hay[start..end] != b"htpasswd" {
        return;
    }
    let line = &hay[end..hay.len().min(end + COMMAND)];
    let line = end + line.iter().position(|b| matches!(b, b'\n' | b'|' | b';' | b'&')).unwrap_or(line.len());
    let mut at = end;
    for number in 0..4 {
        at += hay[at..line].iter().take_while(|b| matches!(b, b' ' | 0)).count();
        let word = &hay[at..line];
        let word = &word[..word.iter().take_while(|b| !matches!(b, b' ' | 0)).count()];
        if number == 0 && !(word.starts_with(b"-") && !word.starts_with(b"--") && word.contains(&b'b')) {
            return;
        }
        if number == 3 && !word.is_empty() {
            push(hay, at, at + word.len(), edits);
        }
        at += word.len();
    }
}

/// `IDENTIFIED BY 'password'` in SQL; `hit` is in the first word.
pub(super) fn identified(hay: &[u8], hit: usize, edits: &mut Vec<Edit>) {
    let mut at = hit + "dentified by ".len();
    if hay.get(at..at + 9).is_some_and(|word| word.eq_ignore_ascii_case(b"password ")) {
        at += 9;
    }
    let at = text::skip_blanks(hay, at.min(hay.len()));
    if let Some((quote, start)) = Quote::at(hay, at) {
        let (end, _) = quote.close(hay, start);
        if end > start {
            push(hay, start, end, edits);
        }
    }
}

fn push(hay: &[u8], start: usize, end: usize, edits: &mut Vec<Edit>) {
    if !label::is_marker(&hay[start..end]) && !hay[start..end].starts_with(b"$") {
        edits.push(Edit { start, end, label: Label::Password, open: None });
    }
}
