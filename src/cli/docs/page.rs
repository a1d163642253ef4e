//! One man page in roff's `man` macros.
//!
//! Text comes in with the little marks of Markdown (`**strong**`, `` `literal` ``, links) and goes out escaped: nothing that
//! stands in it can become a request of roff.

/// A page that is being written.
pub struct Page {
    name: String,
    section: u8,
    text: String,
}

impl Page {
    /// Its head and its name section.
    pub fn new(name: &str, section: u8, about: &str) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let mut page = Self { name: name.to_owned(), section, text: String::new() };
        let title = escape(&name.to_uppercase());
        page.line(&format!(".TH \"{title}\" \"{section}\" \"\" \"sheaf {version}\" \"sheaf\""));
        // No hyphenation, ragged right: names and paths stay whole.
        page.line(".nh\n.ad l");
        page.heading("NAME");
        page.line(&format!("{} \\- {}", escape(name), inline(about)));
        page
    }

    /// Its section of the manual.
    pub fn section(&self) -> u8 {
        self.section
    }

    /// `sheaf-agent.1`
    pub fn file_name(&self) -> String {
        format!("{}.{}", self.name, self.section)
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn words(&mut self, text: &str) {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let line = inline(line);
            self.line(&line);
        }
    }

    /// A section.
    pub fn heading(&mut self, heading: &str) {
        self.line(&format!(".SH {}", escape(&heading.to_uppercase())));
    }

    /// A part of a section.
    pub fn part(&mut self, heading: &str) {
        let heading = inline(heading);
        self.line(&format!(".SS {heading}"));
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) {
        self.line(".PP");
        self.words(text);
    }

    /// A term and what it means.
    pub fn term(&mut self, term: &str, meaning: &str) {
        self.line(".TP");
        let term = inline(term);
        self.line(&term);
        self.words(meaning);
    }

    /// Lines as they are.
    pub fn verbatim<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        self.line(".PP\n.RS 4\n.nf");
        for line in lines {
            let line = no_request(escape(line));
            self.line(&line);
        }
        self.line(".fi\n.RE");
    }

    /// Sections that are roff already.
    pub fn roff(&mut self, sections: &str) {
        self.text.push_str(sections);
    }

    /// What else to read: the last section.
    pub fn see_also(&mut self, pages: &str) {
        self.heading("SEE ALSO");
        self.words(pages);
    }
}

/// Text with marks, as roff: one line.
fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find(['`', '*', '[']) {
        out.push_str(&escape(&rest[..at]));
        let (font, inside, after) = match marked(&rest[at..]) {
            Some(found) => found,
            None => {
                out.push_str(&rest[at..=at]);
                rest = &rest[at + 1..];
                continue;
            }
        };
        out.push_str(font);
        out.push_str(&escape(inside));
        out.push_str("\\fR");
        rest = after;
    }
    out.push_str(&escape(rest));
    no_request(out)
}

/// A line that begins like a request is none.
fn no_request(line: String) -> String {
    if line.starts_with('.') { format!("\\&{line}") } else { line }
}

/// What begins with a mark: its font, what it marks, what follows.
fn marked(text: &str) -> Option<(&'static str, &str, &str)> {
    if let Some(rest) = text.strip_prefix("**") {
        return rest.split_once("**").map(|(inside, after)| ("\\fB", inside, after));
    }
    if let Some(rest) = text.strip_prefix('`') {
        return rest.split_once('`').map(|(inside, after)| ("\\fB", inside, after));
    }
    // A link to another module of the source is a name here.
    let (inside, after) = text.strip_prefix("[`")?.split_once("`]")?;
    Some(("\\fI", inside, after))
}

/// Text that roff shows as it is.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_a_request() {
        let mut page = Page::new("x", 1, "a page");
        page.paragraph(".so /etc/shadow\n'br\nback\\slash `--flag` and **strong**, [`Outcome`], 2 * 3");
        page.verbatim([".TH", "a  b"]);
        let text = page.text();
        for line in [
            "\\&.so /etc/shadow",
            "\\(aqbr",
            "back\\eslash \\fB\\-\\-flag\\fR and \\fBstrong\\fR, \\fIOutcome\\fR, 2 * 3",
            "\\&.TH",
            "a  b",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }

    #[test]
    fn a_mark_that_does_not_end_is_text() {
        assert_eq!(inline("a `b"), "a `b");
        assert_eq!(inline("glob *.log"), "glob *.log");
        assert_eq!(inline("[[limits]]"), "[[limits]]");
    }
}
