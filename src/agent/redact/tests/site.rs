//! Rules that a site adds: what they take out, what they leave, and what is said of those that cannot be meant.

use super::super::{SiteRule, lint};
use super::*;

fn rule(name: &str, pattern: &str) -> SiteRule {
    SiteRule::asked(name, pattern)
}

fn redacted(rules: &[SiteRule], bytes: &str) -> (String, CleanReport) {
    let mut redactor = Redactor::new(Profile::Secrets, rules).expect("rules that can be meant");
    let (out, report) =
        read_all(redactor.clean(record(Kind::Text, Box::new(io::Cursor::new(bytes.as_bytes().to_vec())))));
    (text(&out), report)
}

#[test]
fn groups_stay_literals_choose_lines_and_labels_are_shown() {
    let strings = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
    let badge = SiteRule {
        keep: strings(&["who", "2"]),
        label: Some("badge-number".to_owned()),
        ..rule("badge", r"(?<who>badge )\d+( at \w+)?")
    };
    let (out, report) = redacted(std::slice::from_ref(&badge), "badge 4711 at gate\nbadge 12\nbadge x\n");
    assert_eq!(out, "badge [redacted:badge-number] at gate\nbadge [redacted:badge-number]\nbadge x\n");
    assert_eq!(report.redacted.into_iter().collect::<Vec<_>>(), [("badge".to_owned(), 2)], "counted by its name");
    let (again, _) = redacted(&[badge], &out);
    assert_eq!(again, out);

    let chosen = SiteRule { literals: strings(&["order=", "bill="]), ..rule("number", r"\b\d{4}\b") };
    let (out, _) = redacted(&[chosen], "order=1234 and 5678\nyear 2026\nbill=1234\n");
    assert_eq!(out, "order=[redacted:number] and [redacted:number]\nyear 2026\nbill=[redacted:number]\n");
}

#[test]
fn every_way_to_find_a_line_gives_the_same() {
    let lines = "nothing\nCase-17 and case-18\ncase-x\n\nCASE-19\nlast case-20";
    let expected = "nothing\n[redacted:a] and [redacted:a]\ncase-x\n\n[redacted:a]\nlast [redacted:a]";
    let given = SiteRule { literals: vec!["ase-".to_owned(), "ASE-".to_owned()], ..rule("a", r"(?i)case-\d+") };
    for rule in [rule("a", r"(?i)case-\d+"), rule("a", r"[Cc][Aa][Ss][Ee]-\d+"), rule("a", r"\b\w+-\d+"), given] {
        let rules = Arc::new(Rules::new(true, std::slice::from_ref(&rule)).expect("builds"));
        for step in [1, 7, 4096] {
            let out = in_blocks(&rules, lines.as_bytes(), Sizes { block: 64, overlap: 30 }, step);
            assert_eq!(text(&out), expected, "{} by {step}", rule.pattern);
        }
    }
}

#[test]
fn a_rule_of_a_site_works_in_every_kind_of_source() {
    let rules = [rule("case", r"case-\d+")];
    let plain = b"a case-17 here\n".repeat(10);
    let mut redactor = Redactor::new(Profile::Secrets, &rules).expect("builds");
    let packed = zstd::encode_all(plain.as_slice(), 1).expect("compresses");
    for (kind, bytes) in [(Kind::Text, plain), (Kind::Zstd, packed)] {
        let (_, report) = read_all(redactor.clean(record(kind, Box::new(io::Cursor::new(bytes)))));
        assert_eq!(report.redacted["case"], 10, "{kind:?}");
    }
}

#[test]
fn what_is_wrong_with_a_rule_is_said_with_its_name_and_what_to_do() {
    let said = |rules: &[SiteRule]| {
        let line =
            |f: super::super::Finding| format!("{} {}: {}", if f.refused { "no" } else { "hm" }, f.rule, f.problem);
        lint(rules).into_iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(said(&[rule("case", r"case-\d+"), rule("who", r"(?i)owner: (\w+)")]), Vec::<String>::new());
    for (name, pattern, expected) in [
        ("Case", "abc", "no Case: its name must be 1 to 32 lower-case letters, digits and `-`"),
        ("case", "(abc", "no case: its pattern is no usable regular expression: unclosed group"),
        ("case", "a*", "no case: its pattern matches the empty string: let it need a byte, `+` for `*`, or no `?`"),
        ("case", ".+", "no case: its pattern matches every line whole: name what is to go, and put that into a group"),
        (
            "case",
            r"\Aabc",
            "no case: its pattern has `\\A` or `\\z`: write `^` or `$`, which stand for a line's start and end",
        ),
        ("password", "abc", "no password: a built-in rule or its mark has this name: counts would be mixed; rename it"),
        ("netrc", "abc", "no netrc: a built-in rule or its mark has this name: counts would be mixed; rename it"),
    ] {
        assert_eq!(said(&[rule(name, pattern)]), [expected], "{name} {pattern}");
    }
    let slow = said(&[rule("digits", r"\d{4,}-\d+")]);
    assert!(
        slow.len() == 1 && slow[0].starts_with("hm digits: slow: ") && slow[0].ends_with("give it `literals`"),
        "{slow:?}"
    );
    let wide = said(&[rule("words", r"[a-z]+")]).join("; ");
    assert!(wide.contains("hm words: it takes something out of every ordinary line"), "{wide}");
    let dead = said(&[rule("lines", r"user a\nb")]);
    assert_eq!(
        dead,
        ["hm lines: it takes out nothing: its pattern needs a line's end, and it sees one line at a time"]
    );
    let dead = said(&[SiteRule { literals: vec!["nosuch".to_owned()], ..rule("dead", r"line (\\d+)") }]);
    assert_eq!(dead.len(), 2, "{dead:?}");
    assert!(dead[0].starts_with(r"hm dead: `\\d` in its pattern is a backslash and the letter d"), "{dead:?}");
    assert!(dead[1].starts_with("hm dead: none of its literals can stand in what it matches"), "{dead:?}");
    let twice = said(&[rule("case", "abc"), rule("case", "def")]);
    assert_eq!(twice, ["no case: there is another one of this name: counts would be mixed; rename one"]);
    let keeps = said(&[SiteRule { keep: vec!["who".to_owned()], ..rule("case", "abc(?<whom>d)") }]);
    assert_eq!(keeps, ["no case: it keeps the group `who`, which its pattern does not have"]);
}
