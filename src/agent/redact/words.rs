//! Words that take their value behind a blank, without a sign between: directives of configurations, arguments of a few programs.
//!
//! A word that logs speak of as well counts only in its place: at the head of its line, behind the words that its program has before it.
//! Out goes where the value begins; [`super::assign`] judges it.

use super::text::{self, Quote, has};
use super::value::Place;

/// Directives of configurations, which head their line.
const DIRECTIVES: [&[u8]; 18] = [
    b"requirepass",
    b"bindpw",
    b"rootpw",
    b"rocommunity",
    b"rwcommunity",
    b"rocommunity6",
    b"rwcommunity6",
    b"trapcommunity",
    b"defpassphrase",
    b"defauthpassphrase",
    b"defprivpassphrase",
    b"masterauth",
    b"wpa-psk",
    b"wpa-password",
    b"wpa-passphrase",
    b"wireless-key",
    b"auth_pass",
    b"password_pbkdf2",
];

/// Where the value of the word between `start` and `end` begins, which stands at `at` or behind what the word has before its value; and how sure
/// it is that it is one. None where the word takes none.
pub(super) fn value_of(hay: &[u8], start: usize, end: usize, at: usize) -> Option<(usize, Place)> {
    if hay[start] == b'-' {
        let begins =
            start == 0 || matches!(hay[start - 1], 0 | b'\n' | b' ' | b'\t' | b'"' | b'\'' | b'`' | b'[' | b',');
        return begins.then_some((at, Place::Option));
    }
    let mut word = [0; 32];
    let word = word.get_mut(..end - start)?;
    word.copy_from_slice(&hay[start..end]);
    word.make_ascii_lowercase();
    if *word == *b"sshpass" {
        return Some((at, Place::Option));
    }
    let line = &hay[text::line_start(hay, start)..start];
    if DIRECTIVES.contains(&&*word) {
        let (blank, place) = heads(line)?;
        return Some((behind_words(hay, word, at), if blank { Place::Option } else { place }));
    }
    let quote = Quote::at(hay, at);
    let taken = match &*word {
        // .netrc, SQL that sets one, answers to an installer, and the arguments of a few programs.
        b"password" => {
            let sql = matches!(quote, Some((Quote { mark: b'\'', .. }, _)))
                && line.windows(4).any(|w| w.eq_ignore_ascii_case(b"user") || w.eq_ignore_ascii_case(b"role"));
            sql || after_name(line, &[b"login"])
                || is_preseed(line)
                || holds(line, b"nmcli ")
                || holds(line, b"mysqladmin ")
                || holds(line, b"ipmitool ") && holds(line, b" user set ")
        }
        b"insecure-password" => after_name(line, &[b"user"]),
        b"aws_secret_access_key" | b"aws_session_token" => line.ends_with(b" set "),
        b"community" => line.ends_with(b"snmp-server "),
        // `: PSK "x"` in ipsec.secrets; NetworkManager's properties as arguments.
        b"psk" => line.trim_ascii_end().ends_with(b":") && quote.is_some() || holds(line, b"nmcli "),
        b"shared-secret" => quote.is_some() && line.trim_ascii().is_empty(),
        // `secret "x";` in named's keys.
        b"secret" => {
            (line.trim_ascii().is_empty() || line.trim_ascii_end().ends_with(b";")) && is_named_key(hay, quote)
        }
        _ => word.ends_with(b".psk") && holds(line, b"nmcli "),
    };
    taken.then(|| (behind_words(hay, word, at), Place::Option))
}

fn holds(line: &[u8], text: &[u8]) -> bool {
    memchr::memmem::find(line, text).is_some()
}

/// Whether nothing stands before a directive, or only what a log has before its text, where less is sure.
fn heads(line: &[u8]) -> Option<(bool, Place)> {
    let line = line.trim_ascii_end();
    let line = line.strip_suffix(b"MESSAGE=").unwrap_or(line);
    match line.last() {
        None => Some((true, Place::Option)),
        Some(b':' | b'"' | b'F') => Some((false, Place::Prose)),
        Some(_) => None,
    }
}

/// Whether the words before are `<of> <name>`, as in `login bob password x`.
fn after_name(line: &[u8], of: &[&[u8]]) -> bool {
    let mut words = line.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty()).rev();
    words.next().is_some() && words.next().is_some_and(|word| of.contains(&word))
}

/// `d-i passwd/root-password password x`.
fn is_preseed(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    line.ends_with(b"-password") || line.ends_with(b"-password-again")
}

/// Past what a word has before its value: an option, or whose it is.
fn behind_words(hay: &[u8], word: &[u8], at: usize) -> usize {
    let line = &hay[at..text::line_end(hay, at)];
    let first = line.iter().take_while(|b| !b.is_ascii_whitespace()).count();
    let skipped = match word {
        b"rootpw" => line.starts_with(b"--"),
        b"password_pbkdf2" => true,
        // A user's number.
        b"password" => first < 3 && first < line.len() && line[..first].iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if skipped { text::skip_blanks(hay, at + first) } else { at }
}

/// Base64 in quotes, and a semicolon.
fn is_named_key(hay: &[u8], quote: Option<(Quote, usize)>) -> bool {
    let Some((quote, inner)) = quote else { return false };
    let (end, closed) = quote.close(hay, inner);
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    closed && end - inner >= 16 && hay[inner..end].iter().all(digit) && has(hay, end + quote.slashes + 1, b";")
}
