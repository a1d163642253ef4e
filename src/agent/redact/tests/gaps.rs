//! What redaction makes of sources of which something is left out: no secret that the gap goes through comes out, and nothing else is lost.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::Arc;

use super::super::{CleanReport, Profile, Redactor};
use crate::agent::source::ends::{Ends, Most};
use crate::agent::source::file::{Extent, FileContent};
use crate::agent::source::{Content, Record};
use crate::bundle::outcome::CutBy;
use crate::bundle::path::EntryPath;
use crate::bundle::slice::{Rule, Slice};

const CORPUS: [&str; 2] = [include_str!("../corpus/places.toml"), include_str!("../corpus/shapes.toml")];
const FILLER: &str = "an ordinary line of a log\n";

fn clean(redactor: &mut Redactor, content: Box<dyn Content>) -> (String, CleanReport) {
    let path = EntryPath::parse("files/var/log/x").expect("a path");
    let mut clean = redactor.clean(Record { content, ..Record::text(path, "logs", Vec::new()) });
    let mut out = Vec::new();
    io::Read::read_to_end(&mut clean, &mut out).expect("a clean never errs");
    (String::from_utf8_lossy(&out).into_owned(), clean.finish())
}

fn redactor() -> Redactor {
    Redactor::new(Profile::Secrets, &[]).expect("builds")
}

fn file(text: &str) -> FileContent {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("written");
    FileContent::new(file, Extent::Pinned(text.len() as u64), u64::MAX)
}

fn cut(text: &str, most: u64) -> Box<dyn Content> {
    let mut content = file(text);
    content.cut_to(most, (CutBy::Budget, "budget")).expect("cut");
    Box::new(content)
}

fn ends(text: &str, bytes: u64) -> Box<dyn Content> {
    let most = Most { bytes, by: CutBy::Limit, why: "limit".to_owned() };
    Box::new(Ends::new(io::Cursor::new(text.as_bytes().to_vec()), most, Arc::default()))
}

fn part(text: &str, from: usize, to: usize) -> Box<dyn Content> {
    let (from, to) = (from as u64, to as u64);
    Box::new(file(text).part(from, to, Slice { from, ..Slice::whole(Rule::Rfc3339) }))
}

/// Exactly so many bytes of ordinary lines.
fn lines(bytes: usize) -> String {
    let mut text = FILLER.repeat(bytes / FILLER.len());
    let rest = bytes - text.len();
    text.push_str(&".".repeat(rest.saturating_sub(1)));
    text.push_str(&"\n"[..rest.min(1)]);
    text
}

/// Texts of more than one line with secrets in them, and those secrets.
fn cases() -> Vec<(String, Vec<String>)> {
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----\n",
        (0..26)
            .map(|n| format!("MIIEpAIBAAKCAQEA3Tz2mr7SZi{n:02}fQyuvBjM9Oi8xyzABCDEFGHIJKLMNOP\n"))
            .collect::<String>()
    );
    let values: String = (0..20).map(|n| format!("  key-{n}: «c2VjcmV0VmFsdWUtMDAw{n:02}MDAwMDA=»\n")).collect();
    let json: String =
        (0..20).map(|n| format!("    \"key-{n}\": \"«c2VjcmV0VmFsdWUtMDAw{n:02}MDAwMDA=»\",\n")).collect();
    let block: String = (0..20).map(|n| format!("    «correct horse {n:02} battery»\n")).collect();
    let mut texts: Vec<String> = vec![
        format!("«{pem}»"),
        format!("tls.key: |\n«  {}»", pem.trim_end().replace('\n', "\n  ")),
        format!("apiVersion: v1\ndata:\n{values}kind: Secret\nmetadata:\n  name: x\n"),
        format!("apiVersion: v1\nkind: Secret\ndata:\n{values}type: Opaque\n"),
        format!("{{\n  \"kind\": \"Secret\",\n  \"data\": {{\n{json}    \"last\": \"\"\n  }}\n}}\n"),
        format!("{{\n  \"data\": {{\n{json}    \"last\": \"\"\n  }},\n  \"kind\": \"Secret\"\n}}\n"),
        format!("  password: |\n{block}  user: bob\n"),
    ];
    for text in CORPUS {
        let table: BTreeMap<String, BTreeMap<String, Vec<String>>> = toml::from_str(text).expect("a corpus");
        texts.extend(table.into_values().flatten().filter(|(mark, _)| mark != "plain").flat_map(|(_, texts)| texts));
    }
    let is_whole =
        |text: &String| text.trim().contains('\n') && !text.contains("unclosed") && !text.starts_with("cut:");
    let split = |text: String| {
        let secrets =
            text.split('«').skip(1).filter_map(|part| part.split_once('»')).map(|(secret, _)| secret.to_owned());
        let secrets = secrets.collect();
        (text.replace(['«', '»'], "").trim_end().to_owned() + "\n", secrets)
    };
    texts.into_iter().filter(is_whole).map(split).collect()
}

