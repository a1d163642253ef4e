//! What each collector says of itself, for `sheaf agent check`: its pack, its versions and its properties.
//!
//! It comes from the library, and goes out as rows for people. Nothing is opened and nothing is run.

use super::check::{Access, Row};
use super::collector::Declared;
use super::library::Library;
use super::property::Property;
use crate::protocol::questions::Deployment;
use crate::report;

/// The rows of the collectors that are named; of the default ones where none are, with a row for each that is off. With a deployment, of its jobs, with its values.
pub fn declared(library: &Library, names: &[String], deployment: Option<&Deployment>) -> Vec<Row> {
    let wanted = |collector: &&Declared| {
        let name = collector.name.as_str();
        let named = names.iter().any(|wanted| wanted == name);
        match deployment {
            Some(deployment) => deployment.jobs.iter().any(|job| job.collector == name) && (names.is_empty() || named),
            None if names.is_empty() => collector.default,
            None => named,
        }
    };
    let mut rows: Vec<Row> =
        library.collectors().filter(wanted).flat_map(|collector| of(collector, library, deployment)).collect();
    if names.is_empty() && deployment.is_none() {
        let off = library.collectors().filter(|collector| !collector.default);
        let why = |why: &str| format!("off unless a request names it: {why}");
        rows.extend(off.map(|collector| {
            row(collector.name.as_str(), "everything".to_owned(), Access::Skipped, why(&collector.why))
        }));
    }
    rows
}

fn of(collector: &Declared, library: &Library, deployment: Option<&Deployment>) -> Vec<Row> {
    let name = collector.name.as_str();
    let (pack, version) = library.pack_of(name).unwrap_or_default();
    let about = format!("version {}: {}", collector.version, collector.why);
    let mut rows = vec![row(name, format!("pack {pack} {version}"), Access::Ok, about)];
    let job = deployment.and_then(|deployment| deployment.jobs.iter().find(|job| job.collector == name));
    for (property, declared) in &collector.properties {
        let given = job.and_then(|job| job.properties.get(property));
        let (access, text) = shown(declared, given);
        rows.push(row(name, format!("property {property}"), access, text));
    }
    rows
}

/// What a property is, and where that comes from.
fn shown(property: &Property, given: Option<&serde_json::Value>) -> (Access, String) {
    let described = match property.description.as_str() {
        "" => String::new(),
        description => format!("; {description}"),
    };
    match (given.map(|given| property.take(given)), property.default()) {
        (Some(Ok(value)), _) => (Access::Ok, format!("`{value}` by the deployment; {property}{described}")),
        (Some(Err(problem)), _) => (Access::Denied, format!("the deployment's value {problem}{described}")),
        (None, Some(default)) => (Access::Ok, format!("`{default}` by default; {property}{described}")),
        (None, None) => (Access::Absent, format!("no value and no default; {property}{described}")),
    }
}

fn row(collector: &str, source: String, access: Access, why: String) -> Row {
    Row { collector: collector.to_owned(), source, access, why: report::brief(&why, 1000), ..Row::default() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::protocol::questions::Job;

    const WEB: &str = r#"
        name = "web"
        version = "3"
        why = "A test."
        pack = { name = "web-pack", version = "1.4.0" }
        roots = ["/var/log"]
        [properties.site]
        pattern = "[a-z]+"
        description = "Whose logs."
        [properties.wide]
        pattern = ".*"
        default = "x"
        [[files]]
        paths = ["/var/log/{{site}}/*"]
    "#;

    #[test]
    fn packs_and_properties_are_shown() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let file = folder.path().join("web.toml");
        fs::write(&file, WEB).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
        let library = Library::load(&[folder.path().into()]);
        let lines = |deployment: Option<&Deployment>| -> Vec<String> {
            let rows = declared(&library, &["web".to_owned()], deployment);
            rows.iter().map(|row| format!("{:?} {}: {}", row.access, row.source, row.why)).collect()
        };
        assert_eq!(
            lines(None),
            [
                "Ok pack web-pack 1.4.0: version 3: A test.",
                "Absent property site: no value and no default; a text that matches `[a-z]+`; Whose logs.",
                "Ok property wide: `x` by default; a text that matches `.*`",
            ]
        );
        let job = |site: &str| Job {
            collector: "web".to_owned(),
            properties: [("site".to_owned(), site.into())].into(),
            ..Job::default()
        };
        let deployment = |site| Deployment { name: "d".to_owned(), jobs: vec![job(site)] };
        let with = lines(Some(&deployment("red")));
        assert_eq!(with[1], "Ok property site: `red` by the deployment; a text that matches `[a-z]+`; Whose logs.");
        assert!(
            lines(Some(&deployment("../x")))[1].starts_with("Denied property site: the deployment's value must be")
        );
        assert!(declared(&library, &["logs".to_owned()], Some(&deployment("red"))).is_empty(), "no job of it");
        assert!(declared(&library, &[], None).iter().any(|row| row.collector == "logs"));
        let all = declared(&library, &[], None);
        let audit = all.iter().find(|row| row.collector == "audit").expect("what is off is named too");
        assert!(
            audit.access == Access::Skipped && audit.why.starts_with("off unless a request names it: "),
            "{audit:?}"
        );
    }
}
