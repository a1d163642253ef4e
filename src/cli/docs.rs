//! `sheaf docs`: man pages, completions and sample configurations of both programs, out of the code that they are about.
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
use clap::{Args, Command, CommandFactory as _, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::agent::program;
use super::output;
use super::tree::Sheaf;
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
  sheaf docs man --into man --of sheaf-agent && man man/man5/sheaf-agent.toml.5

The verbs of `sheaf agent` have the pages of the program sheaf-agent, which are the same.")]
    Man(ManCommand),
    /// Print the completions for a shell
    #[command(after_help = "Examples:
  sheaf docs completions bash > ~/.local/share/bash-completion/completions/sheaf
  sheaf docs completions bash --of sheaf-agent > ~/.local/share/bash-completion/completions/sheaf-agent
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
    /// Only the pages of this program [default: both]
    #[arg(long, value_name = "PROGRAM")]
    of: Option<Program>,
}

/// `sheaf docs completions`
#[derive(Debug, Args)]
pub struct CompletionsCommand {
    /// The shell
    shell: KnownShell,
    /// The program
    #[arg(long, value_name = "PROGRAM", default_value = "sheaf")]
    of: Program,
}

/// `sheaf docs config`
#[derive(Debug, Args)]
pub struct ConfigCommand {
    /// Whose
    of: Daemon,
}

/// What is installed, each with pages and completions of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Program {
    /// Everything
    Sheaf,
    /// The verbs of a node
    SheafAgent,
}

impl Program {
    const ALL: [Self; 2] = [Self::Sheaf, Self::SheafAgent];

    fn tree(self) -> Command {
        match self {
            Self::Sheaf => Sheaf::command(),
            Self::SheafAgent => program::tree(),
        }
    }

    fn pages(self) -> Vec<Page> {
        let mut pages = verbs::pages(self.tree());
        match self {
            // A page has one file, whichever program has the verb.
            Self::Sheaf => {
                pages.retain(|page| !page.file_name().starts_with("sheaf-agent"));
                pages.extend([coordinator_config(), bundle_format()]);
            }
            Self::SheafAgent => pages.extend([agent_config(), collector_files()]),
        }
        pages
    }
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
            Self::Man(command) => write_pages(&command.into, command.of)?,
            Self::Completions(command) => output::say(&completions(command.shell, command.of))?,
            Self::Config(command) => output::say(match command.of {
                Daemon::Agent => AGENT,
                Daemon::Coordinator => COORDINATOR,
            })?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn completions(shell: KnownShell, program: Program) -> String {
    let shell = match shell {
        KnownShell::Bash => Shell::Bash,
        KnownShell::Zsh => Shell::Zsh,
        KnownShell::Fish => Shell::Fish,
    };
    let mut text = Vec::new();
    let mut tree = program.tree();
    let name = tree.get_name().to_owned();
    clap_complete::generate(shell, &mut tree, name, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn write_pages(into: &Path, only: Option<Program>) -> anyhow::Result<()> {
    let programs = Program::ALL.into_iter().filter(|program| only.is_none_or(|only| only == *program));
    for page in programs.flat_map(Program::pages) {
        let folder = into.join(format!("man{}", page.section()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let file = folder.join(page.file_name());
        fs::write(&file, page.text()).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn agent_config() -> Page {
    let mut agent = Page::new("sheaf-agent.toml", 5, "configuration of the sheaf agent");
    agent.heading("FILES");
    agent.term("**/etc/sheaf/agent.toml**", "what `sheaf-agent` takes unless `--config` names another file");
    sample::write(AGENT, &mut agent);
    agent.see_also("sheaf-agent(1), sheaf-agent-run(1), sheaf-agent-check(1), sheaf-coordinator.toml(5)");
    agent
}

fn coordinator_config() -> Page {
    let mut coordinator = Page::new("sheaf-coordinator.toml", 5, "configuration of the sheaf coordinator");
    coordinator.heading("FILES");
    coordinator
        .term("**/etc/sheaf/coordinator.toml**", "what `sheaf coordinator` takes unless `--config` names another file");
    sample::write(COORDINATOR, &mut coordinator);
    coordinator.see_also("sheaf-coordinator(1), sheaf-coordinator-init(1), sheaf-agent.toml(5)");
    coordinator
}

fn bundle_format() -> Page {
    let mut bundle = Page::new("sheaf-bundle", 5, "the format of support bundles");
    // The rooms are for those who read the source.
    let text = markdown::without(&markdown::module_text(BUNDLE), "The rooms");
    markdown::write(&text, &mut bundle);
    bundle.see_also("sheaf-bundle-verify(1), sheaf-bundle-extract(1), tar(1), zstd(1), b3sum(1)");
    bundle
}

fn collector_files() -> Page {
    let mut collectors = Page::new("sheaf-collectors", 5, "what the sheaf agent collects, and how to declare more");
    markdown::write(COLLECTORS, &mut collectors);
    collectors.see_also("sheaf-agent-check(1), sheaf-agent-collect(1), sheaf-agent.toml(5), sheaf-bundle(5)");
    collectors
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_verb_and_every_format_has_a_page() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_pages(folder.path(), None).expect("written");
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
    fn no_page_is_of_two_programs_and_the_agents_name_their_program() {
        let names = |program: Program| program.pages().iter().map(Page::file_name).collect::<BTreeSet<_>>();
        let (whole, agent) = (names(Program::Sheaf), names(Program::SheafAgent));
        assert!(whole.is_disjoint(&agent), "{:?}", whole.intersection(&agent));
        assert!(agent.contains("sheaf-agent-run.1") && whole.contains("sheaf-coordinator-run.1"), "{agent:?}");
        for page in Program::SheafAgent.pages().iter().filter(|page| page.section() == 1) {
            assert!(!page.text().contains("sheaf agent"), "{}", page.text());
        }
    }

    #[test]
    fn the_page_of_the_format_is_the_modules_own_text() {
        let page = bundle_format();
        let text = page.text();
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
            let text = completions(shell, Program::Sheaf);
            assert!(text.contains("quickstart") && text.contains("access-info"), "{shell:?}");
            let text = completions(shell, Program::SheafAgent);
            assert!(text.contains("host-root") && !text.contains("quickstart"), "{shell:?}");
        }
    }
}
