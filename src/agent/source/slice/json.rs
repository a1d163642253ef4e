//! A line's time out of a JSON object, without parsing the object: its own members are gone over until one is a time.
//!
//! What stands inside of texts, or deeper than the first level, is no time of the line: programs log what others have logged. A line that
//! is cut is read as far as it goes.

use super::civil::Written;
use super::forms;

/// Members that hold a line's time.
const NAMES: [&[u8]; 12] = [
    b"ts",
    b"time",
    b"timestamp",
    b"@timestamp",
    b"t",
    b"date",
    b"datetime",
    b"asctime",
    b"eventTime",
    b"stageTimestamp",
    b"requestReceivedTimestamp",
    b"__REALTIME_TIMESTAMP",
];
/// A time's own member, where an object stands for it.
const DATE: &[u8] = b"$date";

/// The time of the object that `line` begins with.
pub(super) fn read(line: &[u8]) -> Option<Written> {
    let mut at = 1;
    let mut depth = 1_u32;
    // Whether the object that is just open stands for a time.
    let mut dated = false;
    while let Some(byte) = line.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                dated &= depth > 1;
                if depth == 0 {
                    return None;
                }
            }
            b'"' => {
                let (name, next) = text(line, at)?;
                at = next;
                let own = (depth == 1 && NAMES.contains(&name)) || (depth == 2 && dated && name == DATE);
                if let Some(value) = own.then(|| value(line, at)).flatten() {
                    match line.get(value) {
                        Some(b'{') if depth == 1 => dated = true,
                        Some(_) => {
                            if let Some(written) = meant(line, value) {
                                return Some(written);
                            }
                        }
                        None => return None,
                    }
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The text whose opening quote stands at `at`, and where it goes on behind it; `None` for a cut one.
fn text(line: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let mut end = at + 1;
    loop {
        end += memchr::memchr2(b'"', b'\\', line.get(end..)?)?;
        if line[end] == b'"' {
            return Some((&line[at + 1..end], end + 1));
        }
        end += 2;
    }
}

/// Where the value of a name begins; `None` where no colon follows, since a text was a value then.
fn value(line: &[u8], at: usize) -> Option<usize> {
    let blanks = |at: usize| at + line[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let colon = blanks(at.min(line.len()));
    (line.get(colon) == Some(&b':')).then(|| blanks(colon + 1))
}

/// The time that a value is.
fn meant(line: &[u8], at: usize) -> Option<Written> {
    if line[at] == b'"' {
        let (text, _) = text(line, at)?;
        return forms::whole(text).or_else(|| number(text));
    }
    number(&line[at..])
}

/// A number of seconds, or of thousandths, millionths … of them.
fn number(text: &[u8]) -> Option<Written> {
    let length = text.iter().take(40).take_while(|b| b.is_ascii_digit() || b".eE+".contains(b)).count();
    let text = std::str::from_utf8(&text[..length]).ok()?;
    if text.contains(['e', 'E']) {
        let seconds: f64 = text.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds < 1e18)?;
        return forms::epoch(seconds as i64, (seconds.fract() * 1000.0) as i64);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let ms = fraction.bytes().chain(*b"000").take(3).filter(u8::is_ascii_digit);
    forms::epoch(whole.parse().ok()?, ms.fold(0, |ms, digit| ms * 10 + i64::from(digit - b'0')))
}
