//! From a collector as its file declares it to one that can be read: every place filled with a value that its property took.
//!
//! Values come from a deployment, or are the file's own defaults; a collector goes out that was checked as if it had been written that
//! way. A value that does not fit refuses the whole collector: nothing is read with half of what was meant.

use std::collections::BTreeMap;

use serde_json::Value;

use super::collector::{Collector, CollectorError, Command, Declared, Files, Journal, Place, fail};
use super::glob::Pattern;
use super::property::Filled;
use super::template::{self, For, Template, Values};
use crate::report;

impl Declared {
    /// The collector with these values of its properties, and defaults for the others.
    ///
    /// # Errors
    /// For a property that it does not have, a value that the property does not take or that is not for its place, and for a property that
    /// has neither value nor default; the sentence names it.
    pub fn fill(&self, given: &BTreeMap<String, Value>) -> Result<Collector, CollectorError> {
        if let Some(unknown) = given.keys().find(|name| !self.properties.contains_key(*name)) {
            let known: Vec<&str> = self.properties.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return fail(property(unknown), format!("collector `{}` has no such property; it has: {known}", self.name));
        }
        let mut values = Values::new();
        for (name, declared) in &self.properties {
            let value = match (given.get(name), declared.default()) {
                (Some(given), _) => declared.take(given),
                (None, Some(default)) => Ok(default.clone()),
                (None, None) => Err(format!("needs a value, which only a deployment gives: {declared}")),
            };
            match value {
                Ok(value) => values.insert(name.clone(), value),
                Err(problem) => return fail(property(name), problem),
            };
        }
        let collector = self.filled(&values)?;
        collector.check()?;
        Ok(collector)
    }

    /// The same, not checked: what is wrong with its places is wrong here, what is wrong with the whole is not.
    pub(super) fn filled(&self, values: &Values) -> Result<Collector, CollectorError> {
        let mut files = Vec::with_capacity(self.files.len());
        for (number, declared) in self.files.iter().enumerate() {
            files.extend(globs(declared, values, &Place::Files(number))?);
        }
        let mut commands = self.commands.clone();
        for command in &mut commands {
            arguments(command, values)?;
        }
        let mut journal = Vec::with_capacity(self.journal.len());
        for declared in &self.journal {
            journal.extend(units(declared, values)?);
        }
        Ok(Collector {
            name: self.name.clone(),
            version: self.version.clone(),
            why: self.why.clone(),
            default: self.default,
            when: self.when.clone(),
            pack: self.pack.clone(),
            granted_by: self.granted_by.clone(),
            properties: self.properties.clone(),
            roots: self.roots.clone(),
            vitals: self.vitals,
            priority: self.priority,
            inventory: self.inventory,
            files,
            commands,
            http: self.http.clone(),
            journal,
        })
    }
}

fn property(name: &str) -> Place {
    Place::Property(report::brief(name, 80))
}

/// A block of files; none, where a list without values leaves it no path.
fn globs(declared: &Files<Template>, values: &Values, place: &Place) -> Result<Option<Files>, CollectorError> {
    let all = |templates: &[Template]| -> Result<Vec<Pattern>, CollectorError> {
        let mut patterns = Vec::with_capacity(templates.len());
        for template in templates {
            for text in filled(template.as_str(), values, For::Path, place)? {
                match Pattern::parse(&text) {
                    Ok(pattern) => patterns.push(pattern),
                    Err(error) => return fail(place.clone(), error.to_string()),
                }
            }
        }
        Ok(patterns)
    };
    let paths = all(&declared.paths)?;
    if paths.is_empty() && !declared.paths.is_empty() {
        return Ok(None);
    }
    let Files { roots, rotated, binary, max_bytes, window, depth, .. } = declared.clone();
    Ok(Some(Files { paths, exclude: all(&declared.exclude)?, roots, rotated, binary, max_bytes, window, depth }))
}

