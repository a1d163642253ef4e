//! What this node's own log says of orders and deployments, so that a security officer can read there what was asked of the node.
//!
//! Orders and deployments come in as the coordinator sent them; text goes out, escaped and bounded. It never holds the value of a property:
//! a log is read by more people than a deployment is.

use crate::protocol::agents::Order;
use crate::protocol::questions::Deployment;
use crate::report;

/// Characters of a name, of one rule, and of all names or rules together.
const MOST: (usize, usize, usize) = (80, 200, 2000);

/// The properties that a deployment sets: `collector.property`.
pub(super) fn properties(deployment: &Deployment) -> String {
    list(deployment.jobs.iter().flat_map(|job| {
        let collector = report::brief(&job.collector, MOST.0);
        job.properties.keys().map(move |name| format!("{collector}.{}", report::brief(name, MOST.0)))
    }))
}

/// What an order has taken out beyond what the node takes out anyway: `name=pattern`.
pub(super) fn rules(order: &Order) -> String {
    list(order.redact.iter().map(|rule| report::brief(&format!("{}={}", rule.name, rule.pattern), MOST.1)))
}

/// Bytes that an order lets the node give.
pub(super) fn budget(order: &Order) -> String {
    order.budget.map_or_else(|| "-".to_owned(), |budget| budget.bytes.to_string())
}

/// One text; an order or a deployment may hold more than a log has use for.
fn list(mut parts: impl Iterator<Item = String>) -> String {
    let mut text = parts.next().unwrap_or_else(|| "-".to_owned());
    for part in parts {
        if text.len() + part.len() > MOST.2 {
            text.push_str(" …");
            break;
        }
        text.extend([" ", &part]);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(properties: serde_json::Value) -> Deployment {
        serde_json::from_value(json!({"name": "d", "jobs": [{"collector": "web", "properties": properties}]}))
            .expect("a deployment")
    }

    #[test]
    fn names_are_told_escaped_and_bounded_and_values_never() {
        let told = properties(&deployment(json!({ "db_password": "hunter2", "lines": 7, "site": "hunter2" })));
        assert_eq!(told, "web.db_password web.lines web.site");
        let told = properties(&deployment(json!({ "a\u{1b}[2J\nb": 1 })));
        assert!(told.starts_with("web.a") && !told.chars().any(char::is_control), "{told}");
        let many: serde_json::Map<_, _> = (0..5000).map(|n| (format!("p{n}"), json!(n))).collect();
        let told = properties(&deployment(many.into()));
        assert!(told.len() < 2100 && told.ends_with(" …"), "{}", told.len());
        assert_eq!(properties(&Deployment::default()), "-");
    }
}
