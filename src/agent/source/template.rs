//! Texts with places for properties: `{{instance}}` in a glob, an argument or a unit.
//!
//! Templates come from collector files, values were taken by their properties; what goes out is plain text for one place. A value never
//! becomes more than its place: in a path it is part of one component and no wildcard, in a command part of one argument and no option,
//! among units one name. Nothing here is ever seen by a shell: a collector
//! whose command would hand a template to one is refused when its file is read.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::glob::Pattern;
use super::property::Filled;
use crate::report;

/// The place of what a command is run for.
pub(super) const EACH: &str = "each";

/// Values by the property's name.
pub(super) type Values = BTreeMap<String, Filled>;

/// What a filled text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// A glob over host paths.
    Path,
    /// An argument of a command.
    Argument,
    /// A unit of systemd.
    Unit,
}

/// A glob that may have places for properties.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Template(String);

impl TryFrom<String> for Template {
    type Error = super::glob::PatternError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // With its line in the file, rather than later without.
        Pattern::parse(
            &pieces(&text).map(|piece| if let Piece::Text(text) = piece { text } else { "x" }).collect::<String>(),
        )?;
        Ok(Self(text))
    }
}

impl Template {
    /// The text as it stands in the file.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A piece of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Value(&'a str),
}

/// Whether a text can be a property's name.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Cuts a template up. Braces around anything but a name are text: other programs have templates of their own.
fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let place = rest.as_bytes().windows(2).enumerate().filter(|(_, two)| two == b"{{").find_map(|(at, _)| {
            let inside = &rest[at + 2..];
            let end = inside.find("}}")?;
            is_name(&inside[..end]).then_some((at, end))
        });
        let piece = match place {
            Some((0, end)) => {
                let name = &rest[2..2 + end];
                rest = &rest[end + 4..];
                Piece::Value(name)
            }
            other => {
                let at = other.map_or(rest.len(), |(at, _)| at);
                let text = &rest[..at];
                rest = &rest[at..];
                Piece::Text(text)
            }
        };
        Some(piece)
    })
}

/// The properties that a text has places for.
pub(super) fn names(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|piece| if let Piece::Value(name) = piece { Some(name) } else { None })
}

/// Fills a text in; once for each value of a list in it, of which there may be one.
///
/// # Errors
/// When a value is not for this place, or a property has none.
pub(super) fn fill(text: &str, values: &Values, place: For) -> Result<Vec<String>, String> {
    let mut filled = vec![String::with_capacity(text.len())];
    let mut listed = false;
    for piece in pieces(text) {
        let name = match piece {
            Piece::Text(text) => {
                filled.iter_mut().for_each(|one| one.push_str(text));
                continue;
            }
            Piece::Value(name) => name,
        };
        match values.get(name) {
            Some(Filled::One(value)) => {
                filled.iter_mut().try_for_each(|one| put(one, name, value, place))?;
            }
            Some(Filled::Many(all)) if !listed => {
                listed = true;
                let [start] = &filled[..] else { unreachable!("only a list makes more than one") };
                let each = |value: &String| {
                    let mut one = start.clone();
                    put(&mut one, name, value, place).map(|()| one)
                };
                filled = all.iter().map(each).collect::<Result<_, _>>()?;
            }
            Some(Filled::Many(_)) => return Err(format!("`{text}` has places for more than one list")),
            None => return Err(format!("`{name}` has no value")),
        }
    }
    filled.iter().try_for_each(|one| no_steps(text, one))?;
    Ok(filled)
}

/// Where a template names a path, what is filled in stays in its folder: no component of `.` or `..` comes from a value.
fn no_steps(template: &str, filled: &str) -> Result<(), String> {
    let steps = |text: &str| text.split('/').filter(|part| matches!(*part, "." | "..")).count();
    match template.contains('/') && steps(filled) > steps(template) {
        true => Err(format!("a value makes `.` or `..` a part of the path `{}`", report::brief(template, 200))),
        false => Ok(()),
    }
}

/// Fills in what a command is run for, and nothing else: what stands there besides was filled in before.
///
/// # Errors
/// When the name is not for an argument.
pub(super) fn fill_each(text: &str, each: &str) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Value(EACH) => put(&mut filled, EACH, each, For::Argument)?,
            Piece::Value(other) => filled.extend(["{{", other, "}}"]),
            Piece::Text(text) => filled.push_str(text),
        }
    }
    no_steps(text, &filled)?;
    Ok(filled)
}

/// How often a text has the place of what a command is run for.
pub(super) fn places_of_each(text: &str) -> usize {
    names(text).filter(|name| *name == EACH).count()
}

