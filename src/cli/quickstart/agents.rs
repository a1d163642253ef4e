//! Agents as processes of their own: this same binary, with a configuration, a secret and a log each.
//!
//! They are started after their secrets were made and end with the quickstart, whatever way that ends. Nothing here knows what
//! an agent does.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::report;
use crate::state;

/// Time an agent may take to stop when asked.
const STOP: Duration = Duration::from_secs(5);
/// Bytes of a log that are shown when its agent ended.
const TAIL: usize = 2000;

/// Where an agent's things are.
#[derive(Clone, Debug)]
pub struct Home {
    folder: PathBuf,
}

impl Home {
    /// The folder of the agent of this name; made, for its owner only.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(state: &Path, name: &str) -> anyhow::Result<Self> {
        let folder = state.join("agents").join(name);
        super::private_folder(&folder)?;
        Ok(Self { folder })
    }

    /// The file with the agent secret, which the agent replaces.
    pub fn secret(&self) -> PathBuf {
        self.folder.join("agent.secret")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("agent.log")
    }

    /// Writes the agent's configuration; the path of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, name: &str, url: &str, ca: &Path) -> anyhow::Result<PathBuf> {
        let text = |path: &Path| -> anyhow::Result<toml::Value> {
            Ok(path.to_str().context("the state folder's path is not UTF-8")?.to_owned().into())
        };
        let table = toml::Table::from_iter([
            ("node".to_owned(), name.to_owned().into()),
            ("url".to_owned(), url.to_owned().into()),
            ("ca_file".to_owned(), text(ca)?),
            ("secret_file".to_owned(), text(&self.secret())?),
            ("state_dir".to_owned(), text(&self.folder)?),
            // What this host may have configured for a real agent is not this one's.
            ("collectors_dirs".to_owned(), toml::Value::Array(Vec::new())),
        ]);
        let path = self.folder.join("agent.toml");
        state::write(&path, table.to_string().as_bytes(), 0o600)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// Agents that run.
#[derive(Default)]
pub struct Agents {
    running: Vec<Running>,
}

struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Agents {
    /// Starts one.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(&mut self, name: &str, home: &Home, config: &Path) -> anyhow::Result<()> {
        let log = home.log();
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(std::env::current_exe().context("cannot find this program's file")?)
            .args(["agent", "run", "--config"])
            .arg(config)
            // A quickstart that is killed cannot end its agents itself.
            .args(["--parent", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // The quickstart's supervisor is not the agent's.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start the agent {name}"))?;
        self.running.push(Running { name: name.to_owned(), child, log });
        Ok(())
    }

    /// That all still run.
    ///
    /// # Errors
    /// When one does not, with the end of its log.
    pub fn check(&mut self) -> anyhow::Result<()> {
        for agent in &mut self.running {
            if let Some(status) = agent.child.try_wait()? {
                bail!("the agent {} ended with {status}; its log ends so:\n{}", agent.name, tail(&agent.log));
            }
        }
        Ok(())
    }

    /// Asks all to stop, and ends those that do not.
    pub async fn stop(mut self) {
        for agent in &self.running {
            if let Some(id) = agent.child.id().and_then(|id| i32::try_from(id).ok()) {
                // One that is gone already needs no asking.
                let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
            }
        }
        let ended = futures_util::future::join_all(self.running.iter_mut().map(|agent| agent.child.wait()));
        if tokio::time::timeout(STOP, ended).await.is_err() {
            for agent in &mut self.running {
                let _ = agent.child.kill().await;
            }
        }
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(TAIL)..]).into_owned();
    text.lines().map(|line| format!("  {}\n", report::escape(line))).collect()
}