fn arguments(command: &mut Command, values: &Values) -> Result<(), CollectorError> {
    let place = Place::Block("commands", command.name.to_string());
    // What it is run for is found out later, and keeps its place until then.
    let kept = (template::EACH.to_owned(), Filled::One("{{each}}".to_owned()));
    let values = &match &command.each {
        Some(_) => values.iter().map(|(name, value)| (name.clone(), value.clone())).chain([kept]).collect(),
        None => values.clone(),
    };
    let mut argv: Vec<String> = command.argv.iter().take(1).cloned().collect();
    for argument in command.argv.iter().skip(1) {
        let texts = filled(argument, values, For::Argument, &place)?;
        let places = template::places_of_each(argument);
        if command.each.is_some() && texts.iter().any(|text| template::places_of_each(text) != places) {
            return fail(place, "a property's value must not make a place of its own: `{{each}}`");
        }
        argv.extend(texts);
    }
    command.argv = argv;
    Ok(())
}

/// An export of the journal; none, where a list without values leaves it no unit: without units it would be of all.
fn units(declared: &Journal, values: &Values) -> Result<Option<Journal>, CollectorError> {
    let place = Place::Block("journal", declared.name.to_string());
    let mut units = Vec::with_capacity(declared.units.len());
    for unit in &declared.units {
        units.extend(filled(unit, values, For::Unit, &place)?);
    }
    if units.is_empty() && !declared.units.is_empty() {
        return Ok(None);
    }
    Ok(Some(Journal { units, ..declared.clone() }))
}

