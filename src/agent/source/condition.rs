//! Conditions: whether this node has what a collector, a command or a request wants before anything of it is touched.
//!
//! What is wanted comes from collectors; what goes out is a reason for people, or none. Asking never waits longer than a file system or
//! systemd is given to answer, and changes nothing.

use std::path::{Path, PathBuf};

use rustix::thread::CapabilitySet;

use super::collector::When;
use super::command;
use super::mounts::Mounts;
use super::units;
use crate::agent::host::{Host, Touch};

/// Bytes that systemd may say of one unit's state.
const STATE_BYTES: u64 = 1 << 10;

/// What a node is asked for its conditions.
#[derive(Clone, Copy)]
pub(super) struct Conditions<'a> {
    pub host: &'a Host,
    pub mounts: &'a Mounts,
    /// Where programs are looked up.
    pub path: &'a [PathBuf],
}

impl Conditions<'_> {
    /// What a condition wants and this node does not have.
    pub(super) fn missing(&self, when: &When) -> Option<String> {
        if let Some(wanted) = &when.path_exists
            && self.resolve(wanted).is_err()
        {
            return Some(format!("{} is not there", wanted.display()));
        }
        if let Some(wanted) = &when.command_exists
            && !self.has_program(wanted)
        {
            return Some(format!("`{wanted}` is not installed"));
        }
        let unit = when.unit_active.as_ref()?;
        match self.state(unit) {
            Ok(state) if state == "active" || state == "reloading" => None,
            Ok(state) => Some(format!("{unit} is {state}")),
            Err(reason) => Some(format!("{unit} cannot be asked for: {reason}")),
        }
    }

    /// The path without links.
    pub(super) fn resolve(&self, path: &Path) -> std::io::Result<PathBuf> {
        let touch = |path: &Path, work: Touch| self.mounts.patiently(path, work);
        self.host.resolve_by(path, &|path| self.mounts.bar(path), &touch)
    }

    /// Whether the host has a program; another root's programs cannot be run, but say what lives there.
    fn has_program(&self, program: &str) -> bool {
        if self.host.is_own() {
            return command::find(self.path, program).is_some();
        }
        if Path::new(program).is_absolute() {
            return self.resolve(Path::new(program)).is_ok();
        }
        self.path.iter().any(|folder| self.resolve(&folder.join(program)).is_ok())
    }

    fn state(&self, unit: &str) -> Result<String, &'static str> {
        if !self.host.is_own() {
            return Err("another root than / is read");
        }
        if !units::answers(self.host) {
            return Err("systemd does not run this node");
        }
        let asked = ["show", "--property=ActiveState", "--value", "--", unit];
        let state = units::systemctl(&asked, STATE_BYTES).map(|state| state.trim().to_owned());
        // It ends at the first word: nobody's text goes on from here.
        let word = |state: &String| !state.is_empty() && state.bytes().all(|b| b.is_ascii_lowercase());
        state.filter(word).ok_or("systemd does not answer")
    }
}

/// The capabilities that a command needs and would not have.
pub(super) fn lacking(needs: &[String]) -> Option<String> {
    let lacks = |name: &&String| command::capability(name).is_none_or(|one| !holds(one));
    let lacking: Vec<&str> = needs.iter().filter(lacks).map(String::as_str).collect();
    (!lacking.is_empty()).then(|| format!("needs {}, which the agent does not have", lacking.join(" and ")))
}

/// Whether a child would have a capability: root's children get all that root has, others' what is ambient.
fn holds(one: CapabilitySet) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    let root_has = || rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(one));
    (is_root && root_has()) || rustix::thread::capability_is_in_ambient_set(one).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn missing(root: &Path, when: &str) -> Option<String> {
        let host = Host::open(root).expect("opened");
        let mounts = Mounts::of(&host, false, Duration::from_secs(5));
        let path = command::path();
        let when: When = toml::from_str(when).expect(when);
        Conditions { host: &host, mounts: &mounts, path: &path }.missing(&when)
    }

    #[test]
    fn all_of_a_condition_must_hold() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir_all(folder.path().join("usr/bin")).expect("folders");
        std::fs::write(folder.path().join("usr/bin/nginx"), "").expect("written");
        let missing = |when: &str| missing(folder.path(), when);
        assert_eq!(missing(""), None);
        assert_eq!(missing("path_exists = \"/usr/bin\"\ncommand_exists = \"nginx\""), None);
        assert_eq!(missing("path = \"/usr/bin\"\ncommand = \"nginx\""), None, "the short names mean the same");
        assert_eq!(missing("path_exists = \"/usr/sbin\""), Some("/usr/sbin is not there".to_owned()));
        let both = "path_exists = \"/usr/bin\"\ncommand_exists = \"sh\"";
        assert_eq!(missing(both), Some("`sh` is not installed".to_owned()), "the host's programs, not the agent's");
        let unit = "unit_active = \"x.service\"";
        assert_eq!(missing(unit), Some("x.service cannot be asked for: another root than / is read".to_owned()));
    }

    #[test]
    fn a_unit_that_is_not_active_is_named_with_its_state() {
        let said = missing(Path::new("/"), "unit_active = \"sheaf-no-such-unit.service\"").expect("not active");
        let expected = ["is inactive", "systemd does not run this node", "systemd does not answer"];
        assert!(expected.iter().any(|end| said.ends_with(end)), "{said}");
    }

    #[test]
    fn what_a_command_needs_is_asked_of_the_agent() {
        assert_eq!(lacking(&[]), None);
        let all = rustix::thread::capabilities(None).map(|sets| sets.effective).unwrap_or(CapabilitySet::empty());
        let needs = ["CAP_SYS_BOOT".to_owned()];
        if rustix::process::geteuid().is_root() && all.contains(CapabilitySet::SYS_BOOT) {
            assert_eq!(lacking(&needs), None);
        } else {
            assert_eq!(lacking(&needs), Some("needs CAP_SYS_BOOT, which the agent does not have".to_owned()));
        }
    }
}
