//! Globs over host paths, matched component by component while a walk goes down.
//!
//! `*`, `?`, `[…]` and `{a,b}` stay inside one component, `**` is any number of folders. Patterns come from collector files;
//! names come from the disk as bytes of any kind. Nothing here touches a file system.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use globset::{Glob, GlobBuilder, GlobMatcher};
use serde::Deserialize;

use super::rotated;

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Not from `/` on.
    #[error("`{0}` must be absolute")]
    Relative(String),
    /// `..`, an empty component, a trailing slash, or `**` beside other characters.
    #[error("`{0}` must hold no `..`, no empty component, and `**` only alone between slashes")]
    Component(String),
    /// A glob that is no glob.
    #[error("`{pattern}`: {problem}")]
    Glob {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        problem: String,
    },
}

/// One component of a pattern.
#[derive(Clone, Debug)]
enum Part {
    /// Exactly this name.
    Name(String),
    /// A glob over one name, and what matches it, which is made when the first name comes: a daemon that waits needs none.
    Glob(Box<Glob>, OnceLock<GlobMatcher>),
    /// Any number of folders.
    Any,
}

/// An absolute glob.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

/// How far a walk has come in one pattern: the part that the next name must match, and the folders a `**` has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Progress {
    /// Which pattern of the set.
    pub pattern: usize,
    at: usize,
    taken: usize,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// For relative patterns, `..`, and globs that do not hold together within one component.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let rest = text.strip_prefix('/').ok_or_else(|| PatternError::Relative(text.to_owned()))?;
        let parts = rest.split('/').map(|part| Self::part(text, part)).collect::<Result<Vec<_>, _>>()?;
        if matches!(parts.last(), Some(Part::Any)) {
            // `/x/**` means every file below /x.
            let mut pattern = Self::parse(&format!("{text}/*"))?;
            pattern.text = text.to_owned();
            return Ok(pattern);
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    fn part(pattern: &str, part: &str) -> Result<Part, PatternError> {
        match part {
            "" | "." | ".." => Err(PatternError::Component(pattern.to_owned())),
            "**" => Ok(Part::Any),
            _ if part.contains("**") || part.contains('\0') => Err(PatternError::Component(pattern.to_owned())),
            _ if !part.contains(['*', '?', '[', ']', '{', '}', '\\']) => Ok(Part::Name(part.to_owned())),
            _ => {
                let glob = GlobBuilder::new(part).literal_separator(true).build();
                let glob =
                    glob.map_err(|e| PatternError::Glob { pattern: pattern.to_owned(), problem: e.to_string() })?;
                Ok(Part::Glob(Box::new(glob), OnceLock::new()))
            }
        }
    }

    /// The folders before the first wildcard; without any wildcard, the whole path.
    pub fn fixed(&self) -> PathBuf {
        let names = self.parts.iter().map_while(|part| if let Part::Name(name) = part { Some(name) } else { None });
        Path::new("/").join(names.collect::<PathBuf>())
    }

    /// Whether a whole path matches; for excludes. Also true below a folder that matches.
    pub fn covers(&self, path: &Path) -> bool {
        let mut states = vec![Progress { pattern: 0, at: 0, taken: 0 }];
        for name in path.as_os_str().as_bytes().split(|b| *b == b'/').filter(|p| !p.is_empty()) {
            let step = step(std::slice::from_ref(self), &states, OsStr::from_bytes(name), false, usize::MAX);
            if step.file {
                return true;
            }
            states = step.below;
        }
        false
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;
    fn try_from(text: String) -> Result<Self, PatternError> {
        Self::parse(&text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What one name means to a set of patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// A file of this name is wanted.
    pub file: bool,
    /// How far each pattern has come below a folder of this name; empty when nothing below it is wanted.
    pub below: Vec<Progress>,
}

/// Where a walk from `/` starts.
pub fn start(patterns: &[Pattern]) -> Vec<Progress> {
    (0..patterns.len()).map(|pattern| Progress { pattern, at: 0, taken: 0 }).collect()
}

/// Goes one name further. `siblings` lets rotated and compressed siblings of a wanted file match too; `depth` bounds each `**`.
pub fn step(patterns: &[Pattern], states: &[Progress], name: &OsStr, siblings: bool, depth: usize) -> Step {
    let mut step = Step::default();
    for state in states {
        let parts = &patterns[state.pattern].parts;
        advance(parts, *state, name, siblings, depth, &mut step);
    }
    step.below.sort_unstable();
    step.below.dedup();
    step
}

fn advance(parts: &[Part], state: Progress, name: &OsStr, siblings: bool, depth: usize, step: &mut Step) {
    let Some(part) = parts.get(state.at) else { return };
    if matches!(part, Part::Any) {
        if state.taken < depth {
            step.below.push(Progress { taken: state.taken + 1, ..state });
        }
        return advance(parts, Progress { at: state.at + 1, taken: 0, ..state }, name, siblings, depth, step);
    }
    if state.at + 1 == parts.len() {
        let sibling =
            || rotated::originals(name.as_bytes()).any(|original| matches(part, OsStr::from_bytes(&original)));
        step.file |= matches(part, name) || (siblings && sibling());
    } else if matches(part, name) {
        step.below.push(Progress { at: state.at + 1, taken: 0, ..state });
    }
}

fn matches(part: &Part, name: &OsStr) -> bool {
    match part {
        Part::Name(text) => text.as_bytes() == name.as_bytes(),
        Part::Glob(glob, matcher) => matcher.get_or_init(|| glob.compile_matcher()).is_match(Path::new(name)),
        Part::Any => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(pattern: &str, path: &str, rotated: bool) -> bool {
        let patterns = [Pattern::parse(pattern).expect("a pattern")];
        let mut states = start(&patterns);
        let names: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
        for (number, name) in names.iter().enumerate() {
            let step = step(&patterns, &states, OsStr::new(name), rotated, 3);
            if number + 1 == names.len() {
                return step.file;
            }
            states = step.below;
        }
        false
    }

    #[test]
    fn wildcards_stay_in_their_component() {
        assert!(wanted("/var/log/*.log", "/var/log/a.log", false));
        assert!(!wanted("/var/log/*.log", "/var/log/x/a.log", false));
        assert!(wanted("/var/log/**/*.log", "/var/log/a.log", false));
        assert!(wanted("/var/log/**/*.log", "/var/log/x/y/a.log", false));
        assert!(!wanted("/var/log/**/*.log", "/var/log/1/2/3/4/a.log", false), "depth 3");
        assert!(wanted("/var/log/**", "/var/log/x/y", false));
        assert!(wanted("/etc/{hosts,fstab}", "/etc/fstab", false));
        assert!(wanted("/etc/hosts", "/etc/hosts", false));
        assert!(!wanted("/etc/hosts", "/etc", false));
    }

    #[test]
    fn siblings_match_only_where_asked() {
        assert!(wanted("/var/log/*.log", "/var/log/a.log.2.gz", true));
        assert!(!wanted("/var/log/*.log", "/var/log/a.log.2.gz", false));
        assert!(wanted("/var/log/syslog", "/var/log/syslog-20260101.xz", true));
        assert!(!wanted("/var/log/syslog", "/var/log/syslogger", true));
    }

    #[test]
    fn excludes_cover_what_is_below() {
        let exclude = Pattern::parse("/var/log/private*").expect("a pattern");
        assert!(exclude.covers(Path::new("/var/log/private")));
        assert!(exclude.covers(Path::new("/var/log/private-2/x/y")));
        assert!(!exclude.covers(Path::new("/var/log/public")));
        assert!(Pattern::parse("/var/**/*.key").expect("a pattern").covers(Path::new("/var/a/b/c.key")));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in [
            "",
            "var/log",
            "/",
            "/var/../etc",
            "/var//log",
            "/var/log/",
            "/var/a**b/c",
            "/var/{a/b}",
            "/var/[a",
            "/var/.",
        ] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Pattern::parse("/var/log/a*/x").expect("a pattern").fixed(), Path::new("/var/log"));
    }

    #[test]
    fn names_need_not_be_text() {
        let patterns = [Pattern::parse("/*.log").expect("a pattern")];
        assert!(step(&patterns, &start(&patterns), OsStr::from_bytes(b"\xff\xfe.log"), false, 1).file);
    }
}