fn filled(text: &str, values: &Values, place: For, at: &Place) -> Result<Vec<String>, CollectorError> {
    if let Some(unknown) = template::names(text).find(|name| !values.contains_key(*name)) {
        return fail(at.clone(), format!("`{{{{{unknown}}}}}` names no declared property"));
    }
    match template::fill(text, values, place) {
        Ok(texts) => Ok(texts),
        Err(problem) => fail(at.clone(), problem),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WEB: &str = r#"
        name = "web"
        version = "1"
        why = "A test."
        roots = ["/var/log/web"]
        [properties.site]
        pattern = "[^ ]+"
        [properties.lines]
        type = "integer"
        default = 100
        [properties.units]
        type = "list"
        pattern = "[a-z@.*][a-z@.*-]*"
        default = ["web.service"]
        [[files]]
        paths = ["/var/log/web/{{site}}/*.log"]
        exclude = ["/var/log/web/{{site}}/debug*"]
        [[commands]]
        name = "tail"
        argv = ["tail", "{{site}}", "--lines={{lines}}", "--format", "{{.Names}}"]
        [[journal]]
        name = "web"
        units = ["{{units}}"]
    "#;

    fn fill(given: Value) -> Result<Collector, String> {
        let given = serde_json::from_value(given).expect("a map");
        Declared::read(WEB).expect("a collector").fill(&given).map_err(|error| error.to_string())
    }

    #[test]
    fn values_go_where_their_places_are() {
        let web = fill(json!({"site": "a.example", "lines": 7, "units": ["x.service", "y.service"]})).expect("filled");
        assert_eq!(web.files[0].paths[0].to_string(), "/var/log/web/a.example/*.log");
        assert_eq!(web.files[0].exclude[0].to_string(), "/var/log/web/a.example/debug*");
        assert_eq!(web.commands[0].argv, ["tail", "a.example", "--lines=7", "--format", "{{.Names}}"]);
        assert_eq!(web.journal[0].units, ["x.service", "y.service"]);
        let web = fill(json!({"site": "main"})).expect("filled");
        assert_eq!(web.commands[0].argv[2], "--lines=100");
    }

    #[test]
    fn a_list_without_values_reads_nothing_rather_than_everything() {
        assert!(fill(json!({"site": "main", "units": []})).expect("filled").journal.is_empty());
    }

    #[test]
    fn what_does_not_fit_refuses_all() {
        let huge = "a".repeat(1 << 20);
        let needs = "property `site`: needs a value, which only a deployment gives: a text that matches `[^ ]+`";
        let unknown = "property `shell`: collector `web` has no such property; it has: lines, site, units";
        for (given, expected) in [
            (json!({}), needs),
            (json!({"site": "main", "shell": "x"}), unknown),
            (json!({"site": "a b"}), "property `site`: must be a text that matches"),
            (json!({"site": "../../etc"}), "files[0]: the value of `site` stands for one name"),
            (json!({"site": ".."}), "files[0]: the value of `site` must not be `.` or `..`"),
            (json!({"site": "*"}), "files[0]: the value of `site` must hold no wildcards"),
            (json!({"site": "-f"}), "commands `tail`: the value of `site` must not begin with `-`"),
            (json!({"site": "a\0"}), "property `site`: must hold no line ends"),
            (json!({"site": "a\nb"}), "property `site`: must hold no line ends"),
            (json!({"site": huge}), "property `site`: is longer than 255 bytes"),
            (json!({"site": "main", "lines": -1}), "property `lines`: must be a whole number, 0 or more"),
            (json!({"site": "main", "units": ["*"]}), "journal `web`: the value of `units` must hold no wildcards"),
            (json!({"site": "main", "units": ["--file=/etc/shadow"]}), "property `units`: must be a text that matches"),
        ] {
            let error = fill(given.clone()).expect_err("refused");
            assert!(error.contains(expected), "{given}: {error}");
        }
    }

    #[test]
    fn a_file_is_refused_for_places_that_cannot_be() {
        let twice = "name = \"x\"\nargv = [\"x\"]\n[[commands]]\nname = \"x\"";
        for (from, to, expected) in [
            ("\"tail\", \"{{site}}\"", "\"{{site}}\"", "the program must not come from a property"),
            ("{{lines}}", "{{linse}}", "commands `tail`: `{{linse}}` names no declared property"),
            ("/var/log/web/{{site}}/*.log", "/var/log/{{site}}/*.log", "below none of the declared roots"),
            ("/var/log/web/{{site}}/*.log", "{{site}}/*.log", "must be absolute"),
            ("[properties.site]", "[properties.\"si te\"]", "properties: `si te` must match"),
            ("[\"{{units}}\"]", "[\"{{units}}{{units}}\"]", "more than one list"),
            ("name = \"tail\"", twice, "commands `x`: is there twice"),
            ("version = \"1\"", "version = \"1\"\npack = { name = \"p\", version = \"1 0\" }", "pack: its version"),
        ] {
            let error = Declared::read(&WEB.replace(from, to)).expect_err(to).to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    #[test]
    fn what_a_command_is_run_for_keeps_its_place_and_gets_no_other() {
        let declared = |pattern: &str| {
            let text = format!(
                "name = \"x\"\nversion = \"1\"\nwhy = \"A test.\"\n[properties.word]\npattern = \"{pattern}\"\ndefault = \"a\"\n\
                 [[commands]]\nname = \"x\"\nargv = [\"x\", \"{{{{each}}}}\", \"{{{{word}}}}\", \"{{{{{{{{word}}}}}}}}\"]\n\
                 each = {{ lines_of = [\"ls\"], pattern = \"[a-z]+\" }}\n"
            );
            Declared::read(&text).expect("a collector")
        };
        let fill = |word: &str| declared(".*").fill(&serde_json::from_value(json!({"word": word})).expect("a map"));
        assert_eq!(fill("b").expect("filled").commands[0].argv[1..], ["{{each}}", "b", "{{b}}"]);
        for smuggled in ["{{each}}", "each"] {
            let error = fill(smuggled).expect_err("a place of its own").to_string();
            assert!(error.contains("must not make a place"), "{error}");
        }
    }

    proptest::proptest! {
        /// Patterns that take everything: what still holds is what no file can give away.
        #[test]
        fn whatever_the_value_it_stays_in_its_place(value in ".*|(\\.|/|\\*|-|\\{|\\}|\\[|,|x){0,8}") {
            let open = WEB.replace("[^ ]+", "(?s).*").replace("[a-z@.*][a-z@.*-]*", "(?s).*");
            let given = serde_json::from_value(json!({"site": value, "units": [value]})).expect("a map");
            if let Ok(web) = Declared::read(&open).expect("a collector").fill(&given) {
                let path = web.files[0].paths[0].to_string();
                assert_eq!(path, format!("/var/log/web/{value}/*.log"));
                assert_eq!(path.matches('/').count(), 5, "{path}");
                assert_eq!(web.files[0].paths[0].fixed().components().count(), 5, "no wildcard: {path}");
                assert_eq!(web.commands[0].argv.len(), 5);
                assert_eq!((web.commands[0].argv[1].as_str(), web.journal[0].units.len()), (value.as_str(), 1));
                assert!(!value.starts_with('-') && !value.chars().any(char::is_control));
            }
        }
    }
}
