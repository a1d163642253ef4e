//! Exports of the journal: secrets go from fields of both kinds, and every reader still finds every field.

use super::*;

/// An entry: fields of text, and those that have to be binary.
fn entry(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        if value.contains('\n') {
            out.extend_from_slice(format!("{name}\n").as_bytes());
            out.extend_from_slice(&(value.len() as u64).to_le_bytes());
            out.extend_from_slice(value.as_bytes());
            out.push(b'\n');
        } else {
            out.extend_from_slice(format!("{name}={value}\n").as_bytes());
        }
    }
    out.push(b'\n');
    out
}

/// The fields of an export, as `systemd-journal-remote` reads it.
fn fields(mut export: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    while let Some(end) = export.iter().position(|b| *b == b'\n') {
        let line = text(&export[..end]);
        export = &export[end + 1..];
        if line.is_empty() {
            continue;
        }
        if let Some((name, value)) = line.split_once('=') {
            fields.push((name.to_owned(), value.to_owned()));
            continue;
        }
        let (length, rest) = export.split_first_chunk::<8>().expect("a length");
        let length = usize::try_from(u64::from_le_bytes(*length)).expect("small");
        assert_eq!(rest.get(length), Some(&b'\n'), "a field that ends where it says: {line}");
        fields.push((line, text(&rest[..length])));
        export = &rest[length + 1..];
    }
    assert!(export.is_empty(), "nothing is left over");
    fields
}

fn exported(bytes: &[u8], sizes: Sizes) -> Vec<u8> {
    let source = Dripping { bytes, step: 777 };
    let mut stream = Stream::new(source, rules(), sizes, Vec::new()).of_journal();
    let (mut out, mut buffer) = (Vec::new(), [0; 100]);
    loop {
        match stream.read(&mut buffer) {
            0 => return out,
            count => out.extend_from_slice(&buffer[..count]),
        }
    }
}

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMIIEpAIBAAKCAQEA3Tz2mr7SZiAMfQyuvBjM9Oi8/xyzABCDEFGHIJKLMNOPQRST\n-----END PRIVATE KEY-----";

fn log() -> Vec<(&'static str, String)> {
    vec![
        ("__CURSOR", "s=1;i=2".to_owned()),
        ("MESSAGE", "login with password=hunter2 failed".to_owned()),
        ("PRIORITY", "6".to_owned()),
        ("MESSAGE", "two lines\npassword=hunter2-long-enough-for-a-marker\nand the end".to_owned()),
        ("SHORT", "token=abc\nand more".to_owned()),
        ("MESSAGE", format!("a key\n{KEY}\nbehind it")),
        ("CUT", "-----BEGIN PRIVATE KEY-----\nMIIEpAIBAAKCAQEA3Tz2mr7SZiAMfQyuvBjM9Oi8".to_owned()),
        ("AFTER", "api_key=0123456789abcdef".to_owned()),
        ("ENVIRON", "A=b\nDB_PASSWORD=hunter2hunter2hunter2hunter2\n".to_owned()),
        ("_PID", "12".to_owned()),
    ]
}

#[test]
fn every_field_is_still_read_and_none_holds_a_secret() {
    let entries: Vec<_> = log();
    let one = entry(&entries.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>());
    let filler = entry(&[("MESSAGE", "an ordinary line"), ("BLOB", "x\ny\u{1}z")]);
    for before in 0..60 {
        let whole = [filler.repeat(before), one.clone(), filler.repeat(40), one.clone()].concat();
        for sizes in [Sizes::default(), Sizes { block: 2048, overlap: 600 }] {
            let out = exported(&whole, sizes);
            let (was, is) = (fields(&whole), fields(&out));
            let names = |fields: &[(String, String)]| fields.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
            assert_eq!(names(&is), names(&was), "with {before} before it");
            for secret in ["hunter2", "abc\nand", "0123456789abcdef", "MIIEpAIB"] {
                assert!(!text(&out).contains(secret), "{secret} with {before} before it: {}", text(&out));
            }
            assert_eq!(text(&out).matches("an ordinary line").count(), before + 40);
            let value = |name: &str| is.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.clone());
            assert_eq!(value("AFTER").as_deref(), Some("api_key=[redacted:key]"));
            assert_eq!(value("SHORT").as_deref(), Some("token=***\nand more"));
            assert_eq!(value("ENVIRON").as_deref(), Some("A=b\nDB_PASSWORD=[redacted:password]*********\n"));
        }
    }
}

#[test]
fn a_key_longer_than_blocks_stays_within_its_field() {
    let body = "MIIEpAIBAAKCAQEA3Tz2mr7SZiAMfQyuvBjM9Oi8/xyzABCDEFGHIJKLMNOPQRST\n".repeat(10_000);
    let key = format!("-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\nbehind");
    let whole = entry(&[("MESSAGE", &key), ("_PID", "12")]);
    let out = exported(&whole, Sizes::default());
    assert_eq!(out.len(), whole.len());
    let fields = fields(&out);
    assert!(fields[0].1.starts_with("[redacted:private-key]***") && fields[0].1.ends_with("***\nbehind"));
    assert_eq!(fields[1], ("_PID".to_owned(), "12".to_owned()));
}

