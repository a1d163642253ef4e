//! Configuration files: found, read, and refused when they hold what nobody asked for.
//!
//! A file comes from the administrator and becomes the settings of one daemon, whose rooms define the keys. It never guesses:
//! an unknown key is an error that names the key, the file and the line.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::agent::source::measure::{self, TextError};

/// A configuration of people's hands is never longer.
const LONGEST: u64 = 1 << 20;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file says something that makes no sense.
    #[error("{}: {error}", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why, in the words that the agent has for its own.
        error: TextError,
    },
}

/// Reads a daemon's settings from a TOML file.
///
/// # Errors
/// When the file cannot be read, is no TOML, or holds an unknown key or a value that does not fit.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let read = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(read)?;
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(read)?;
    if text.len() as u64 > LONGEST {
        return Err(read(std::io::Error::other("longer than 1 MiB")));
    }
    parse(path, &text)
}

fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    measure::parse(text).map_err(|error| ConfigError::Parse { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[expect(dead_code, reason = "only whether it parses matters")]
        port: u16,
    }

    #[test]
    fn an_unknown_key_is_named_with_file_and_line() {
        let error = parse::<Settings>(Path::new("x.toml"), "port = 1\n\nprot = 2\n").expect_err("unknown key");
        let text = error.to_string();
        assert_eq!(text, "x.toml: line 3: unknown key `prot`; did you mean `port`?");
    }

    #[test]
    fn a_value_that_does_not_fit_is_placed() {
        let error = parse::<Settings>(Path::new("x.toml"), "port = 70000\n").expect_err("too large");
        assert!(error.to_string().starts_with("x.toml: line 1: "), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load::<Settings>(Path::new("/nonexistent/sheaf.toml")).expect_err("missing");
        assert_eq!(error.to_string(), "cannot read /nonexistent/sheaf.toml");
    }
}
