//! Sizes, times and misspelt keys in TOML: what the agent's configuration and its collector files share.
//!
//! Values come from TOML text and go out as plain numbers; an unknown key comes back with the key that was probably meant.
//! Nothing here opens a file.

use std::fmt;
use std::time::Duration;

use serde::Deserializer;
use serde::de::{DeserializeOwned, Error, Visitor};

/// Why a TOML text is not what it should be; one line, or several with the place marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextError {
    line: Option<usize>,
    message: String,
}

impl TextError {
    fn new(message: String) -> Self {
        Self { line: None, message }
    }

    /// The line that it is about, from 1, where that is known; and what is wrong there.
    pub fn parts(&self) -> (Option<usize>, &str) {
        (self.line, &self.message)
    }
}

impl std::error::Error for TextError {}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Reads TOML into `T`; an unknown key is named, with the nearest key that exists.
///
/// # Errors
/// When the text is no TOML, or holds a key or a value that `T` does not take.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, TextError> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        TextError { line, message: suggest(error.message()) }
    })
}

/// Turns serde's list of all fields into the one that was probably meant.
fn suggest(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return message.to_owned();
    };
    let mut words = rest.split('`').step_by(2);
    let Some(unknown) = words.next() else {
        return message.to_owned();
    };
    let nearest = words.filter(|word| !word.is_empty()).min_by_key(|word| distance(unknown, word));
    match nearest {
        Some(near) if distance(unknown, near) <= 1 + unknown.chars().count() / 3 => {
            format!("unknown key `{unknown}`; did you mean `{near}`?")
        }
        _ => format!("unknown key `{unknown}`{}", rest.split_once('`').map_or("", |(_, after)| after)),
    }
}

/// Edits that turn one word into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// `64 MiB`, `4GiB`, `1000`: bytes, in powers of 1024 with or without the `i`.
///
/// # Errors
/// For any other text, and for sizes beyond 64 bits.
pub fn size(text: &str) -> Result<u64, TextError> {
    let (number, unit) = split(text);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => {
            return Err(TextError::new(format!(
                "`{text}` is no size: write bytes, or a number with KiB, MiB, GiB or TiB"
            )));
        }
    };
    let number: u64 = number.parse().map_err(|_| TextError::new(format!("`{text}` is no size")))?;
    number.checked_mul(1 << shift).ok_or_else(|| TextError::new(format!("`{text}` is too large")))
}

/// `30s`, `5m`, `2h`, `3d`, `500ms`, or a number of seconds.
///
/// # Errors
/// For any other text, and for times beyond ten years.
pub fn wait(text: &str) -> Result<Duration, TextError> {
    let (number, unit) = split(text);
    if unit == "ms" {
        let number: u32 = number.parse().map_err(|_| TextError::new(format!("`{text}` is no time")))?;
        return Ok(Duration::from_millis(number.into()));
    }
    let factor = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(TextError::new(format!("`{text}` is no time: write seconds, or a number with s, m, h or d"))),
    };
    let number: u64 = number.parse().map_err(|_| TextError::new(format!("`{text}` is no time")))?;
    let seconds = number.checked_mul(factor).filter(|s| *s <= 3650 * 86_400);
    seconds.map(Duration::from_secs).ok_or_else(|| TextError::new(format!("`{text}` is too long")))
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..at], text[at..].trim())
}

/// Takes a number or a text, and makes one value of both.
struct Either<T> {
    expected: &'static str,
    number: fn(u64) -> T,
    text: fn(&str) -> Result<T, TextError>,
}

impl<T> Visitor<'_> for Either<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        Ok((self.number)(number))
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let number = u64::try_from(number).map_err(|_| E::custom("must not be negative"))?;
        Ok((self.number)(number))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.text)(text).map_err(E::custom)
    }
}

/// For `#[serde(deserialize_with)]`: a size as [`size`] reads it, or a number of bytes.
///
/// # Errors
/// As [`size`].
pub fn de_size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    from.deserialize_any(Either { expected: "a size such as 64MiB", number: |n| n, text: size })
}

/// For `#[serde(deserialize_with)]`: as [`de_size`], where the key may be absent.
///
/// # Errors
/// As [`size`].
pub fn de_some_size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    de_size(from).map(Some)
}

/// For `#[serde(deserialize_with)]`: a time as [`wait`] reads it, or a number of seconds.
///
/// # Errors
/// As [`wait`].
pub fn de_wait<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    from.deserialize_any(Either { expected: "a time such as 30s", number: Duration::from_secs, text: wait })
}

/// For `#[serde(deserialize_with)]`: as [`de_wait`], where the key may be absent.
///
/// # Errors
/// As [`wait`].
pub fn de_some_wait<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    de_wait(from).map(Some)
}

/// For `#[serde(deserialize_with)]`: `true`, `false`, `"on"` or `"off"`.
///
/// # Errors
/// For any other value.
pub fn de_switch<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    struct Switch;
    impl Visitor<'_> for Switch {
        type Value = bool;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true, false, \"on\" or \"off\"")
        }
        fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
            match text {
                "on" => Ok(true),
                "off" => Ok(false),
                _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
            }
        }
    }
    from.deserialize_any(Switch)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        host_root: String,
        #[serde(deserialize_with = "de_size")]
        bytes: u64,
        #[serde(deserialize_with = "de_wait")]
        time: Duration,
        #[serde(deserialize_with = "de_switch")]
        on: bool,
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_a_suggestion() {
        let error = parse::<Sample>("bytes = 1\nhost_rot = \"/\"\n").expect_err("refused").to_string();
        assert_eq!(error, "line 2: unknown key `host_rot`; did you mean `host_root`?");
        let error = parse::<Sample>("zzzzzz = 1").expect_err("refused").to_string();
        assert!(error.contains("unknown key `zzzzzz`, expected one of `host_root`"), "{error}");
    }

    #[test]
    fn numbers_and_texts_are_the_same_value() {
        let sample: Sample = parse("bytes = \"4 MiB\"\ntime = \"2m\"\non = \"on\"").expect("parsed");
        assert_eq!(
            (sample.bytes, sample.time.as_secs(), sample.on, sample.host_root.as_str()),
            (4 << 20, 120, true, "")
        );
        assert_eq!(wait("250ms").map(|wait| wait.as_millis()), Ok(250));
        let sample: Sample = parse("bytes = 5\ntime = 7\non = false").expect("parsed");
        assert_eq!((sample.bytes, sample.time.as_secs(), sample.on), (5, 7, false));
    }

    #[test]
    fn what_is_no_size_or_time_is_refused() {
        for bad in [
            "bytes = -1",
            "bytes = \"4 bananas\"",
            "bytes = \"99999999999 TiB\"",
            "time = \"9999999d\"",
            "time = \"99999999999ms\"",
            "on = \"maybe\"",
        ] {
            assert!(parse::<Sample>(bad).is_err(), "{bad}");
        }
    }
}
