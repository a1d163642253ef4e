//! How a log was cut to the request's window: a node says it in a note, and the manifest's row of the file keeps it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// By what a file's times were read; the first of it that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// `2026-11-21T16:02:01Z`, also with a space, fractions, other zones.
    Rfc3339,
    /// The same without a zone, and what begins with a word or a bracket before it.
    Iso8601,
    /// `2026-11-21T16:02:01.123456789Z stdout F …`, a container's log.
    Cri,
    /// `Nov 21 16:02:01`, syslog; year and zone are the node's.
    Rfc3164,
    /// `<34>1 2026-11-21T16:02:01Z`, syslog.
    Rfc5424,
    /// `I1121 16:02:01.123456`, Kubernetes; year and zone are the node's.
    Klog,
    /// `[21/Nov/2026:16:02:01 +0000]`, access logs.
    Clf,
    /// `2026/11/21 16:02:01`, nginx's error log and others.
    Slashed,
    /// `Sat Nov 21 16:02:01 2026`, Apache's error log and others; `Nov 21, 2026 4:02:01 PM`.
    Asctime,
    /// `1234:M 21 Nov 2026 16:02:01.123`, Redis.
    Redis,
    /// `261121 16:02:01`, older MySQL.
    Compact,
    /// `21.11.2026 16:02:01`.
    Dotted,
    /// `11/21/2026 4:02:01 PM` or `21/11/2026 16:02:01`, in the only order in which all of the file's dates are dates.
    Numeric,
    /// A member of a JSON object.
    Json,
    /// Seconds since 1970 with a fraction, or milliseconds.
    Epoch,
    /// `msg=audit(1795276921.123:456)`.
    Audit,
    /// `[  123.456789]`, seconds since the node's boot.
    Dmesg,
    /// No time could be read: the file is whole, since it was last written in the window or after it.
    Mtime,
    /// Each entry's own time, as the journal keeps it: what lies outside was not read, so nobody knows how much it is.
    Journal,
    /// How far back its collector goes, whatever the request says; not read either.
    Collector,
    /// A rule that this version does not know.
    #[serde(other)]
    Other,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rfc3339 => "rfc3339",
            Self::Iso8601 => "iso8601",
            Self::Cri => "cri",
            Self::Rfc3164 => "rfc3164",
            Self::Rfc5424 => "rfc5424",
            Self::Klog => "klog",
            Self::Clf => "clf",
            Self::Slashed => "slashed",
            Self::Asctime => "asctime",
            Self::Redis => "redis",
            Self::Compact => "compact",
            Self::Dotted => "dotted",
            Self::Numeric => "numeric",
            Self::Json => "json",
            Self::Epoch => "epoch",
            Self::Audit => "audit",
            Self::Dmesg => "dmesg",
            Self::Mtime => "mtime",
            Self::Journal => "journal",
            Self::Collector => "collector",
            Self::Other => "other",
        })
    }
}

/// How a log was cut to the request's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// By what its times were read.
    pub rule: Rule,
    /// Bytes of the source before the first that was taken; of what is in it where it is compressed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub from: u64,
    /// Bytes of the source that lie outside of the window, those included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// Minutes east of Greenwich of the zone that its times are of, where they do not say and it is not the node's: what a clock there showed
    /// when the file was written is what its last line says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_minutes: Option<i16>,
}

impl Slice {
    /// One of which nothing is left out.
    pub fn whole(rule: Rule) -> Self {
        Self { rule, from: 0, left_out: 0, zone_minutes: None }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_called_the_same_everywhere_and_new_ones_are_read() {
        for rule in [
            Rule::Rfc3339,
            Rule::Iso8601,
            Rule::Rfc3164,
            Rule::Klog,
            Rule::Redis,
            Rule::Numeric,
            Rule::Mtime,
            Rule::Journal,
            Rule::Collector,
            Rule::Other,
        ] {
            assert_eq!(serde_json::to_value(rule).expect("json"), *rule.to_string());
        }
        let newer: Slice = serde_json::from_str(r#"{"rule":"sundial","left_out":7,"more":1}"#).expect("read");
        assert_eq!(newer, Slice { left_out: 7, ..Slice::whole(Rule::Other) });
        let whole = serde_json::to_string(&Slice::whole(Rule::Cri)).expect("json");
        assert_eq!(whole, r#"{"rule":"cri"}"#);
    }
}
