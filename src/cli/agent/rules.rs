//! `sheaf agent rules`: the list of what redaction takes out, for whoever has to allow the agent; and what is odd about a site's own rules.
//!
//! It comes from the table that runs, so that it cannot be out of date. Patterns of a site's rules are shown to whoever may read the
//! configuration anyway; no bundle has them.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::Configured;
use crate::agent::redact::{self, RuleRow, SiteRule};
use crate::agent::source::{Access, Level, Row};
use crate::cli::output;
use crate::report;

/// `sheaf agent rules`
#[derive(Debug, Args)]
pub struct RulesCommand {
    #[command(flatten)]
    configured: Configured,
    /// Print one JSON object, with the literals of each rule and how it finds its value
    #[arg(long)]
    json: bool,
}

impl RulesCommand {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let (rules, site) = (redact::built_in(), self.configured.load()?.redact.rules);
        let text = if self.json { as_json(&rules, &site)? } else { as_text(&rules, &site) };
        output::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn as_json(rules: &[RuleRow], site: &[SiteRule]) -> serde_json::Result<String> {
    let site: Vec<_> = site
        .iter()
        .map(|rule| json!({ "name": rule.name, "pattern": rule.pattern, "literals": rule.literals, "keep": rule.keep, "label": rule.label }))
        .collect();
    let whole = json!({ "version": redact::VERSION, "digest": redact::digest(), "rules": rules, "site": site });
    serde_json::to_string_pretty(&whole).map(|text| text + "\n")
}

fn as_text(rules: &[RuleRow], site: &[SiteRule]) -> String {
    let mut text = format!("built-in rules, version {}, digest {}\n", redact::VERSION, redact::digest());
    for rule in rules {
        text.push_str(&format!(
            "\n{}\n  removes  {}\n  marks    {}\n  example  {}\n",
            rule.name,
            rule.removes,
            rule.marks.join(", "),
            report::escape(rule.example)
        ));
    }
    text.push_str(if site.is_empty() { "\nno rules of the site\n" } else { "\nrules of the site\n" });
    for rule in site {
        let (name, pattern) = (report::escape(&rule.name), report::escape(&rule.pattern));
        text.push_str(&format!("\n{name}\n  pattern  {pattern}\n"));
    }
    text
}

/// Rows of `sheaf agent check` on a site's rules.
pub(super) fn linted(rules: &[SiteRule]) -> Vec<Row> {
    let findings = redact::lint(rules).into_iter();
    let row = |finding: redact::Finding| Row {
        collector: "redact".to_owned(),
        source: format!("rule {}", report::escape(&finding.rule)),
        access: Access::Lint,
        why: finding.problem,
        level: Some(if finding.refused { Level::Error } else { Level::Warning }),
        ..Row::default()
    };
    findings.map(row).collect()
}
