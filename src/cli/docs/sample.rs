//! Sample configurations: comments that say what each key is, and the keys, commented out, with their defaults.
//!
//! A line that begins with `# ` is prose; one that begins with `#` and no space is TOML. Prose and the TOML below it are one item.
//! Items become a man page. The tests hold the samples against the code: every key is there, with the default that it has.

use super::page::Page;

/// Some prose and the TOML that it is about.
#[derive(Debug, Default)]
struct Item<'a> {
    prose: Vec<&'a str>,
    settings: Vec<&'a str>,
}

/// Writes a sample's items into a page.
pub fn write(sample: &str, page: &mut Page) {
    page.heading("DESCRIPTION");
    let mut in_keys = false;
    for item in items(sample) {
        let prose = item.prose.join("\n");
        let Some(first) = item.settings.first() else {
            page.paragraph(&prose);
            continue;
        };
        let (is_table, is_one_line) = (first.starts_with('['), item.settings.len() == 1);
        if is_table || !in_keys {
            page.heading(if is_table { first } else { "KEYS" });
            in_keys = true;
        }
        match (is_table, is_one_line) {
            (true, _) => page.paragraph(&prose),
            (false, true) => page.term(&format!("**{first}**"), &prose),
            (false, false) => page.term(&format!("**{}**", first.split('=').next().unwrap_or(first).trim()), &prose),
        }
        if !is_one_line {
            page.verbatim(item.settings.iter().copied());
        }
    }
}

fn items(sample: &str) -> Vec<Item<'_>> {
    let mut items = vec![Item::default()];
    for line in sample.lines() {
        let Some(item) = items.last_mut() else { continue };
        if line.is_empty() {
            items.push(Item::default());
        } else if let Some(prose) = line.strip_prefix("# ") {
            item.prose.push(prose);
        } else {
            item.settings.push(line.strip_prefix('#').unwrap_or(line));
        }
    }
    items.retain(|item| !item.prose.is_empty() || !item.settings.is_empty());
    items
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::path::Path;

    use serde::de::DeserializeOwned;
    use toml::{Table, Value};

    use super::super::{AGENT, COORDINATOR};
    use super::*;
    use crate::agent::config::AgentConfig;
    use crate::coordinator::config::CoordinatorConfig;

    /// What an item says of a key that is only shown.
    const SHOWN: &str = "No default.";

    /// The sample with its settings set; without those that have no default, or with them.
    fn set(sample: &str, all: bool) -> String {
        let taken = items(sample).into_iter().filter(|item| all || !item.prose.concat().contains(SHOWN));
        taken.flat_map(|item| item.settings).flat_map(|line| [line, "\n"]).collect()
    }

    /// The keys that a table of `T` takes, asked with one that it cannot take; none where it takes any.
    fn taken<T: DeserializeOwned>(at: &str) -> Vec<String> {
        let Err(error) = toml::from_str::<T>(&format!("{at}\nno-such-key = 1\n")) else { return Vec::new() };
        let Some((_, expected)) = error.message().split_once("`no-such-key`, expected ") else { return Vec::new() };
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// Keys of the code that a sample's table, or one below it, does not have.
    fn missing<T: DeserializeOwned>(table: &Table, path: &str, head: &str) -> Vec<String> {
        let known = taken::<T>(head);
        let mut missing: Vec<String> =
            known.iter().filter(|key| !table.contains_key(*key)).map(|key| format!("{path}{key}")).collect();
        for (key, value) in table {
            let path = format!("{path}{key}");
            let rows = match value {
                Value::Array(rows) => rows.first().and_then(Value::as_table),
                _ => None,
            };
            match (value, rows) {
                (Value::Table(below), _) => {
                    missing.extend(self::missing::<T>(below, &format!("{path}."), &format!("[{path}]")))
                }
                (_, Some(row)) => missing.extend(self::missing::<T>(row, &format!("{path}."), &format!("[[{path}]]"))),
                _ => {}
            }
        }
        missing
    }

    fn check<T: DeserializeOwned + Default + Debug>(sample: &str) {
        let prose_only: T = toml::from_str(sample).expect("comments");
        let default = format!("{:#?}", T::default());
        assert_eq!(format!("{prose_only:#?}"), default, "the sample itself sets nothing");
        let defaults = set(sample, false);
        let parsed: T = toml::from_str(&defaults).unwrap_or_else(|error| panic!("{error}\n{defaults}"));
        assert_eq!(format!("{parsed:#?}"), default, "the sample's values are the defaults");
        let all = set(sample, true);
        toml::from_str::<T>(&all).unwrap_or_else(|error| panic!("{error}\n{all}"));
        let table: Table = all.parse().expect("TOML");
        assert!(taken::<T>("").len() > 5, "the code's keys are found");
        assert_eq!(
            missing::<T>(&table, "", ""),
            Vec::<String>::new(),
            "keys of the code that the sample does not have"
        );
    }

    #[test]
    fn the_agents_sample_has_every_key_with_its_default() {
        check::<AgentConfig>(AGENT);
        AgentConfig::parse(&set(AGENT, true), Path::new("agent.toml")).expect("values that can be meant");
    }

    #[test]
    fn the_coordinators_sample_has_every_key_with_its_default() {
        check::<CoordinatorConfig>(COORDINATOR);
        let all: CoordinatorConfig = toml::from_str(&set(COORDINATOR, true)).expect("parsed");
        assert_eq!(all.fault(), None);
    }

    #[test]
    fn a_key_that_a_sample_lacks_is_found_at_every_depth() {
        let without = |key: &str| {
            set(COORDINATOR, true).lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n")
        };
        for (key, path) in [("names", "names"), ("keep_mib", "stored.keep_mib"), ("region", "access.endpoints.region")]
        {
            let table: Table = without(key).parse().expect("TOML");
            assert_eq!(missing::<CoordinatorConfig>(&table, "", ""), [path]);
        }
    }

    #[test]
    fn a_sample_becomes_a_page() {
        let mut page = Page::new("x", 5, "a page");
        write(
            "# About.\n\n# A number.\n#a = 1\n\n# Bounds.\n#[limits]\n\n# One.\n#b = \"2s\"\n\n# Rows.\n#[[x]]\n#y = 1\n",
            &mut page,
        );
        let wanted = ".SH DESCRIPTION\n.PP\nAbout.\n.SH KEYS\n.TP\n\\fBa = 1\\fR\nA number.\n.SH [LIMITS]\n.PP\nBounds.\n.TP\n\\fBb = \"2s\"\\fR\nOne.\n\
                      .SH [[X]]\n.PP\nRows.\n.PP\n.RS 4\n.nf\n[[x]]\ny = 1\n.fi\n.RE\n";
        assert!(page.text().ends_with(wanted), "{}", page.text());
    }
}
