//! Where a node that joins keeps its identity: configuration, CA and agent secret, written whole or not at all.
//!
//! Places for the three files are taken before the access info is traded, so that an agent secret never comes to a node that cannot
//! keep it. What an administrator has set besides stays. All files are their owner's alone; the secret goes to whoever owns the
//! state folder, since that is who runs the agent, and may read the other two through its group.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::agent::config::AgentConfig;
use crate::agent::program;
use crate::id::NodeName;
use crate::protocol::join::AccessInfo;
use crate::report;
use crate::secret::Secret;
use crate::state;

/// Why an identity is not written.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// This node is somebody already.
    #[error(
        "{} makes this node `{}` at {}; --force joins it anew as another", path.display(), report::brief(node, 80), report::brief(url, 200)
    )]
    Other {
        /// The configuration.
        path: PathBuf,
        /// Its `node`.
        node: String,
        /// Its `url`.
        url: String,
    },
    /// There is an agent secret and nothing that says whose.
    #[error("there is an agent secret in {} already; --force replaces it", .0.display())]
    Secret(PathBuf),
    /// The configuration that is there cannot be read.
    #[error("{} is no configuration that can be kept: {why}; --force does not help, mend or move it", path.display())]
    Unreadable {
        /// The configuration.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What would be written is no good configuration.
    #[error("the configuration would not work: {0}")]
    Config(String),
    /// A path that cannot stand in a configuration.
    #[error("the path {} is not UTF-8", .0.display())]
    Path(PathBuf),
    /// The file system says no.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
}

/// By way of which proxy the coordinator is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Via {
    /// `http://HOST:PORT`; without one, what is set stays.
    pub proxy: Option<String>,
    /// File with its `USER:PASSWORD`.
    pub auth_file: Option<PathBuf>,
    /// What is reached without it.
    pub except: Vec<String>,
}

/// What is set besides the identity.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Labels, added to those that are set.
    pub labels: &'a BTreeMap<String, String>,
    /// The root that is read.
    pub host_root: &'a Path,
    /// The proxy.
    pub via: &'a Via,
    /// Whether another identity is overwritten.
    pub force: bool,
}

/// The files of a node's identity.
#[derive(Clone, Debug)]
pub struct Home {
    /// The configuration.
    pub config: PathBuf,
    /// The coordinator's CA.
    pub ca: PathBuf,
    /// The agent secret.
    pub secret: PathBuf,
    state_dir: PathBuf,
}

impl Home {
    /// In these folders.
    pub fn new(config_dir: &Path, state_dir: &Path) -> Self {
        Self {
            config: config_dir.join("agent.toml"),
            ca: config_dir.join("ca.pem"),
            secret: state_dir.join("secret"),
            state_dir: state_dir.to_owned(),
        }
    }

    /// What the configuration that is there says, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn earlier(&self) -> Result<Option<Table>, PlaceError> {
        let unreadable =
            |why: String| PlaceError::Unreadable { path: self.config.clone(), why: report::brief(&why, 300) };
        match fs::read_to_string(&self.config) {
            Ok(text) => text.parse().map(Some).map_err(|error: toml::de::Error| unreadable(error.message().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }

    /// The name by which this node is configured.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub fn name(&self) -> Result<Option<NodeName>, PlaceError> {
        Ok(self.earlier()?.and_then(|table| table.get("node")?.as_str()?.parse().ok()))
    }

    /// Whether this node has joined by that name, and has its secret.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub fn is_of(&self, name: &NodeName) -> Result<bool, PlaceError> {
        Ok(self.name()?.as_ref() == Some(name) && self.secret.exists())
    }