/// Whether anything of the secrets, eight bytes of it, came out that is in no line beside them.
fn leaks(out: &str, secrets: &[String], plain: &str) -> Option<String> {
    let rest = secrets.iter().fold(plain.to_owned(), |rest, secret| rest.replace(secret.as_str(), "«»"));
    secrets.iter().flat_map(|secret| secret.lines()).find_map(|line| {
        let line: Vec<char> = line.trim().chars().collect();
        let mut parts = line.windows(8.min(line.len().max(1))).map(|part| part.iter().collect::<String>());
        parts.find(|part| {
            part.len() >= 6 && out.contains(part.as_str()) && !rest.contains(part.as_str()) && !part.contains("PRIVATE")
        })
    })
}

#[test]
fn no_gap_lets_a_secret_out_wherever_it_is() {
    const MOST: usize = 6000;
    let mut redactor = redactor();
    let (mut wrong, mut runs) = (Vec::new(), 0);
    for (plain, secrets) in cases() {
        let starts: Vec<usize> = std::iter::once(0).chain(plain.match_indices('\n').map(|(at, _)| at + 1)).collect();
        for at in starts {
            // The head ends there; the tail begins there; a window begins and ends there.
            for (before, after) in
                [(1400_usize.saturating_sub(at), 9000), (9000, 4300_usize.saturating_sub(plain.len() - at))]
            {
                let text = format!("{}{plain}{}", lines(before), lines(after));
                let place = before + at;
                for content in [
                    cut(&text, MOST as u64),
                    ends(&text, MOST as u64),
                    part(&text, place, text.len()),
                    part(&text, 0, place),
                ] {
                    let (out, _) = clean(&mut redactor, content);
                    runs += 1;
                    if let Some(part) = leaks(&out, &secrets, &plain) {
                        let out = out.replace(FILLER, "");
                        wrong.push(format!("{part} at {at} behind {before} in\n{plain}\n{out}"));
                    }
                }
            }
        }
    }
    assert!(runs > 1000, "{runs}");
    assert!(wrong.is_empty(), "{} of {runs}: {}", wrong.len(), wrong[0]);
}

/// What is behind a gap in something without a name is not known to be a secret, and goes until it ends.
#[test]
fn base64_behind_a_gap_is_taken_for_the_rest_of_a_secret() {
    let body = "c2VjcmV0VmFsABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuv0123\n";
    let mut redactor = redactor();
    for prefix in ["", "2026-11-21T16:02:01Z stdout F "] {
        let body = format!("{prefix}{body}");
        let text = format!("{}{}{prefix}it is done\n{}", lines(5000), body.repeat(12_000), lines(30_000));
        for most in [60_000, 200_000, 400_000] {
            for content in [cut(&text, most), ends(&text, most)] {
                let (out, _) = clean(&mut redactor, content);
                let (_, tail) = out.split_once("--- sheaf: ").expect("a mark");
                assert!(!tail.contains("c2VjcmV0VmFs"), "{tail:.300}");
                assert!(tail.contains("done\n") && tail.contains(FILLER), "{most}");
            }
        }
    }
}

/// As in a dump of many Secrets, and where a line or a block is longer than what is shown beside a gap.
#[test]
fn large_sources_that_are_cut_let_nothing_out() {
    let secret = |n: usize| {
        let values: String = (0..40).map(|k| format!("    key-{k}: c2VjcmV0VmFs{n:04}dWU{k:02}MDAw\n")).collect();
        format!("- apiVersion: v1\n  data:\n{values}  kind: Secret\n  metadata:\n    name: x{n}\n")
    };
    let dump = format!("apiVersion: v1\nitems:\n{}", (0..400).map(secret).collect::<String>());
    let block = format!(
        "{}password: |\n{}after: it\n{}",
        lines(50_000),
        "  c2VjcmV0VmFs and more\n".repeat(20_000),
        lines(90_000)
    );
    let json = format!("{{\"password\":\"{}\"}}\n", "c2VjcmV0VmFs-".repeat(9000));
    let long: String = (0..8).map(|n| format!("{{\"a\":\"{n}\",{}\n", &json[1..])).collect();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\\n{}-----END PRIVATE KEY-----",
        "c2VjcmV0VmFsABCDEFGHIJKLMNOPQRSTUVWXYZ\\n".repeat(9000)
    );
    let pem = format!("{}{{\"key\":\"{pem}\"}}\n{}", lines(70_000), lines(10_000));
    let body = "c2VjcmV0VmFsABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuv0123\n";
    let fenced = |before: &str| {
        let body = format!("{before}{body}").repeat(12_000);
        let fences = ["BEGIN", "END"].map(|word| format!("{before}-----{word} PRIVATE KEY-----\n"));
        format!("{}{}{body}{before}c2Vj==\n{}{}", lines(30_000), fences[0], fences[1], lines(30_000))
    };
    let (keys, logged) = (fenced(""), fenced("May  1 10:00:00 host app[1]: "));
    let datum = format!(
        "{}apiVersion: v1\ndata:\n  a: {}\n  b: c2VjcmV0VmFs\nkind: Secret\n{}",
        lines(30_000),
        "c2VjcmV0VmFs".repeat(60_000),
        lines(30_000)
    );
    let mut redactor = redactor();
    let texts = [
        ("dump", &dump),
        ("block", &block),
        ("long", &long),
        ("pem", &pem),
        ("keys", &keys),
        ("logged", &logged),
        ("datum", &datum),
    ];
    for (name, text) in texts {
        for most in [20_000, 150_000, 300_000] {
            for content in [cut(text, most), ends(text, most)] {
                let (out, report) = clean(&mut redactor, content);
                assert!(report.cut.is_some(), "{name} at {most}");
                let at = out.find("c2VjcmV0VmFs").or(out.find("VmFsdWU"));
                assert_eq!(
                    at.map(|at| &out[at.saturating_sub(200)..(at + 50).min(out.len())]),
                    None,
                    "{name} at {most}"
                );
                let marks = out.matches("--- sheaf: ").count();
                assert_eq!(marks, 1, "{name} at {most}");
            }
        }
    }
}

