//! Names of rotated and compressed siblings: which file a `syslog.2.gz` once was.
//!
//! Names come from the disk; what comes out are the names that log rotation may have started from. Nothing here touches a file system.

/// Ends that compressors append.
const COMPRESSED: &[&[u8]] = &[b".gz", b".xz", b".zst", b".bz2", b".lz4", b".Z"];

/// The names that `name` may have had before it was rotated or compressed, nearest first; never `name` itself.
pub fn originals(name: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let plain = COMPRESSED.iter().find_map(|end| name.strip_suffix(*end)).filter(|rest| !rest.is_empty());
    found.extend(plain.map(<[u8]>::to_vec));
    let plain = plain.unwrap_or(name);
    if let Some(rest) = unrotated(plain) {
        found.push(rest.to_vec());
        // logrotate's dateext with a time, or a date and then a number: one more layer.
        found.extend(unrotated(rest).map(<[u8]>::to_vec));
    }
    if let Some(dot) = plain.iter().rposition(|b| *b == b'.').filter(|at| *at > 0) {
        // `app-20260101.log` and `app.1.log`: rotation before the extension.
        let (stem, extension) = plain.split_at(dot);
        found.extend(unrotated(stem).map(|rest| [rest, extension].concat()));
    }
    found.into_iter()
}

/// Without one end that rotation appends: `.1`, `.old`, `-20260101`, `.2026-01-01`, `-1767225600`.
fn unrotated(name: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = name.strip_suffix(b".old").or_else(|| name.strip_suffix(b"~")) {
        return (!rest.is_empty()).then_some(rest);
    }
    let digits = |b: &u8| b.is_ascii_digit() || matches!(b, b'-' | b'T' | b'_');
    let tail = name.iter().rev().take_while(|b| digits(b)).count();
    // The separator belongs to the tail when it is `-` or `_`, and stands before it when it is a dot.
    let tail = &name[name.len() - tail..];
    let start = name.len() - tail.len();
    let ends_in_digit = tail.last().is_some_and(u8::is_ascii_digit);
    let (rest, stamp) = match name.get(start.checked_sub(1)?) {
        Some(b'.') => (&name[..start - 1], tail),
        _ if matches!(tail.first(), Some(b'-' | b'_')) => (&name[..start], &tail[1..]),
        _ => return None,
    };
    let long = stamp.iter().filter(|b| b.is_ascii_digit()).count();
    // `.7` is a number; `-7` may be a part of the name, so after a dash only dates and epochs count.
    let is_number = name.get(start - 1) == Some(&b'.') && stamp.iter().all(u8::is_ascii_digit) && long <= 5;
    let is_date = (6..=20).contains(&long);
    (ends_in_digit && !rest.is_empty() && (is_number || is_date)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_sibling(of: &str, name: &str) -> bool {
        originals(name.as_bytes()).any(|original| original == of.as_bytes())
    }

    #[test]
    fn what_log_rotation_makes_is_recognised() {
        for name in [
            "syslog.1",
            "syslog.12.gz",
            "syslog.gz",
            "syslog-20260101",
            "syslog-20260101.xz",
            "syslog-20260101-1767225600.zst",
            "syslog.2026-01-01",
            "syslog.2026-01-01.1.gz",
            "syslog-1767225600",
            "syslog.old",
            "syslog_2026-01-01T10",
        ] {
            assert!(is_sibling("syslog", name), "{name}");
        }
        for name in ["app.log.1", "app.log-20260101.gz", "app-20260101.log", "app.1.log", "app-2026-01-01.log.gz"] {
            assert!(is_sibling("app.log", name), "{name}");
        }
    }

    #[test]
    fn other_files_are_no_siblings() {
        for (of, name) in [
            ("syslog", "syslog"),
            ("syslog", "syslog-ng"),
            ("node", "node-7"),
            ("python3", "python3.11.conf"),
            ("", ".gz"),
            ("", ".1"),
            ("x", "1"),
            ("", ""),
        ] {
            assert!(!is_sibling(of, name), "{name}");
        }
    }
}
