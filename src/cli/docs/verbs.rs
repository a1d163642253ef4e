//! A man page for each verb, from the tree of the command line.
//!
//! What is asked with `--help` is what stands in the page: the synopsis and the options as `clap_mangen` writes them, examples as
//! they are typed.

use clap::Command;
use clap_mangen::Man;

use super::page::Page;

/// The pages of a command and of all below it that are not hidden.
pub fn pages(command: Command) -> Vec<Page> {
    // Options of the root are told with each verb; built, each knows its whole name.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&command, None, &mut pages);
    pages
}

fn add(command: &Command, parent: Option<&str>, pages: &mut Vec<Page>) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = Page::new(&name, 1, about.trim_end_matches('.'));
    // What a writer of bytes in memory says is never an error.
    let man = Man::new(command.clone());
    let mut written = Vec::new();
    let _ = man.render_synopsis_section(&mut written);
    let _ = man.render_description_section(&mut written);
    let _ = man.render_options_section(&mut written);
    page.roff(&String::from_utf8_lossy(&written));
    let below: Vec<&Command> = command.get_subcommands().filter(|sub| !sub.is_hide_set()).collect();
    if !below.is_empty() {
        page.heading("COMMANDS");
    }
    for sub in &below {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        page.term(&format!("**{}**(1)", sub.get_display_name().unwrap_or_else(|| sub.get_name())), &about);
    }
    if let Some(help) = command.get_after_help() {
        after(&help.to_string(), &mut page);
    }
    page.see_also(&others(&name, parent));
    pages.push(page);
    for sub in below {
        add(sub, Some(&name), pages);
    }
}

/// What follows the options in the help: examples, indented, and paragraphs.
fn after(help: &str, page: &mut Page) {
    for block in help.split("\n\n") {
        match block.split_once(":\n").filter(|(head, _)| head.starts_with("Example")) {
            Some((_, examples)) => {
                page.heading("EXAMPLES");
                page.verbatim(examples.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)));
            }
            None => page.paragraph(block),
        }
    }
}

fn others(name: &str, parent: Option<&str>) -> String {
    let format = match name {
        name if name.starts_with("sheaf-agent") => ", sheaf-agent.toml(5), sheaf-collectors(5)",
        name if name.starts_with("sheaf-coordinator") => ", sheaf-coordinator.toml(5)",
        name if name.starts_with("sheaf-bundle") => ", sheaf-bundle(5)",
        _ => "",
    };
    match parent {
        Some(parent) => format!("{parent}(1){format}"),
        None if name == "sheaf-agent" => format!("sheaf(1){format}, sheaf-bundle(5)"),
        None => "sheaf-agent.toml(5), sheaf-coordinator.toml(5), sheaf-collectors(5), sheaf-bundle(5)".to_owned(),
    }
}
