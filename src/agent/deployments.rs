//! The deployments that this node keeps: which of its own collectors run for each, with which properties.
//!
//! They come from the coordinator, are checked against the node's collector files, and stay in the state folder, one file each, written
//! whole or not at all; a restarted agent reads them again. A deployment holds names and values and nothing that could be run: what they
//! come to is decided by the node's files each time it is collected.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::agent::source::Library;
use crate::id::DeploymentName;
use crate::protocol::agents::Unit;
use crate::protocol::questions::{Applied, Deployment, Kept};
use crate::{report, state};

/// Deployments of one node at most.
const MOST: usize = 64;
/// Jobs of one deployment at most.
const JOBS: usize = 256;
/// Bytes of one deployment's file at most.
const BYTES: u64 = 512 << 10;

/// Why a deployment is not taken; the former one stays in force.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Its name is none.
    #[error("a deployment's name must match [A-Za-z0-9][A-Za-z0-9._-]{{0,62}}")]
    Name,
    /// It has none, or too many, or one twice.
    #[error("{0}")]
    Jobs(String),
    /// A job cannot run here as it is written.
    #[error("job `{job}`: {problem}")]
    Job {
        /// The collector.
        job: String,
        /// What is wrong; names the property where it is one.
        problem: String,
    },
    /// There are too many.
    #[error("this node keeps {MOST} deployments already; delete one first")]
    Full,
    /// It is larger than anything that makes sense.
    #[error("the deployment's part of this node is larger than {BYTES} bytes")]
    Large,
    /// The state folder is not to be written.
    #[error("it cannot be kept in {}", .0.display())]
    State(PathBuf, #[source] io::Error),
}

/// A deployment as it is kept.
struct Entry {
    deployment: Arc<Deployment>,
    digest: String,
}

/// What is kept, in memory and in the state folder alike.
pub struct Deployments {
    folder: PathBuf,
    kept: Mutex<BTreeMap<String, Entry>>,
    /// Held while files change, so that the folder and the memory have the same order of events.
    changing: Mutex<()>,
    /// Orders that came in, kept or not.
    orders: Mutex<Orders>,
}

/// The last order for each name.
#[derive(Default)]
struct Orders {
    last: u64,
    of: BTreeMap<String, u64>,
}

impl Deployments {
    /// Reads what an earlier process kept below the state folder. What cannot be read is logged, left where it is, and not in force.
    pub fn load(state_dir: &Path) -> Self {
        let folder = state_dir.join("deployments");
        let mut kept = BTreeMap::new();
        for file in files(&folder) {
            match read(&file) {
                Ok(deployment) => {
                    let digest = deployment.digest();
                    kept.insert(deployment.name.clone(), Entry { deployment: Arc::new(deployment), digest });
                }
                Err(reason) => {
                    tracing::error!(file = %file.display(), reason, "a kept deployment cannot be read; apply it anew");
                }
            }
        }
        Self { folder, kept: Mutex::new(kept), changing: Mutex::default(), orders: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that are kept, for the hello.
    pub fn list(&self) -> Vec<Kept> {
        let kept = |(name, entry): (&String, &Entry)| Kept { name: name.clone(), digest: entry.digest.clone() };
        self.kept().iter().map(kept).collect()
    }

    /// One by its name.
    pub fn find(&self, name: &str) -> Option<Arc<Deployment>> {
        self.kept().get(name).map(|entry| Arc::clone(&entry.deployment))
    }

    /// Marks units with the jobs of kept deployments that read their journal.
    pub fn claim(&self, units: &mut [Unit], library: &Library) {
        let kept: Vec<_> = self.kept().values().map(|entry| Arc::clone(&entry.deployment)).collect();
        for deployment in kept {
            for job in &deployment.jobs {
                // One that this node cannot run any more says so where it is run.
                let Ok(collector) = library.filled(job) else { continue };
                let Ok(claimed) = collector.units() else { continue };
                let claim = format!("{}/{}", deployment.name, job.collector);
                let ours = units.iter_mut().filter(|unit| claimed.is_match(&unit.name));
                ours.for_each(|unit| unit.jobs.push(claim.clone()));
            }
        }
    }

    /// Whether exactly this is kept already.
    pub fn has(&self, deployment: &Deployment) -> bool {
        self.kept().get(&deployment.name).is_some_and(|entry| *entry.deployment == *deployment)
    }

    /// Notes that an order for a deployment came in; later ones overtake it. See [`Deployments::is_latest`].
    pub fn ordered(&self, name: &str) -> u64 {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.of.len() > MOST * 4 {
            // Names come from outside. Whoever waits for its turn finds its order gone, and gives up.
            orders.of.clear();
        }
        orders.last += 1;
        let number = orders.last;
        orders.of.insert(name.to_owned(), number);
        number
    }

    /// Whether no later order for the deployment came in.
    pub fn is_latest(&self, name: &str, order: u64) -> bool {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).of.get(name) == Some(&order)
    }

    /// Keeps a deployment that was checked, in place of the one of its name. It blocks until it is on the disk.
    ///
    /// # Errors
    /// When it cannot be kept; the former one stays in force.
    pub fn keep(&self, deployment: Deployment) -> Result<Applied, KeepError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !self.kept().contains_key(&deployment.name);
        if is_new && self.kept().len() >= MOST {
            return Err(KeepError::Full);
        }
        let path = self.file(&deployment.name)?;
        let failed = |error: io::Error| KeepError::State(self.folder.clone(), error);
        let text = serde_json::to_vec_pretty(&deployment).map_err(|error| failed(error.into()))?;
        if text.len() as u64 > BYTES {
            return Err(KeepError::Large);
        }
        state::folder(&self.folder).and_then(|()| state::write(&path, &text, 0o600)).map_err(failed)?;
        let digest = deployment.digest();
        let entry = Entry { deployment: Arc::new(deployment), digest: digest.clone() };
        self.kept().insert(entry.deployment.name.clone(), entry);
        Ok(Applied { digest, changed: true })
    }