    /// Takes the places for a new identity. Nothing that is there changes until it is committed; dropped, it leaves no trace.
    ///
    /// # Errors
    /// When this node is somebody else already, or the places cannot be had.
    pub fn plan(&self, name: &NodeName, info: &AccessInfo, settings: &Settings<'_>) -> Result<Plan, PlaceError> {
        let earlier = self.earlier()?;
        if !settings.force {
            self.refuse_another(earlier.as_ref(), name, info)?;
        }
        let mut config = earlier.clone().unwrap_or_default();
        let root = settings.host_root;
        let paths = [
            ("ca_file", &*self.ca),
            ("secret_file", &self.secret),
            ("state_dir", &self.state_dir),
            ("host_root", root),
        ];
        for (key, path) in paths {
            // Not said where it goes without saying.
            if path == Path::new("/") {
                continue;
            }
            let absolute = std::path::absolute(path).map_err(|error| PlaceError::Write(path.to_owned(), error))?;
            let text = absolute.to_str().ok_or_else(|| PlaceError::Path(path.to_owned()))?;
            config.insert(key.to_owned(), text.to_owned().into());
        }
        config.insert("node".to_owned(), name.to_string().into());
        config.insert("url".to_owned(), info.endpoint.clone().into());
        if !settings.labels.is_empty() {
            let mut all = config.get("labels").and_then(Value::as_table).cloned().unwrap_or_default();
            all.extend(settings.labels.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))));
            config.insert("labels".to_owned(), all.into());
        }
        settings.via.write(&mut config)?;
        let parsed = AgentConfig::parse(&config.to_string(), &self.config);
        let parsed = parsed.map_err(|error| PlaceError::Config(error.to_string()))?;
        let mut plan = Plan {
            home: self.clone(),
            earlier,
            config,
            parsed,
            ca_text: info.ca.clone(),
            made: Vec::new(),
            files: Vec::new(),
            undo: Vec::new(),
        };
        plan.take_places()?;
        Ok(plan)
    }

    /// Who owns the state folder, where root joins for somebody else.
    fn agent(&self) -> Option<Agent> {
        let owner = fs::metadata(&self.state_dir).ok().filter(|owner| owner.uid() != 0)?;
        nix::unistd::geteuid().is_root().then(|| Agent { user: Some(owner.uid()), group: owner.gid() })
    }

    fn refuse_another(&self, earlier: Option<&Table>, name: &NodeName, info: &AccessInfo) -> Result<(), PlaceError> {
        // A configuration that names no node and no coordinator is a package's, or settings that were put there before.
        let Some(earlier) = earlier.filter(|table| table.contains_key("node") || table.contains_key("url")) else {
            return if self.secret.exists() { Err(PlaceError::Secret(self.secret.clone())) } else { Ok(()) };
        };
        let text = |key: &str| earlier.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        // The same coordinator may be reached by another name.
        let same_coordinator =
            text("url") == info.endpoint || fs::read_to_string(&self.ca).is_ok_and(|ca| ca == info.ca);
        if text("node") == name.as_str() && same_coordinator {
            return Ok(());
        }
        let or = |text: String, none: &str| if text.is_empty() { none.to_owned() } else { text };
        let (node, url) = (or(text("node"), "(no name)"), or(text("url"), "no coordinator"));
        Err(PlaceError::Other { path: self.config.clone(), node, url })
    }
}

/// An identity that is about to be written.
#[derive(Debug)]
pub struct Plan {
    home: Home,
    earlier: Option<Table>,
    config: Table,
    parsed: AgentConfig,
    ca_text: String,
    /// Folders that were made for it, outermost first.
    made: Vec<PathBuf>,
    /// Where each file is written, and where it will stand.
    files: Vec<(PathBuf, PathBuf)>,
    /// Files that stand where there was none.
    undo: Vec<PathBuf>,
}

impl Via {
    fn write(&self, config: &mut Table) -> Result<(), PlaceError> {
        let Some(proxy) = &self.proxy else { return Ok(()) };
        config.insert("proxy".to_owned(), proxy.as_str().into());
        // What belonged to another proxy goes with it.
        for key in ["proxy_auth_file", "no_proxy"] {
            config.remove(key);
        }
        if let Some(file) = &self.auth_file {
            let absolute = std::path::absolute(file).map_err(|error| PlaceError::Write(file.clone(), error))?;
            let text = absolute.to_str().ok_or_else(|| PlaceError::Path(file.clone()))?;
            config.insert("proxy_auth_file".to_owned(), text.into());
        }
        if !self.except.is_empty() {
            config.insert("no_proxy".to_owned(), self.except.clone().into());
        }
        Ok(())
    }
}

impl Plan {
    /// The configuration as it will be.
    pub fn settings(&self) -> &AgentConfig {
        &self.parsed
    }

