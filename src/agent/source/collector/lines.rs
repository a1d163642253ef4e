//! Where in a collector's file a fault stands: the line that somebody has to look at.
//!
//! The text comes as it was read; a line goes out, or none where the file says it in a form that is not looked for. Nothing is judged here.

use super::rules::{Fault, Place};

/// The line of a fault, from 1.
pub(super) fn line(text: &str, fault: &Fault) -> Option<usize> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let first = match &fault.place {
        Place::Key(key) => lines.iter().position(|line| is_key(line, key) || line.starts_with(&format!("[{key}")))?,
        Place::Property(name) => lines.iter().position(|line| {
            [format!("[properties.{name}]"), format!("[properties.\"{name}\"]")].iter().any(|at| line == at)
        })?,
        Place::Files(number) => headers(&lines, "files").nth(*number)?,
        Place::Block(kind, name) => {
            let named = |at: &usize| {
                let names = [format!("\"{name}\""), format!("'{name}'")];
                block(&lines, *at).any(|(_, line)| is_key(line, "name") && names.iter().any(|name| line.contains(name)))
            };
            // Of two with one name it is the second that is too many.
            headers(&lines, kind).filter(named).last()?
        }
    };
    let quoted = fault.problem.split('`').nth(1).filter(|quoted| !quoted.is_empty());
    let key = fault.problem.split([' ', '.']).next().unwrap_or_default();
    let quotes = |line: &str| quoted.is_some_and(|quoted| line.contains(quoted));
    let closer = block(&lines, first).skip(1).find(|(_, line)| quotes(line));
    let closer = closer.or_else(|| block(&lines, first).skip(1).find(|(_, line)| is_key(line, key)));
    Some(closer.map_or(first, |(at, _)| at) + 1)
}

/// Lines at which the blocks of one kind begin.
fn headers<'a>(lines: &'a [&'a str], kind: &'a str) -> impl Iterator<Item = usize> + 'a {
    let header = format!("[[{kind}]]");
    lines.iter().enumerate().filter(move |(_, line)| line.starts_with(&header)).map(|(at, _)| at)
}

/// The lines of a block, with their numbers.
fn block<'a>(lines: &'a [&'a str], first: usize) -> impl Iterator<Item = (usize, &'a str)> {
    let all = lines.iter().copied().enumerate().skip(first);
    all.take_while(move |(at, line)| *at == first || !(line.starts_with("[[") || line.starts_with("[properties")))
}

fn is_key(line: &str, key: &str) -> bool {
    line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
}
