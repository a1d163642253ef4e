//! The built-in rules, as data: what each takes out, the literals without which it is not tried, and how its value is found.
//!
//! This is the list that a security officer reads (`sheaf agent rules`), and the list that runs: [`super::scan`] searches for the literals of
//! all rows at once, and tries a row only where one of its own was found. Every row has cases, true and false, in `corpus/rules`.

mod places;
mod shapes;

use serde::Serialize;

use super::label::Label;

/// Counts up whenever a row is added, or takes out something else than before.
pub const VERSION: u32 = 5;

/// A built-in rule.
pub(super) struct Rule {
    /// Its name, for people.
    pub(super) name: &'static str,
    /// What it takes out.
    pub(super) removes: &'static str,
    /// A text with something to take out, which stands between `«` and `»`.
    pub(super) example: &'static str,
    /// What stands in place of what was taken out.
    pub(super) marks: &'static [Label],
    /// One of them must occur. One that also is another row's leads to both; none may begin with another.
    pub(super) literals: &'static [&'static str],
    /// How the value is found around a literal.
    pub(super) how: How,
}

/// How a value is found where a literal was.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    /// A setting whose name holds the literal and is one of a secret.
    Setting,
    /// A sentence that tells a password.
    Sentence,
    /// A setting in a URL's query that signs the URL.
    SignedUrl,
    /// The header of that name, in any notation.
    Authorization,
    /// The header of that name, in any notation.
    Cookie,
    /// The word behind the scheme.
    Bearer,
    /// The word behind the scheme, if it is the base64 of `user:password`.
    Basic,
    /// The string behind the name, if it is the base64 of `user:password`.
    Registry,
    /// The quoted string behind the words.
    Identified,
    /// From the BEGIN line to the END line.
    KeyBegin,
    /// The lines of base64 before an END line that has no BEGIN.
    KeyEnd,
    /// All of the base64.
    KeyWrapped,
    /// What follows the colon of `user:password` behind the option of a client.
    User,
    /// The pattern's group, in a command line that begins with the program.
    Command {
        /// The program, from the literal on.
        program: &'static str,
        /// The option, and its value as the first group.
        option: &'static str,
    },
    /// The values of `data` and `stringData` in a manifest of that kind.
    Manifest,
    /// The word behind `password` in an entry of a `.netrc`.
    Netrc,
    /// The pattern's group, in the line around the literal.
    Line {
        /// All of the line. Counted repetitions are kept small in these: each count is a copy in the compiled pattern.
        pattern: &'static str,
    },
    /// What the pattern matches, or its group, from some bytes before the literal on.
    Shape {
        /// Bytes before the literal.
        back: usize,
        /// All of the secret, or what goes around the group.
        pattern: &'static str,
    },
    /// All rules, in a command line that the audit log has in hex.
    Audit,
    /// `user:password@` behind `://`.
    Url,
    /// What crypt(3), or a web framework, makes of a password.
    Hash,
    /// A panic, in tests of what happens then.
    #[cfg(test)]
    Panic,
}

/// All built-in rules: those that know a secret by where it stands, then those that know it by its shape.
pub(super) fn all() -> impl Iterator<Item = &'static Rule> {
    let all = places::RULES.iter().chain(shapes::RULES);
    #[cfg(test)]
    let all = all.chain(std::slice::from_ref(&PANICS));
    all
}

/// Text that makes the redactor panic, in tests of what happens then.
#[cfg(test)]
pub(super) const PANIC: &str = "\u{1}panic in a rule\u{1}";
#[cfg(test)]
static PANICS: Rule = Rule { name: "panic", removes: "", example: "", marks: &[], literals: &[PANIC], how: How::Panic };

/// A built-in rule, as it is shown to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleRow {
    /// Its name.
    pub name: &'static str,
    /// What it takes out.
    pub removes: &'static str,
    /// What stands in its place, `[redacted:<mark>]`; the counts in manifests and in REDACTION.json go by these names.
    pub marks: Vec<&'static str>,
    /// A text with something to take out, which stands between `«` and `»`.
    pub example: &'static str,
    /// One of them must occur before the rule is tried.
    pub literals: &'static [&'static str],
    /// How the value is found where one does.
    pub found: String,
}

/// The built-in rules, in the order in which they are searched for.
pub fn built_in() -> Vec<RuleRow> {
    let shown = |rule: &&Rule| !rule.removes.is_empty();
    let rows = all().filter(shown).map(|rule| RuleRow {
        name: rule.name,
        removes: rule.removes,
        marks: rule.marks.iter().map(|label| label.name()).collect(),
        example: rule.example,
        literals: rule.literals,
        found: rule.how.told(),
    });
    rows.collect()
}

/// A digest over all rows, in hex: two nodes with the same one have the same list.
pub fn digest() -> String {
    let rows = serde_json::to_vec(&built_in()).expect("rows of text serialize");
    blake3::hash(&rows).to_hex()[..32].to_owned()
}

impl How {
    fn told(self) -> String {
        let told = match self {
            Self::Setting => {
                "the value of a setting whose name says that it is secret: after `=`, `:`, an option or a tag; at any depth of quotes"
            }
            Self::Sentence => "the word that a sentence gives as a password: `password is …`, `initial password: …`",
            Self::SignedUrl => "the value of that parameter of a URL",
            Self::Authorization => "what follows the scheme in a header of that name",
            Self::Cookie => "the pairs in a header of that name",
            Self::Bearer => "a word of 16 or more characters after the scheme",
            Self::Basic => "base64 of `user:password` after the scheme",
            Self::Registry => "base64 of `user:password` as the value of that name",
            Self::Identified => "the quoted string that follows",
            Self::KeyBegin => "from the BEGIN line to the END line, of any size, on lines of its own or with `\\n`",
            Self::KeyEnd => "the lines of base64 before an END line without its BEGIN",
            Self::KeyWrapped => "the whole run of base64, if a private key is in it",
            Self::User => "what follows the colon in `user:password`, in a line that runs curl, wget or http",
            Self::Manifest => {
                "every value below `stringData`, and below `data` where `kind` is `Secret`, in YAML and JSON"
            }
            Self::Netrc => "the word after `password` in an entry that begins with `machine` and a name",
            Self::Audit => "what all other rules find in the command line that the hex stands for",
            Self::Url => "what stands between the colon and the `@` of `scheme://user:password@host`",
            Self::Hash => "hashes as crypt(3) and web frameworks write them",
            Self::Command { program, option } => {
                return format!("a command `{program}`, in it the group of `{option}`");
            }
            Self::Line { pattern } => return format!("the group of `{pattern}` over the line"),
            Self::Shape { pattern, .. } => return format!("`{pattern}`"),
            #[cfg(test)]
            Self::Panic => "",
        };
        told.to_owned()
    }
}