    fn take_places(&mut self) -> Result<(), PlaceError> {
        for path in [&self.home.ca, &self.home.secret, &self.home.config].map(Clone::clone) {
            let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
            self.make(&folder)?;
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
            let temporary = folder.join(name);
            let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
            opened.map_err(|error| PlaceError::Write(path.clone(), error))?;
            self.files.push((temporary, path));
        }
        Ok(())
    }

    fn make(&mut self, folder: &Path) -> Result<(), PlaceError> {
        let missing: Vec<_> = folder
            .ancestors()
            .take_while(|above| !above.as_os_str().is_empty() && !above.exists())
            .map(Path::to_owned)
            .collect();
        state::folder(folder).map_err(|error| PlaceError::Write(folder.to_owned(), error))?;
        self.made.extend(missing.into_iter().rev());
        Ok(())
    }

    /// The configuration's text. A file that sets nothing, such as a package's sample, stays below it, to be read.
    fn config_text(&self) -> String {
        let head =
            format!("# Written by `{} join`; what else is set here stays when it joins again.", program::called());
        let sample = self.earlier.as_ref().filter(|earlier| earlier.is_empty());
        let sample = sample.and_then(|_| fs::read_to_string(&self.home.config).ok()).unwrap_or_default();
        if sample.trim().is_empty() {
            return format!("{head}\n{}", self.config);
        }
        // What is set there later is a key of the file, and not of its last table.
        let (mut keys, mut tables) = (Table::new(), Table::new());
        for (key, value) in &self.config {
            let part = if value.is_table() { &mut tables } else { &mut keys };
            part.insert(key.clone(), value.clone());
        }
        format!("{head}\n{keys}\n{}\n\n{tables}", sample.trim_end()).trim_end().to_owned() + "\n"
    }

    /// Writes it. Without a secret, the one that is there stays.
    ///
    /// # Errors
    /// When something cannot be written; nothing has changed then.
    pub fn commit(mut self, secret: Option<&Secret>) -> Result<(), PlaceError> {
        let config = self.config_text();
        let secret = secret.map(|secret| zeroize::Zeroizing::new(format!("{}\n", secret.expose())));
        let same = self.earlier.as_ref() == Some(&self.config);
        let agent = self.home.agent();
        let contents = [
            Some(self.ca_text.as_bytes()),
            secret.as_ref().map(|s| s.as_bytes()),
            (!same).then_some(config.as_bytes()),
        ];
        let work: Vec<_> = self.files.iter().cloned().zip(contents).collect();
        for ((temporary, path), content) in &work {
            let Some(content) = content else { continue };
            let owner =
                agent.map(|agent| if path == &self.home.secret { agent } else { Agent { user: None, ..agent } });
            fill(temporary, content, owner).map_err(|error| PlaceError::Write(path.clone(), error))?;
        }
        let mut standing = Vec::new();
        for ((temporary, path), content) in work {
            if content.is_none() {
                continue;
            }
            let is_new = !path.exists();
            fs::rename(&temporary, &path).map_err(|error| PlaceError::Write(path.clone(), error))?;
            if is_new {
                self.undo.push(path.clone());
            }
            standing.push(path);
        }
        // It stands: nothing is taken back any more.
        (self.undo, self.made) = (Vec::new(), Vec::new());
        for folder in standing.iter().filter_map(|path| path.parent()) {
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(|error| PlaceError::Write(folder.to_owned(), error))?;
        }
        Ok(())
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        for path in self.files.iter().map(|(temporary, _)| temporary).chain(&self.undo) {
            let _ = fs::remove_file(path);
        }
        for folder in self.made.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Who runs the agent, where that is not who joins it.
#[derive(Clone, Copy, Debug)]
struct Agent {
    /// Nobody where a file is only for its group to read.
    user: Option<u32>,
    group: u32,
}

/// Writes a file that is there, and gives it to whoever is to have it.
fn fill(path: &Path, content: &[u8], owner: Option<Agent>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(content)?;
    if let Some(Agent { user, group }) = owner {
        fchown(&file, user, Some(group))?;
        if user.is_none() {
            file.set_permissions(Permissions::from_mode(0o640))?;
        }
    }
    file.sync_all()
}

#[cfg(test)]
mod tests;