#[test]
fn what_is_no_export_is_redacted_all_the_same() {
    let odd = b"no field here\nlen\x00gthpassword=hunter2\nmore password=hunter2 text\n";
    let out = exported(odd, Sizes::default());
    assert!(!text(&out).contains("hunter2"), "{}", text(&out));
}

/// The lines of a key, each an entry of its own, with other entries among them.
fn logged(lines: &[&str], among: &[Vec<u8>], who: impl Fn(usize) -> Vec<(&'static str, String)>) -> Vec<u8> {
    let mut log = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let mut fields = who(number);
        // Fields come in any order.
        fields.insert(number % (fields.len() + 1), ("MESSAGE", (*line).to_owned()));
        log.extend(entry(&fields.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>()));
        log.extend(among.get(number % among.len().max(1)).cloned().unwrap_or_default());
    }
    log
}

fn unit(name: &str, pid: usize) -> Vec<(&'static str, String)> {
    vec![
        ("_SYSTEMD_UNIT", format!("{name}.service")),
        ("SYSLOG_IDENTIFIER", name.to_owned()),
        ("_PID", pid.to_string()),
        ("PRIORITY", "6".to_owned()),
    ]
}

const LINES: [&str; 7] = [
    "loading -----BEGIN RSA PRIVATE KEY-----",
    "Proc-Type: 4,ENCRYPTED",
    "",
    "MIIEpAIBAAKCAQEA3Tz2mr7SZiAMfQyuvBjM9Oi8/xyzABCDEFGHIJKLMNOPQRST",
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz",
    "Q2hb3BlbnNzaA==",
    "-----END RSA PRIVATE KEY-----",
];
const BODY: [&str; 3] = ["MIIEpAIB", "b3BlbnNz", "Q2hb3Blbn"];

fn other(message: &str) -> Vec<u8> {
    let mut fields = unit("other", 7);
    fields.push(("MESSAGE", message.to_owned()));
    entry(&fields.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
}

const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

#[test]
fn a_key_that_is_logged_line_by_line_is_taken_out_of_every_entry() {
    let among = [other("an ordinary line"), other(HASH), other("Done")];
    let filler = entry(&[("MESSAGE", "filler"), ("BLOB", "x\n\ny\u{1}z")]);
    for before in 0..40 {
        let same = logged(&LINES, &among, |_| unit("app", 12));
        // A program that is started for each line has another process each time; its last line alone is too short to tell.
        let anew = logged(&LINES[..5], &among, |number| unit("logger", 20 + number));
        let whole = [filler.repeat(before), same, filler.repeat(30), anew, filler.repeat(before)].concat();
        for sizes in [Sizes::default(), Sizes { block: 2048, overlap: 600 }] {
            let out = exported(&whole, sizes);
            for secret in BODY {
                assert!(!text(&out).contains(secret), "{secret} with {before} before it: {}", text(&out));
            }
            assert_eq!(text(&out).matches("an ordinary line").count(), 5);
            assert_eq!((text(&out).matches(HASH).count(), text(&out).matches("=Done").count()), (4, 3));
            let names = |bytes: &[u8]| fields(bytes).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
            assert_eq!(names(&out), names(&whole));
        }
    }
}

#[test]
fn what_a_program_says_beside_a_key_stays() {
    let hex = HASH;
    for lines in [
        // No key follows.
        ["-----BEGIN PRIVATE KEY-----", "Done", "Started", "ready", "ok"],
        // It ended.
        [LINES[0], LINES[3], LINES[6], hex, "Done"],
        // Its last line is the last.
        [LINES[0], LINES[3], LINES[5], "Done", "Started"],
        // A certificate is none.
        ["-----BEGIN CERTIFICATE-----", LINES[3], LINES[4], LINES[5], "-----END CERTIFICATE-----"],
        ["a sentence of -----BEGIN PRIVATE KEY----- in a log", hex, "Done", "Started", "ready"],
    ] {
        let log = logged(&lines, &[other("an ordinary line")], |_| unit("app", 12));
        let out = text(&exported(&log, Sizes::default()));
        for line in &lines[1..] {
            let body = lines[0].contains("RSA") && BODY.iter().any(|body| line.starts_with(body));
            assert_eq!(out.contains(&format!("MESSAGE={line}\n")), !body, "{line}: {out}");
        }
    }
}

#[test]
fn a_key_without_an_end_is_given_up() {
    let mut lines = vec![LINES[0], LINES[3]];
    lines.extend(["it goes on with something else"; 20]);
    lines.push(HASH);
    let out = text(&exported(&logged(&lines, &[], |_| unit("app", 12)), Sizes::default()));
    assert!(out.contains(HASH) && !out.contains("MIIEpAIB"), "{out}");
    let many = (0..60).flat_map(|n| logged(&LINES[..1], &[], move |_| unit("app", n))).collect::<Vec<_>>();
    let last = logged(&LINES[3..], &[], |_| unit("app", 59));
    assert!(!text(&exported(&[many, last].concat(), Sizes::default())).contains("MIIEpAIB"));
}
