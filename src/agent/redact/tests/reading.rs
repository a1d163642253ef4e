//! The result depends on the bytes alone: not on how they were read, and not on where blocks end.

use proptest::prelude::*;

use super::*;

/// Blocks of a size that puts a cut inside or beside every case.
const SMALL: Sizes = Sizes { block: 2048, overlap: 600 };
/// A block that holds all of a test's text.
const LARGE: Sizes = Sizes { block: 16 << 10, overlap: 4 << 10 };

#[test]
fn every_case_split_at_every_byte_gives_the_same() {
    let mut redactor = Redactor::new(Profile::Secrets, &[]).expect("builds");
    for case in cases::all_true() {
        let (plain, expected) = (&case.plain, &case.expected);
        for split in 1..plain.len() {
            let content = Pieces { bytes: plain.clone().into_bytes(), at: 0, split };
            let (out, _) = read_all(redactor.clean(record(Kind::Text, Box::new(content))));
            assert_eq!(text(&out), *expected, "split at {split}");
        }
    }
}

/// A content that is read in two pieces.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    split: usize,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let end = if self.at < self.split { self.split } else { self.bytes.len() };
        let count = out.len().min(end - self.at);
        out[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl Content for Pieces {
    fn open(&mut self) -> io::Result<()> {
        self.at = 0;
        Ok(())
    }

    fn again(&self) -> bool {
        false
    }
}

/// The cut of a block moves over every byte of every case: in a line that is carried, and inside a line longer than a block.
#[test]
fn a_cut_anywhere_in_a_case_gives_the_same() {
    let rules = rules();
    for case in cases::all_true() {
        if case.plain.len() > 400 || case.is_cut() {
            continue;
        }
        let (label, plain, expected) = (&case.rule, &case.plain, &case.expected);
        for lines in [true, false] {
            let (filler, last) =
                if lines { ("filler words, a line\n", "\n") } else { ("filler words, one line ", " ") };
            let cut = if lines { SMALL.block } else { SMALL.block - SMALL.overlap };
            for at in cut - plain.len() - 2..=cut + 2 {
                let mut before = filler.repeat(at / filler.len() + 1);
                before.replace_range(at - 1.., last);
                let rest = "\nrest of the text\n".repeat(3);
                let whole = format!("{before}{plain}{rest}");
                let wanted = if lines {
                    format!("{before}{expected}{rest}")
                } else {
                    text(&in_blocks(&rules, whole.as_bytes(), LARGE, 4096))
                };
                let got = text(&in_blocks(&rules, whole.as_bytes(), SMALL, 4096));
                assert_eq!(got.get(at - 1..), wanted.get(at - 1..), "{label} at {at}, lines {lines}: {plain}");
                assert_eq!(got.get(..at - 1), wanted.get(..at - 1), "{label} at {at}, lines {lines}: {plain}");
            }
        }
    }
}

#[test]
fn a_key_of_any_size_is_taken_out_whole() {
    let body = "MIIEpAIBAAKCAQEA3Tz2mr7SZiAMfQyuvBjM9Oi8/xyzABCDEFGHIJKLMNOPQRST\n".repeat(40_000);
    let key = format!("-----BEGIN PGP PRIVATE KEY BLOCK-----\n{body}-----END PGP PRIVATE KEY BLOCK-----");
    for key in [key.clone(), key.replace('\n', "\\n")] {
        let (out, report) = cleaned(Kind::Text, format!("before\n\"{key}\"\nafter\n").as_bytes());
        assert_eq!(text(&out), "before\n\"[redacted:private-key]\"\nafter\n");
        assert_eq!(report.redacted["private-key"], 1);
    }
}

#[test]
fn a_value_longer_than_blocks_is_taken_out_whole() {
    for (open, close) in
        [("password=", " next"), ("{\"password\":\"", "\",\"x\":1}"), ("Authorization: Digest ", "\nnext")]
    {
        for length in [10_000, 300_000, 1_000_000] {
            let secret = "S3cret\\\\".repeat(length / 8);
            let (out, report) = cleaned(Kind::Text, format!("x {open}{secret}{close}").as_bytes());
            let out = text(&out);
            assert!(!out.contains("S3cret"), "{open} {length}");
            assert!(out.ends_with(close), "{open} {length}: {}", &out[out.len().saturating_sub(80)..]);
            assert_eq!(report.redacted.values().sum::<u64>(), 1, "{open} {length}");
        }
    }
}

#[test]
fn a_quoted_begin_line_does_not_swallow_a_log() {
    let log = "May 1 10:00:00 host app: an ordinary line with container 0123456789abcdef0123456789abcdef\n".repeat(100);
    let (out, _) = cleaned(Kind::Text, format!("-----BEGIN PRIVATE KEY-----\n{log}").as_bytes());
    assert!(text(&out).lines().count() > 90, "most of the log is left");
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "password",
        "Token",
        "secret_key",
        "=",
        ": ",
        "\"",
        "'",
        "\\",
        "\\\"",
        "\n",
        "\0",
        " ",
        "://",
        "@",
        "$6$",
        "-----BEGIN ",
        "PRIVATE KEY-----",
        "-----END ",
        "Authorization",
        "Bearer ",
        "Cookie",
        "[",
        "]",
        "{",
        "}",
        ",",
        ";",
        "&",
        "|",
        ">",
        "eyJhbGciOi",
        ".eyJ",
        "AKIAIOSFODNN7EXAMPLE",
        "--",
        "-u ",
        "mysql ",
        "LS0tLS1CRUdJTi",
        "hunter2",
        "\r\n",
        "%3D",
        "=>",
        "[redacted:password]",
        "sig=",
        "?",
        "<password>",
        "</",
        "ghp_0123456789012345678901234",
        "login x ",
        "MIIEpAIBAAKCAQEA3Tz2mr7S\n",
    ]);
    prop::collection::vec(
        prop_oneof![
            8 => words.prop_map(|w| w.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..12),
        ],
        0..60,
    )
    .prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn anything_is_redacted_alike_however_it_is_read(bytes in pieces(), step in 1_usize..50) {
        let rules = rules();
        let whole = in_blocks(&rules, &bytes, LARGE, 1 << 16);
        prop_assert_eq!(text(&in_blocks(&rules, &bytes, LARGE, step)), text(&whole));
        // What comes out may be read as something else than what went in, but never grows again without end.
        let twice = in_blocks(&rules, &whole, LARGE, 1 << 16);
        let thrice = in_blocks(&rules, &twice, LARGE, 1 << 16);
        prop_assert!(thrice.len() <= twice.len() + 64);
    }

    #[test]
    fn lines_give_the_same_in_blocks_of_any_size(lines in prop::collection::vec(pieces(), 0..40)) {
        let rules = rules();
        let bytes = lines.join(&b'\n');
        let whole = in_blocks(&rules, &bytes, Sizes::default(), 1 << 16);
        let small = in_blocks(&rules, &bytes, Sizes { block: 8192, overlap: 4000 }, 333);
        prop_assert_eq!(text(&small), text(&whole));
    }
}

/// Manifests larger than what is judged as a whole: values that are base64 go even where the kind is out of sight.
#[test]
fn a_secrets_manifest_of_any_size_loses_its_values() {
    let value = "dGhpcyBpcyBhIHNlY3JldCB2YWx1ZQ==".repeat(40);
    for count in [10, 100, 400] {
        let values: String = (0..count).map(|n| format!("  key-{n}: {value}\n")).collect();
        for manifest in [
            format!("apiVersion: v1\ndata:\n{values}kind: Secret\nmetadata:\n  name: x\n"),
            format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\ndata:\n{values}type: Opaque\n"),
        ] {
            for before in [0, 150_000, 250_000, 262_000] {
                let text_before = "an ordinary line of a log\n".repeat(before / 26);
                let (out, _) = cleaned(Kind::Text, format!("{text_before}---\n{manifest}---\nafter: it\n").as_bytes());
                let out = text(&out);
                assert!(!out.contains("dGhpcyBp"), "{count} values behind {before} bytes");
                assert!(out.starts_with(&text_before) && out.ends_with("---\nafter: it\n"), "{count} behind {before}");
            }
        }
    }
}
