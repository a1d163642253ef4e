//! The Markdown that this house writes, as a man page: headings, paragraphs, lists, tables, code.
//!
//! Text comes from the source (module pages) or from `packaging/man`; it goes out to a [`Page`]. It is no reader of foreign
//! Markdown: what it does not know it takes for a paragraph.

use super::page::Page;

/// The page that a module opens with.
pub fn module_text(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// A text without one of its sections.
pub fn without(text: &str, section: &str) -> String {
    let mut out = String::new();
    let mut skips = false;
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("# ") {
            skips = heading == section;
        }
        if !skips {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// Writes a text into a page; what stands before its first heading is the description.
pub fn write(text: &str, page: &mut Page) {
    let mut lines = text.lines().peekable();
    if !text.starts_with("# ") {
        page.heading("DESCRIPTION");
    }
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("# ") {
            page.heading(heading);
        } else if let Some(heading) = line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")) {
            page.part(heading);
        } else if line.starts_with("```") {
            page.verbatim(lines.by_ref().take_while(|line| !line.starts_with("```")));
        } else if let Some(first) = line.strip_prefix("    ") {
            let mut code = vec![first];
            while let Some(more) = lines.next_if(|line| line.starts_with("    ")) {
                code.push(more.strip_prefix("    ").unwrap_or(more));
            }
            page.verbatim(code);
        } else if line.starts_with('|') {
            let mut rows = vec![line];
            while let Some(more) = lines.next_if(|line| line.starts_with('|')) {
                rows.push(more);
            }
            table(&rows, page);
        } else if let Some(item) = line.strip_prefix("- ") {
            let mut item = item.to_owned();
            while let Some(more) = lines.next_if(|line| line.starts_with("  ")) {
                item.push('\n');
                item.push_str(more);
            }
            page.term("•", &item);
        } else if !line.trim().is_empty() {
            let mut paragraph = line.to_owned();
            while let Some(more) = lines.next_if(|line| is_text(line)) {
                paragraph.push('\n');
                paragraph.push_str(more);
            }
            page.paragraph(&paragraph);
        }
    }
}

fn is_text(line: &str) -> bool {
    !line.trim().is_empty() && !["#", "```", "    ", "|", "- "].iter().any(|start| line.starts_with(start))
}

/// A row is a term and what it means: a terminal has no room for columns of sentences.
fn table(rows: &[&str], page: &mut Page) {
    let ruled = rows.get(1).is_some_and(|row| row.chars().all(|c| "|-: ".contains(c)));
    for row in &rows[if ruled { 2 } else { 0 }..] {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [terms @ .., meaning] = cells.as_slice() else { continue };
        let terms: Vec<String> = terms.iter().filter(|term| !term.is_empty()).map(|term| strong(term)).collect();
        page.term(&terms.join(", "), meaning);
    }
}

fn strong(term: &str) -> String {
    if term.contains(['`', '*', '[']) { term.to_owned() } else { format!("**{term}**") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_becomes_what_it_is() {
        let mut page = Page::new("x", 5, "a page");
        let text = "first\nline\n\n# Part\n- one\n  more\n- two\n\n| a | b |\n|---|---|\n| `k` | what it means |\n\n```text\n- as is\n```\n\n    code\n\nlast";
        write(text, &mut page);
        let wanted = ".SH DESCRIPTION\n.PP\nfirst\nline\n.SH PART\n.TP\n•\none\nmore\n.TP\n•\ntwo\n.TP\n\\fBk\\fR\nwhat it means\n\
                      .PP\n.RS 4\n.nf\n\\- as is\n.fi\n.RE\n.PP\n.RS 4\n.nf\ncode\n.fi\n.RE\n.PP\nlast\n";
        assert!(page.text().ends_with(wanted), "{}", page.text());
    }

    #[test]
    fn a_module_and_a_section_end_where_they_end() {
        assert_eq!(module_text("//! a\n//!\n//! # B\n//! c\nuse d;\n//! e"), "a\n\n# B\nc");
        assert_eq!(without("a\n# B\nc\n# D\ne\n", "B"), "a\n# D\ne\n");
    }
}
