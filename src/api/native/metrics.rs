//! `/metrics`, in the text format of Prometheus (OpenMetrics).
//!
//! Figures come from the verbs when asked for, and from the counts of answers that are kept here. Names of nodes, clusters
//! and users never stand in them.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::fault::Fault;
use crate::coordinator::verbs::{Numbers, Verbs};

type Labels = Vec<(&'static str, &'static str)>;

/// Counts of answers by room and status; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    answers: Family<Labels, Counter>,
}

impl Counts {
    /// Counts an answer.
    pub fn answered(&self, room: &'static str, status: StatusCode) {
        let class = match status.as_u16() {
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            500..=599 => "5xx",
            _ => "1xx",
        };
        self.answers.get_or_create(&vec![("api", room), ("status", class)]).inc();
    }
}

/// `GET /metrics`.
pub async fn page(State((verbs, counts)): State<(Verbs, Counts)>) -> Result<Response, Fault> {
    let registry = registry(&verbs.numbers().await?, counts);
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|_| Fault::new(500, "internal", "the metrics cannot be written"))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

fn registry(numbers: &Numbers, counts: Counts) -> Registry {
    let mut registry = Registry::with_prefix("sheaf");
    let engine = &numbers.engine;
    for (name, help, value) in [
        ("nodes", "Nodes known", numbers.nodes),
        ("nodes_connected", "Nodes whose agent is connected", engine.nodes_connected),
        ("clusters", "Clusters", numbers.clusters),
        ("downloads_running", "Bundles being made", engine.downloads_running),
        ("merge_memory_bytes", "Bytes of segments in memory", engine.memory_used),
        ("merge_spool_bytes", "Bytes of spool in use", engine.spool_used),
        ("uptime_seconds", "Seconds since the coordinator started", numbers.uptime_secs),
    ] {
        registry.register(name, help, ConstGauge::new(value));
    }
    for (name, help, value) in [
        ("downloads", "Bundles begun", engine.downloads_started),
        ("segments", "Segments accepted", engine.segments),
        ("segments_refused", "Segments refused for breaking a rule", engine.segments_refused),
        ("received_bytes", "Compressed bytes accepted from agents", engine.wire_bytes),
        ("sent_bytes", "Bytes of bundles sent", engine.sent_bytes),
        ("nodes_lost", "Nodes skipped, failed or cut in a bundle", engine.nodes_lost),
    ] {
        registry.register(name, help, ConstCounter::new(value));
    }
    let tasks = Family::<Labels, Gauge>::default();
    for (state, count) in &numbers.tasks {
        tasks.get_or_create(&vec![("state", state.as_str())]).set(i64::try_from(*count).unwrap_or(i64::MAX));
    }
    let certificates = Family::<Labels, Gauge>::default();
    for (certificate, days) in &numbers.certificate_days {
        certificates.get_or_create(&vec![("certificate", *certificate)]).set(*days);
    }
    registry.register("certificate_days_left", "Days until a certificate ends", certificates);
    registry.register("tasks", "Tasks that are kept, by state", tasks);
    registry.register("http_answers", "Answers of the public listener", counts.answers);
    registry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::control::TaskState;

    #[test]
    fn figures_are_written_as_prometheus_reads_them() {
        let counts = Counts::default();
        counts.answered("vcenter", StatusCode::UNAUTHORIZED);
        let numbers = Numbers {
            nodes: 3,
            tasks: vec![(TaskState::Done, 2)],
            certificate_days: vec![("server", 30)],
            ..Numbers::default()
        };
        let mut text = String::new();
        encode(&mut text, &registry(&numbers, counts)).expect("written");
        for line in [
            "sheaf_nodes 3",
            "sheaf_downloads_total 0",
            "sheaf_certificate_days_left{certificate=\"server\"} 30",
            "sheaf_tasks{state=\"done\"} 2",
            "sheaf_http_answers_total{api=\"vcenter\",status=\"4xx\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