    /// Keeps a deployment no more; `false` when it was not kept. It blocks until the disk knows.
    ///
    /// # Errors
    /// When its file cannot be removed; it stays in force then.
    pub fn forget(&self, name: &str) -> Result<bool, KeepError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.file(name)?;
        let failed = |error| KeepError::State(self.folder.clone(), error);
        match fs::remove_file(&path) {
            Ok(()) => File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        Ok(self.kept().remove(name).is_some())
    }

    fn file(&self, name: &str) -> Result<PathBuf, KeepError> {
        let name: DeploymentName = name.parse().map_err(|_| KeepError::Name)?;
        Ok(self.folder.join(format!("{name}.json")))
    }
}

/// Whether this node can run a deployment as it is written.
///
/// # Errors
/// With the job and the property that it cannot.
pub fn check(deployment: &Deployment, library: &Library) -> Result<(), KeepError> {
    let _: DeploymentName = deployment.name.parse().map_err(|_| KeepError::Name)?;
    if deployment.jobs.is_empty() || deployment.jobs.len() > JOBS {
        return Err(KeepError::Jobs(format!("it needs 1 to {JOBS} jobs on this node, not {}", deployment.jobs.len())));
    }
    let mut names = BTreeSet::new();
    for job in &deployment.jobs {
        let shown = || report::brief(&job.collector, 80);
        if !names.insert(&job.collector) {
            return Err(KeepError::Jobs(format!("job `{}` is there twice on this node", shown())));
        }
        library.filled(job).map_err(|problem| KeepError::Job { job: shown(), problem })?;
    }
    Ok(())
}

/// The files of a folder that may hold deployments.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().take(MOST * 4).filter_map(Result::ok);
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "json"));
    files.sort_unstable();
    files.truncate(MOST);
    files
}