fn put(text: &mut String, name: &str, value: &str, place: For) -> Result<(), String> {
    let fail = |problem: &str| Err(format!("the value of `{name}` {problem}"));
    if value.contains('\0') {
        return fail("must hold no zero byte");
    }
    if matches!(value, "." | "..") {
        return fail("must not be `.` or `..`");
    }
    match place {
        For::Path | For::Unit => {
            if value.is_empty() || value.contains('/') {
                return fail("stands for one name: it must not be empty or hold a `/`");
            }
            if value.contains(['*', '?', '[', ']', '{', '}', '\\']) {
                return fail("must hold no wildcards: `* ? [ ] { } \\`");
            }
        }
        For::Argument => {}
    }
    if place != For::Path && text.is_empty() && value.starts_with('-') {
        return fail("must not begin with `-`: it would be an option");
    }
    text.push_str(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str, value: &str, place: For) -> Result<Vec<String>, String> {
        fill(text, &[("v".to_owned(), Filled::One(value.to_owned()))].into(), place)
    }

    #[test]
    fn braces_around_no_name_are_text() {
        for text in ["{{.Names}}", "{{json .}}", "{a,b}", "{{}}", "{{a", "a}}", "/x/{{a,b},c}"] {
            assert_eq!(names(text).count(), 0, "{text}");
            assert_eq!(fill(text, &Values::new(), For::Argument), Ok(vec![text.to_owned()]));
        }
        assert_eq!(names("{{{v}}}").collect::<Vec<_>>(), ["v"]);
        assert_eq!(names("a{{v}}b{{w.x}}{{.y}}").collect::<Vec<_>>(), ["v", "w.x"]);
    }

    #[test]
    fn a_value_stays_inside_its_component() {
        assert_eq!(one("/var/log/{{v}}/*.log", "main", For::Path), Ok(vec!["/var/log/main/*.log".to_owned()]));
        for bad in ["", ".", "..", "../x", "a/b", "/", "*", "**", "a?", "[a]", "{a,b}", "a\\", "a\0"] {
            assert!(one("/var/log/{{v}}/*.log", bad, For::Path).is_err(), "{bad:?}");
            assert!(one("{{v}}.service", bad, For::Unit).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_value_stays_inside_its_argument_and_is_no_option() {
        for text in ["; rm -rf /", "$(reboot)", "a b", "`x`", "|", "../x", "*"] {
            assert_eq!(one("{{v}}", text, For::Argument), Ok(vec![text.to_owned()]), "one argument, whatever it holds");
        }
        for (text, value) in [
            ("{{v}}", ".."),
            ("{{v}}", "."),
            ("/dev/{{v}}", ".."),
            ("/dev/{{v}}", "../etc"),
            ("/dev/.{{v}}/x", "."),
            ("--at=/x/{{v}}", "a/.."),
        ] {
            assert!(one(text, value, For::Argument).is_err(), "{text} {value}");
            assert!(fill_each(&text.replace("{{v}}", "{{each}}"), value).is_err(), "{text} {value}");
        }
        assert_eq!(one("/x/../{{v}}", "..a", For::Argument), Ok(vec!["/x/../..a".to_owned()]));
        assert!(one("/var/.{{v}}/x", ".", For::Path).is_err());
        assert!(one("{{v}}", "-rf", For::Argument).is_err());
        assert!(one("{{v}}{{v}}", "--x", For::Argument).is_err());
        assert_eq!(one("--level={{v}}", "-1", For::Argument), Ok(vec!["--level=-1".to_owned()]));
        assert!(one("{{v}}", "a\0", For::Argument).is_err());
        assert!(one("{{v}}", "--file=/etc/shadow", For::Unit).is_err());
    }

    #[test]
    fn a_value_is_not_filled_in_again() {
        let values = [("v".to_owned(), Filled::One("{{w}}".to_owned())), ("w".to_owned(), Filled::One("x".to_owned()))];
        assert_eq!(fill("{{v}}", &values.into(), For::Argument), Ok(vec!["{{w}}".to_owned()]));
    }

    #[test]
    fn what_a_command_is_run_for_is_filled_in_once_and_alone() {
        let fill = |text: &str, each: &str| fill_each(text, each);
        assert_eq!(fill("/dev/{{each}}", "sda"), Ok("/dev/sda".to_owned()));
        assert_eq!(fill("{{each}}:{{other}} {{.Names}}", "{{each}}"), Ok("{{each}}:{{other}} {{.Names}}".to_owned()));
        assert!(fill("{{each}}", "--all").is_err() && fill("{{each}}", "a\0").is_err());
        assert_eq!((places_of_each("{{each}}{{each}}{{x}}"), places_of_each("{each}")), (2, 0));
    }

    #[test]
    fn a_list_repeats_what_it_stands_in() {
        let values: Values = [
            ("v".to_owned(), Filled::Many(vec!["a".to_owned(), "b".to_owned()])),
            ("none".to_owned(), Filled::Many(Vec::new())),
        ]
        .into();
        assert_eq!(
            fill("--unit={{v}}", &values, For::Argument),
            Ok(vec!["--unit=a".to_owned(), "--unit=b".to_owned()])
        );
        assert_eq!(fill("x{{none}}", &values, For::Argument), Ok(Vec::new()));
        assert!(fill("{{v}}{{v}}", &values, For::Argument).is_err());
        assert!(fill("{{w}}", &values, For::Argument).is_err());
    }
}
