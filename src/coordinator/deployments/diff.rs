//! What changes between two manifests, as lines for people to look at before they say yes.
//!
//! Both come as trees and are written out in one fixed form, so that only what they mean counts. Values of properties may be
//! left out of it: they can hold secrets. Nothing here looks at a node or keeps anything.

use serde_json::{Map, Value};

/// Lines of which two manifests are compared one by one; longer ones are told as wholly new.
const LINES: usize = 2_000;
/// What stands in place of a property's value.
const REDACTED: &str = "<redacted>";

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It stands above what changed, and says where that is.
    Kept,
}

/// Lines that change, with the lines that they stand under. Empty when both mean the same.
pub fn diff(old: Option<&Map<String, Value>>, new: &Map<String, Value>, redact: bool) -> Vec<(String, Change)> {
    let new = lines(new, redact);
    let Some(old) = old.map(|old| lines(old, redact)) else {
        return new.into_iter().map(|line| (line, Change::Added)).collect();
    };
    with_parents(compared(old, new))
}

fn lines(tree: &Map<String, Value>, redact: bool) -> Vec<String> {
    let mut lines = Vec::new();
    mapping(tree, 0, redact, false, &mut lines);
    lines
}

/// `name` first, since it says what the rest is about.
fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(name, _)| (name.as_str() != "name", name.as_str()));
    entries
}

fn mapping(map: &Map<String, Value>, indent: usize, redact: bool, hidden: bool, lines: &mut Vec<String>) {
    for (name, value) in sorted(map) {
        let hidden = hidden || (redact && matches!(name.as_str(), "properties" | "env"));
        let head = format!("{}{}:", " ".repeat(indent), scalar(&Value::from(name.as_str())));
        item(&head, value, indent + 2, indent, redact, hidden, lines);
    }
}

fn item(head: &str, value: &Value, below: usize, list: usize, redact: bool, hidden: bool, lines: &mut Vec<String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            lines.push(head.to_owned());
            mapping(map, below, redact, hidden, lines);
        }
        Value::Array(items) if !items.is_empty() => {
            lines.push(head.to_owned());
            for value in items {
                entry(value, list, redact, hidden, lines);
            }
        }
        _ if hidden => lines.push(format!("{head} {REDACTED}")),
        _ => lines.push(format!("{head} {}", scalar(value))),
    }
}

fn entry(value: &Value, indent: usize, redact: bool, hidden: bool, lines: &mut Vec<String>) {
    let dash = format!("{}-", " ".repeat(indent));
    let Value::Object(map) = value else {
        return item(&dash, value, indent + 2, indent + 2, redact, hidden, lines);
    };
    let first = lines.len();
    mapping(map, indent + 2, redact, hidden, lines);
    match lines.get_mut(first) {
        Some(line) => line.replace_range(indent..=indent, "-"),
        None => lines.push(format!("{dash} {{}}")),
    }
}