fn read(path: &Path) -> Result<Deployment, String> {
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(BYTES).read_to_end(&mut text)).map_err(|error| error.to_string())?;
    let deployment: Deployment = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let stem = path.file_stem().unwrap_or_default();
    if deployment.name.parse::<DeploymentName>().is_err() || stem != deployment.name.as_str() {
        return Err("it is another deployment's".to_owned());
    }
    Ok(deployment)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::questions::Job;

    fn deployment(name: &str, collectors: &[&str]) -> Deployment {
        let job = |collector: &&str| Job { collector: (*collector).to_owned(), ..Job::default() };
        Deployment { name: name.to_owned(), jobs: collectors.iter().map(job).collect() }
    }

    #[test]
    fn what_is_kept_is_there_after_a_restart_and_what_is_forgotten_is_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let deployments = Deployments::load(folder.path());
        assert!(deployments.list().is_empty());
        let web = deployment("web", &["logs"]);
        let applied = deployments.keep(web.clone()).expect("kept");
        assert_eq!(applied.digest, web.digest());
        deployments.keep(deployment("db.v2", &["system"])).expect("kept");
        let again = Deployments::load(folder.path());
        assert_eq!(again.list(), deployments.list());
        assert!(again.has(&web) && !again.has(&deployment("web", &["logs", "system"])));
        assert_eq!(again.find("db.v2").expect("kept").jobs[0].collector, "system");
        assert!(again.forget("web").expect("forgotten"));
        assert!(!again.forget("web").expect("nothing to forget"));
        assert_eq!(Deployments::load(folder.path()).list().len(), 1);
    }

    #[test]
    fn units_are_claimed_by_the_jobs_that_read_their_journal() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let collector = "name = \"site\"\nversion = \"1\"\nwhy = \"A test.\"\ndefault = false\n[properties.site]\n\
                         pattern = \"[a-z]+\"\ndescription = \"Which.\"\n[[journal]]\nname = \"site\"\n\
                         units = [\"web@{{site}}\", \"proxy-*.service\"]\n";
        let file = folder.path().join("site.toml");
        fs::write(&file, collector).expect("written");
        let mode: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&file, mode).expect("chmod");
        let library = Library::load(&[folder.path().to_owned()]);
        let deployments = Deployments::load(&folder.path().join("state"));
        for (name, site) in [("one", "red"), ("two", "blue")] {
            let mut wanted = deployment(name, &["site", "system"]);
            wanted.jobs[0].properties.insert("site".to_owned(), json!(site));
            check(&wanted, &library).expect("it runs here");
            deployments.keep(wanted).expect("kept");
        }
        let names = ["web@red.service", "web@blue.service", "proxy-a.service", "ssh.service", "web@red.socket"];
        let mut units = names.map(|name| Unit { name: name.to_owned(), ..Unit::default() });
        deployments.claim(&mut units, &library);
        let claims = units.map(|unit| unit.jobs.join(" "));
        assert_eq!(claims, ["one/site", "two/site", "one/site two/site", "", ""]);
    }

    #[test]
    fn what_cannot_be_run_here_is_refused_by_job_and_property() {
        let library = Library::load(&[]);
        assert!(check(&deployment("web", &["logs", "system"]), &library).is_ok());
        let mut with_property = deployment("web", &["logs"]);
        with_property.jobs[0].properties.insert("shell".to_owned(), json!("; reboot"));
        for (wrong, expected) in [
            (deployment("../web", &["logs"]), "name must match"),
            (deployment("web", &[]), "needs 1 to 256 jobs"),
            (deployment("web", &["logs", "logs"]), "job `logs` is there twice"),
            (deployment("web", &["../etc\n"]), "job `../etc\\n`: this node declares no such collector"),
            (with_property, "job `logs`: property `shell`: collector `logs` has no such property"),
        ] {
            let error = report::chain(&check(&wrong, &library).expect_err(expected));
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_damaged_file_is_not_in_force_and_stays_for_whoever_looks() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = folder.path().join("deployments");
        fs::create_dir(&files).expect("a folder");
        fs::write(files.join("half.json"), "{\"name\": \"ha").expect("written");
        fs::write(files.join("other.json"), "{\"name\": \"web\", \"jobs\": []}").expect("written");
        fs::write(files.join("web.json.1234.tmp"), "{}").expect("written");
        let deployments = Deployments::load(folder.path());
        assert!(deployments.list().is_empty());
        deployments.keep(deployment("half", &["logs"])).expect("kept");
        assert_eq!(Deployments::load(folder.path()).list().len(), 1);
    }

    #[test]
    fn a_state_folder_that_cannot_be_written_leaves_the_former_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let deployments = Deployments::load(folder.path());
        deployments.keep(deployment("web", &["logs"])).expect("kept");
        let file = folder.path().join("deployments/web.json");
        fs::remove_file(&file).expect("removed");
        fs::create_dir(&file).expect("a folder in the way");
        let error = deployments.keep(deployment("web", &["system"])).expect_err("not kept");
        assert!(report::chain(&error).contains("it cannot be kept in"), "{error}");
        assert!(deployments.has(&deployment("web", &["logs"])));
    }

    #[test]
    fn the_number_of_deployments_is_bounded() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let deployments = Deployments::load(folder.path());
        for n in 0..MOST {
            deployments.keep(deployment(&format!("d{n}"), &["logs"])).expect("kept");
        }
        assert!(matches!(deployments.keep(deployment("more", &["logs"])), Err(KeepError::Full)));
        assert!(deployments.keep(deployment("d0", &["system"])).is_ok(), "one that is there may change");
    }

    #[test]
    fn a_later_order_overtakes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let deployments = Deployments::load(folder.path());
        let (first, other) = (deployments.ordered("web"), deployments.ordered("db"));
        assert!(deployments.is_latest("web", first));
        let second = deployments.ordered("web");
        assert!(!deployments.is_latest("web", first));
        assert!(deployments.is_latest("web", second) && deployments.is_latest("db", other));
    }
}