#[test]
fn ordinary_lines_stay_whatever_is_behind_them() {
    let certificate = format!(
        "{}-----END CERTIFICATE-----\n",
        "MIIEpAIBAAKCAQEA3Tz2mr7SZiAMfQyuvBjM9Oi8xyzABCDEFGHIJKLMNOPQRST\n".repeat(20)
    );
    let mut redactor = redactor();
    for last in ["", &certificate, "password=hunter22\n"] {
        let log: String = (0..20_000).map(|n| format!("2026-11-21T16:02:01Z ERROR number {n:05} of them\n")).collect();
        let text = format!("{}{log}{last}", "password=hunter22\n".repeat(3000));
        for content in [cut(&text, 120_000), ends(&text, 120_000)] {
            let (out, report) = clean(&mut redactor, content);
            let cut = report.cut.expect("a cut");
            let breaks = text.lines().count() - cut.lines as usize + 1;
            assert_eq!(out.lines().count(), breaks, "nothing is lost but what the mark counts");
            assert!(out.ends_with(&format!(
                "ERROR number 19999 of them\n{}",
                last.replace("hunter22", "[redacted:password]")
            )));
            assert!(!out.contains("hunter22"));
            // What is only looked at is not counted.
            assert_eq!(report.redacted["password"] as usize, out.matches("[redacted:password]").count());
        }
        let from = text.find("ERROR number 19900").expect("there") - "2026-11-21T16:02:01Z ".len();
        let (out, _) = clean(&mut redactor, part(&text, from, text.len()));
        assert_eq!(out.lines().filter(|line| line.contains("ERROR")).count(), 100);
    }
}

#[test]
fn what_is_read_around_a_gap_is_given_to_nobody_else() {
    let text = lines(300_000);
    for mut content in [cut(&text, 9000), ends(&text, 9000), part(&text, 2600, 5200)] {
        let mut bytes = Vec::new();
        content.open().expect("opened");
        io::Read::read_to_end(&mut content, &mut bytes).expect("read");
        let mut redactor = redactor();
        assert_eq!(clean(&mut redactor, content).0, String::from_utf8(bytes).expect("text"));
    }
}

#[test]
fn ordinary_logs_lose_nothing_but_what_the_mark_counts() {
    const LOGS: [&str; 5] = [
        include_str!("../corpus/ordinary/containers.log"),
        include_str!("../corpus/ordinary/kernel.log"),
        include_str!("../corpus/ordinary/services.log"),
        include_str!("../corpus/ordinary/syslog.log"),
        include_str!("../corpus/ordinary/web.log"),
    ];
    let mut redactor = redactor();
    for log in LOGS {
        let text = log.repeat(60);
        for most in (20_000..60_000).step_by(3001) {
            for content in [cut(&text, most), ends(&text, most)] {
                let (out, report) = clean(&mut redactor, content);
                let (head, rest) = out.split_once("--- sheaf: ").expect("a mark");
                let (_, tail) = rest.split_once('\n').expect("its end");
                assert!(text.starts_with(head) && text.ends_with(tail), "{out:.300}");
                let bytes = report.cut.expect("a cut").bytes as usize;
                assert_eq!(head.len() + bytes + tail.len(), text.len());
                assert!(out.len() * 4 > most as usize * 3, "{} of {most}", out.len());
            }
        }
    }
}
