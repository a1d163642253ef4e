//! Configuration files: found, read, and refused when they hold what nobody asked for.
//!
//! A file comes from the administrator and becomes the settings of one daemon, whose rooms define the keys. It never guesses:
//! an unknown key is an error that names the key, the file and the line.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

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
    #[error("{}:{line}:{column}: {message}", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
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
    toml::from_str(text).map_err(|error| {
        let before = &text[..text.floor_char_boundary(error.span().map_or(0, |span| span.start))];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        // One line: the library's own may add an excerpt below.
        let message = error.message().replace('\n', ", ");
        ConfigError::Parse { path: path.to_owned(), line, column, message }
    })
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
        assert!(text.starts_with("x.toml:3:1: "), "{text}");
        assert!(text.contains("`prot`") && text.contains("`port`"), "{text}");
    }

    #[test]
    fn a_value_that_does_not_fit_is_placed() {
        let error = parse::<Settings>(Path::new("x.toml"), "port = 70000\n").expect_err("too large");
        assert!(error.to_string().starts_with("x.toml:1:8: "), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load::<Settings>(Path::new("/nonexistent/sheaf.toml")).expect_err("missing");
        assert_eq!(error.to_string(), "cannot read /nonexistent/sheaf.toml");
    }
}
