//! Failing closed: what goes wrong costs the one source, says so, and lets nothing through.

use super::super::rules::PANIC;
use super::super::{RuleError, SiteRule};
use super::*;

/// A content that fails where it is told to.
struct Faulty {
    open: Option<io::ErrorKind>,
    bytes: io::Cursor<Vec<u8>>,
    then: Option<io::ErrorKind>,
}

impl Read for Faulty {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match (self.bytes.read(out)?, self.then) {
            (0, Some(kind)) => Err(kind.into()),
            (count, _) => Ok(count),
        }
    }
}

impl Content for Faulty {
    fn open(&mut self) -> io::Result<()> {
        self.bytes.set_position(0);
        self.open.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn again(&self) -> bool {
        false
    }

    fn after(&mut self) -> Option<(Outcome, String)> {
        (self.open.is_none() && self.then.is_none()).then(|| (Outcome::Truncated, "ran into its limit".to_owned()))
    }
}

fn faulty(open: Option<io::ErrorKind>, bytes: &str, then: Option<io::ErrorKind>) -> (Vec<u8>, CleanReport) {
    let mut redactor = Redactor::new(Profile::Secrets, &[]).expect("builds");
    let content = Faulty { open, bytes: io::Cursor::new(bytes.as_bytes().to_vec()), then };
    read_all(redactor.clean(record(Kind::Text, Box::new(content))))
}

#[test]
fn errors_of_the_source_are_outcomes() {
    use io::ErrorKind::{NotFound, PermissionDenied};
    let (out, report) = faulty(Some(PermissionDenied), "never read", None);
    assert_eq!((out.len(), failed(&report)), (0, ("permission denied", Outcome::Failed)));
    let (out, report) = faulty(None, "", Some(NotFound));
    assert_eq!((out.len(), failed(&report)), (0, ("vanished", Outcome::Failed)));
    let (out, report) = faulty(None, "a password=hunter2\nand", Some(io::ErrorKind::Other));
    assert_eq!(text(&out), "a password=[redacted:password]\nand");
    assert_eq!(failed(&report), ("other error", Outcome::Truncated));
    let (out, report) = faulty(None, "token=abc123\n", None);
    assert_eq!(text(&out), "token=[redacted:token]\n");
    assert_eq!(failed(&report), ("ran into its limit", Outcome::Truncated));
    assert_eq!(report.redacted["token"], 1);
}

#[test]
fn a_panic_withholds_that_source_and_no_other() {
    let mut redactor = Redactor::new(Profile::Secrets, &[]).expect("builds");
    let text_of = |bytes: String| record(Kind::Text, Box::new(io::Cursor::new(bytes.into_bytes())));
    let (out, report) = read_all(redactor.clean(text_of(format!("password=hunter2\n{}\n", PANIC))));
    assert!(out.is_empty());
    assert_eq!(failed(&report), ("withheld: redaction failed on it", Outcome::Failed));
    let (out, report) = read_all(redactor.clean(text_of("password=hunter2\n".to_owned())));
    assert_eq!(text(&out), "password=[redacted:password]\n");
    assert_eq!(report.outcome, Outcome::Collected);
}

#[test]
fn a_panic_behind_the_first_block_lets_nothing_of_its_own_through() {
    let line = "an ordinary line with password=hunter2 in it\n";
    let bytes = format!("{}{}{}", line.repeat(20_000), PANIC, line.repeat(20_000));
    let (out, report) = cleaned(Kind::Text, bytes.as_bytes());
    assert!(!out.is_empty() && !text(&out).contains("hunter2"));
    assert_eq!(failed(&report), ("withheld: redaction failed on it", Outcome::Truncated));
}

#[test]
fn a_panic_inside_a_compressed_source_withholds_all_of_it() {
    let packed =
        zstd::encode_all(format!("{}\n{}", "line\n".repeat(100_000), PANIC).as_bytes(), 1).expect("compresses");
    let (out, report) = cleaned(Kind::Zstd, &packed);
    assert!(out.is_empty());
    assert_eq!(failed(&report), ("withheld: redaction failed on it", Outcome::Failed));
}

#[test]
fn binary_passes_only_where_it_is_declared() {
    let bytes = b"\x7fELF\0\x01\x02password=hunter2\n";
    let (out, report) = cleaned(Kind::Binary { declared: false }, bytes);
    assert_eq!((out.len(), failed(&report)), (0, ("withheld: binary, not declared", Outcome::Skipped)));
    let (out, report) = cleaned(Kind::Binary { declared: true }, bytes);
    assert_eq!((out.as_slice(), failed(&report)), (bytes.as_slice(), ("", Outcome::Collected)));
}

#[test]
fn text_that_no_rule_can_read_is_withheld() {
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
    for bytes in [wide("\u{feff}password=hunter2"), wide("password=hunter2"), b"\xff\xfeab".to_vec()] {
        let (out, report) = cleaned(Kind::Text, &bytes);
        assert_eq!((out.len(), failed(&report)), (0, ("withheld: UTF-16 text", Outcome::Failed)));
    }
    let (out, report) = cleaned(Kind::Text, b"\x28\xb5\x2f\xfd and the rest");
    assert_eq!(
        (out.len(), failed(&report)),
        (0, ("withheld: compressed, which its kind does not say", Outcome::Failed))
    );
}

#[test]
fn holes_and_odd_bytes_do_not_hide_a_secret() {
    let bytes = [b"\xff\xfa\x80 gr\xfc\xdfe\n".as_slice(), &[0; 3000], b"password=hunter2\0next\x1b[0m\n"].concat();
    let (out, _) = cleaned(Kind::Text, &bytes);
    assert_eq!(
        out,
        [b"\xff\xfa\x80 gr\xfc\xdfe\n".as_slice(), &[0; 3000], b"password=[redacted:password]\0next\x1b[0m\n"].concat()
    );
}

#[test]
fn a_source_that_was_not_read_to_its_end_says_so() {
    let mut redactor = Redactor::new(Profile::Secrets, &[]).expect("builds");
    let mut clean = redactor.clean(record(Kind::Text, Box::new(io::Cursor::new(b"abc\n".repeat(10)))));
    let mut some = [0; 8];
    assert_eq!(clean.read(&mut some).expect("never errs"), 8);
    assert_eq!(failed(&clean.finish()), ("was not read to its end", Outcome::Truncated));
}

#[test]
fn added_rules_take_out_more() {
    let rule = site_rule;
    let rules = [rule("case", r"case-\d+"), rule("who", r"^who=(\w+)$"), rule("wide", r"(?s)x.*y")];
    let mut redactor = Redactor::new(Profile::Secrets, &rules).expect("builds");
    let content = io::Cursor::new(b"case-17 and case-18\nwho=bob\nwho=bob!\npassword=abc\nx to\ny\nx to y\n".to_vec());
    let (out, report) = read_all(redactor.clean(record(Kind::Text, Box::new(content))));
    assert_eq!(
        text(&out),
        "[redacted:case] and [redacted:case]\nwho=[redacted:who]\nwho=bob!\npassword=[redacted:password]\nx to\ny\n[redacted:wide]\n"
    );
    assert_eq!(
        report.redacted.into_iter().collect::<Vec<_>>(),
        [("case".into(), 2), ("password".into(), 1), ("who".into(), 1), ("wide".into(), 1)]
    );
}

#[test]
fn added_rules_that_are_none_are_refused() {
    let new = |name: &str, pattern: &str| Redactor::new(Profile::Secrets, &[site_rule(name, pattern)]).map(|_| ());
    for (name, pattern) in [("Case", "x"), ("", "x"), ("a", "("), ("a", r"(\w{500}){500}")] {
        assert!(matches!(new(name, pattern), Err(RuleError::Rule { .. })), "{name} {pattern}");
    }
    assert!(matches!(new("a", &"x".repeat(4000)), Err(RuleError::Rule { .. })));
    let many: Vec<_> = (0..65).map(|n| site_rule(&format!("a{n}"), "abc")).collect();
    assert!(matches!(Redactor::new(Profile::Secrets, &many).map(|_| ()), Err(RuleError::TooMany(65))));
}

fn site_rule(name: &str, pattern: &str) -> SiteRule {
    SiteRule { name: name.to_owned(), pattern: pattern.to_owned(), ..SiteRule::default() }
}

#[test]
fn the_profile_none_passes_everything_but_undeclared_binaries() {
    assert_eq!(Profile::parse("none").map(Profile::name), Some("none"));
    let mut redactor = Redactor::new(Profile::None, &[]).expect("builds");
    let content = || Box::new(io::Cursor::new(b"password=hunter2\n".to_vec()));
    assert_eq!(read_all(redactor.clean(record(Kind::Text, content()))).0, b"password=hunter2\n");
    assert!(read_all(redactor.clean(record(Kind::Binary { declared: false }, content()))).0.is_empty());
}
