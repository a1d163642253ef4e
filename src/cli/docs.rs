//! `sheaf docs`: man pages, completions and sample configurations, out of the binary that they are about.
//!
//! Pages of the verbs come from the tree of the command line, those of the configuration files from the samples that the packages
//! ship, that of the format from the module that defines it: none can say something else than the program does. Packages are built
//! from what this writes. Nothing here reads a configuration or opens a connection.

mod markdown;
mod page;
mod sample;
mod verbs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::Sheaf;
use super::operate::output;
use page::Page;

const AGENT: &str = include_str!("../../packaging/config/agent.toml");
const COORDINATOR: &str = include_str!("../../packaging/config/coordinator.toml");
const COLLECTORS: &str = include_str!("../../packaging/man/sheaf-collectors.5.md");
const BUNDLE: &str = include_str!("../bundle/mod.rs");

/// `sheaf docs …`
#[derive(Debug, Subcommand)]
pub enum DocsCommand {
    /// Write the man pages of all verbs, configuration files and formats
    #[command(after_help = "Examples:
  sheaf docs man --into ~/.local/share/man
  sheaf docs man --into man && man man/man5/sheaf-agent.toml.5")]
    Man(ManCommand),
    /// Print the completions for a shell
    #[command(after_help = "Examples:
  sheaf docs completions bash > ~/.local/share/bash-completion/completions/sheaf
  sheaf docs completions zsh > ~/.zfunc/_sheaf
  sheaf docs completions fish > ~/.config/fish/completions/sheaf.fish")]
    Completions(CompletionsCommand),
    /// Print a sample configuration: every key with its default
    #[command(after_help = "Examples:
  sheaf docs config agent
  sheaf docs config coordinator > coordinator.toml")]
    Config(ConfigCommand),
}

/// `sheaf docs man`
#[derive(Debug, Args)]
pub struct ManCommand {
    /// Folder that gets `man1` and `man5`
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
}

/// `sheaf docs completions`
#[derive(Debug, Args)]
pub struct CompletionsCommand {
    /// The shell
    shell: KnownShell,
}

/// `sheaf docs config`
#[derive(Debug, Args)]
pub struct ConfigCommand {
    /// Whose
    of: Daemon,
}

/// Shells that completions are made for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum KnownShell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// Who has a configuration file.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Daemon {
    /// /etc/sheaf/agent.toml
    Agent,
    /// /etc/sheaf/coordinator.toml
    Coordinator,
}

impl DocsCommand {
    /// Runs it to its end.
    ///
    /// # Errors
    /// When something cannot be written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Man(command) => write_pages(&command.into)?,
            Self::Completions(command) => output::say(&completions(command.shell))?,
            Self::Config(command) => output::say(match command.of {
                Daemon::Agent => AGENT,
                Daemon::Coordinator => COORDINATOR,
            })?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn completions(shell: KnownShell) -> String {
    let shell = match shell {
        KnownShell::Bash => Shell::Bash,
        KnownShell::Zsh => Shell::Zsh,
        KnownShell::Fish => Shell::Fish,
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Sheaf::command(), "sheaf", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn write_pages(into: &Path) -> anyhow::Result<()> {
    for page in verbs::pages(Sheaf::command()).into_iter().chain(formats()) {
        let folder = into.join(format!("man{}", page.section()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let file = folder.join(page.file_name());
        fs::write(&file, page.text()).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// The pages of section 5.
fn formats() -> Vec<Page> {
    let mut agent = Page::new("sheaf-agent.toml", 5, "configuration of the sheaf agent");
    agent.heading("FILES");
    agent.term("**/etc/sheaf/agent.toml**", "what `sheaf agent` takes unless `--config` names another file");
    sample::write(AGENT, &mut agent);
    agent.see_also("sheaf-agent(1), sheaf-agent-run(1), sheaf-agent-check(1), sheaf-coordinator.toml(5)");

    let mut coordinator = Page::new("sheaf-coordinator.toml", 5, "configuration of the sheaf coordinator");
    coordinator.heading("FILES");
    coordinator
        .term("**/etc/sheaf/coordinator.toml**", "what `sheaf coordinator` takes unless `--config` names another file");
    sample::write(COORDINATOR, &mut coordinator);
    coordinator.see_also("sheaf-coordinator(1), sheaf-coordinator-init(1), sheaf-agent.toml(5)");

    let mut bundle = Page::new("sheaf-bundle", 5, "the format of support bundles");
    // The rooms are for those who read the source.
    let text = markdown::without(&markdown::module_text(BUNDLE), "The rooms");
    markdown::write(&text, &mut bundle);
    bundle.see_also("sheaf-bundle-verify(1), sheaf-bundle-extract(1), tar(1), zstd(1), b3sum(1)");

    let mut collectors = Page::new("sheaf-collectors", 5, "what the sheaf agent collects, and how to declare more");
    markdown::write(COLLECTORS, &mut collectors);
    collectors.see_also("sheaf-agent-check(1), sheaf-agent-collect(1), sheaf-agent.toml(5), sheaf-bundle(5)");
    vec![agent, coordinator, bundle, collectors]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_and_every_format_has_a_page() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_pages(folder.path()).expect("written");
        for page in ["man1/sheaf.1", "man1/sheaf-agent.1", "man1/sheaf-agent-run.1", "man1/sheaf-bundle-stored-list.1"]
        {
            assert!(folder.path().join(page).is_file(), "{page}");
        }
        for page in ["sheaf-agent.toml.5", "sheaf-coordinator.toml.5", "sheaf-bundle.5", "sheaf-collectors.5"] {
            let text = fs::read_to_string(folder.path().join("man5").join(page)).expect(page);
            assert!(text.starts_with(".TH ") && text.contains("\n.SH NAME\n"), "{page}: {text}");
        }
    }

    #[test]
    fn the_page_of_the_format_is_the_modules_own_text() {
        let pages = formats();
        let text = pages.iter().find(|page| page.file_name() == "sheaf-bundle.5").expect("the page").text();
        for words in ["Verify before you rely on it", ".SH THE SEAL", "wrong signer", "28 B5 2F FD"] {
            assert!(text.contains(words), "{words}");
        }
        for other in ["THE ROOMS", "pub mod", "[`"] {
            assert!(!text.contains(other), "{other}");
        }
    }

    #[test]
    fn completions_know_the_verbs() {
        for shell in [KnownShell::Bash, KnownShell::Zsh, KnownShell::Fish] {
            let text = completions(shell);
            assert!(text.contains("quickstart") && text.contains("access-info"), "{shell:?}");
        }
    }
}