/// A text as it is where that is plain, else as JSON, which YAML reads too.
fn scalar(value: &Value) -> String {
    let plain = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
            && !matches!(
                text.to_ascii_lowercase().as_str(),
                "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
            )
    };
    match value {
        Value::String(text) if plain(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The longest common run of lines stays; the rest went or came.
fn compared(old: Vec<String>, new: Vec<String>) -> Vec<(String, Change)> {
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (was, is) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut told: Vec<_> = old[..head].iter().map(|line| (line.clone(), Change::Kept)).collect();
    if was.len().max(is.len()) > LINES {
        told.extend(was.iter().map(|line| (line.clone(), Change::Removed)));
        told.extend(is.iter().map(|line| (line.clone(), Change::Added)));
    } else {
        walk(was, is, &mut told);
    }
    told.extend(old[old.len() - tail..].iter().map(|line| (line.clone(), Change::Kept)));
    told
}

fn walk(was: &[String], is: &[String], told: &mut Vec<(String, Change)>) {
    // common[a][b]: lines that was[a..] and is[b..] have in common.
    let width = is.len() + 1;
    let mut common = vec![0u16; (was.len() + 1) * width];
    for a in (0..was.len()).rev() {
        for b in (0..is.len()).rev() {
            common[a * width + b] = match was[a] == is[b] {
                true => common[(a + 1) * width + b + 1] + 1,
                false => common[(a + 1) * width + b].max(common[a * width + b + 1]),
            };
        }
    }
    let (mut a, mut b) = (0, 0);
    while a < was.len() || b < is.len() {
        if a < was.len() && b < is.len() && was[a] == is[b] {
            told.push((was[a].clone(), Change::Kept));
            (a, b) = (a + 1, b + 1);
        } else if b == is.len() || (a < was.len() && common[(a + 1) * width + b] >= common[a * width + b + 1]) {
            told.push((was[a].clone(), Change::Removed));
            a += 1;
        } else {
            told.push((is[b].clone(), Change::Added));
            b += 1;
        }
    }
}

/// Leaves out the lines that stay, but for those that a change stands under.
fn with_parents(lines: Vec<(String, Change)>) -> Vec<(String, Change)> {
    // A list stands as deep as the name above it: a dash counts as one step more.
    let depth = |line: &str| line.find(|c| c != ' ').map_or(0, |at| at + usize::from(line[at..].starts_with('-')));
    let mut needed = usize::MAX;
    let mut told: Vec<_> = Vec::new();
    for (line, change) in lines.into_iter().rev() {
        let at = depth(&line);
        if change != Change::Kept {
            needed = needed.min(at);
            told.push((line, change));
        } else if needed != usize::MAX && at < needed {
            needed = if at == 0 { usize::MAX } else { at };
            told.push((line, change));
        }
    }
    told.reverse();
    told
}

#[cfg(test)]
mod tests {
    use super::super::manifest::tree;
    use super::*;

    const OLD: &str = "name: web\nreleases: [{name: r, version: '1'}]\ninstance_groups:\n- name: front\n  instances: 1\n  jobs:\n  \
        - name: journal\n    release: r\n    properties: {password: hunter2, deep: {a: [s3cret]}}\n";

    fn told(old: Option<&str>, new: &str, redact: bool) -> String {
        let old = old.map(|text| tree(text).expect("old"));
        let mark = |change| match change {
            Change::Added => '+',
            Change::Removed => '-',
            Change::Kept => ' ',
        };
        let lines = diff(old.as_ref(), &tree(new).expect("new"), redact);
        lines.into_iter().map(|(line, change)| format!("{}{line}\n", mark(change))).collect()
    }

    #[test]
    fn the_same_meaning_is_no_change() {
        let written_otherwise = "{\"instance_groups\": [{jobs: [{name: journal, release: r, properties: {password: hunter2, \
            deep: {a: [s3cret]}}}], name: front, instances: 1}], releases: [{version: '1', name: r}], name: web}";
        assert_eq!(told(Some(OLD), written_otherwise, true), "");
    }

    #[test]
    fn a_change_is_shown_below_what_it_belongs_to() {
        let new = OLD.replace("instances: 1", "instances: 3");
        assert_eq!(
            told(Some(OLD), &new, true),
            " instance_groups:\n - name: front\n-  instances: 1\n+  instances: 3\n"
        );
        let new = OLD.replace("version: '1'", "version: '2'");
        assert_eq!(told(Some(OLD), &new, true), " releases:\n - name: r\n-  version: \"1\"\n+  version: \"2\"\n");
    }

    #[test]
    fn no_property_is_shown_when_it_must_not_be() {
        let all = told(None, OLD, true);
        assert!(!all.contains("hunter2") && !all.contains("s3cret"), "{all}");
        assert!(all.contains("+      password: <redacted>\n") && all.contains("+        - <redacted>\n"), "{all}");
        assert!(told(None, OLD, false).contains("password: hunter2"));
    }

    #[test]
    fn what_is_too_long_to_compare_is_wholly_new() {
        let list = |from: usize| (from..from + LINES + 1).map(|n| format!("- k{n}\n")).collect::<String>();
        let (old, new) = (format!("name: a\nx:\n{}", list(0)), format!("name: a\nx:\n{}", list(LINES * 2)));
        let text = told(Some(&old), &new, false);
        assert_eq!(text.lines().filter(|line| line.starts_with('+')).count(), LINES + 1);
    }
}
