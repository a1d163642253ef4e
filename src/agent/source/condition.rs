//! Conditions: whether this node has what a collector, a command or a request wants before anything of it is touched.
//!
//! What is wanted comes from collectors; what goes out is a reason for people, or none. Asking never waits longer than a file system or
//! systemd is given to answer, and changes nothing.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::collector::When;
use super::command;
use super::http;
use super::mounts::Mounts;
use super::units;
use crate::agent::host::{Host, Touch};

/// Bytes that systemd may say of one unit's state.
const STATE_BYTES: u64 = 1 << 10;
/// What stands among the capabilities that a program needs which looks at its own user.
pub(super) const ROOT: &str = "root";

/// What a node is asked for its conditions.
#[derive(Clone, Copy)]
pub(super) struct Conditions<'a> {
    pub host: &'a Host,
    pub mounts: &'a Mounts,
    /// Where programs are looked up.
    pub path: &'a [PathBuf],
}

impl Conditions<'_> {
    /// What a condition wants and this node does not have; where the agent only may not, with the file that would let it.
    pub(super) fn missing(&self, when: &When, grant: Option<&Path>) -> Option<String> {
        if let Some(wanted) = &when.path_exists
            && self.resolve(wanted).is_err()
        {
            // A unit with PrivateDevices= sees none of its host's devices.
            return Some(match wanted.starts_with("/dev") && grant.is_some() {
                true => granted(format!("{} is not there, or kept from the agent", wanted.display()), grant),
                false => format!("{} is not there", wanted.display()),
            });
        }
        if let Some(wanted) = &when.command_exists
            && !self.has_program(wanted)
        {
            return Some(format!("`{wanted}` is not installed"));
        }
        if let Some(unit) = &when.unit_active {
            match self.state(unit) {
                Ok(state) if state == "active" || state == "reloading" => {}
                Ok(state) => return Some(format!("{unit} is {state}")),
                Err(reason) => return Some(format!("{unit} cannot be asked for: {reason}")),
            }
        }
        self.unheard(when.socket_listens.as_ref()?, grant)
    }

    /// Why none of these sockets can be asked. Nothing is said to whoever listens.
    pub(super) fn unheard(&self, sockets: &[PathBuf], grant: Option<&Path>) -> Option<String> {
        if !self.host.is_own() {
            return Some("another root than / is read: its sockets are nobody's".to_owned());
        }
        let mut denied = None;
        for socket in sockets {
            match http::knock(socket) {
                // Who has more callers waiting than it takes is there.
                Ok(_) | Err(Errno::AGAIN) => return None,
                Err(Errno::ACCESS | Errno::PERM) => denied = denied.or(Some(socket)),
                Err(_) => {}
            }
        }
        let names: Vec<_> = sockets.iter().map(|socket| socket.display().to_string()).collect();
        Some(denied.map_or_else(
            || format!("nothing listens on {}", names.join(" or ")),
            |socket| granted(format!("the agent may not ask {}", socket.display()), grant),
        ))
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

/// The capabilities that a command needs and would not have, and the file that would give them.
pub(super) fn lacking(needs: &[String], grant: Option<&Path>) -> Option<String> {
    if needs.iter().any(|name| name == ROOT) && !rustix::process::geteuid().is_root() {
        return Some("wants to be run by root, which the agent is not".to_owned());
    }
    let needs = needs.iter().filter(|name| *name != ROOT);
    let lacks = |name: &&String| command::capability(name).is_none_or(|one| !holds(one));
    let lacking: Vec<&str> = needs.filter(lacks).map(String::as_str).collect();
    let reason = || format!("needs {}, which the agent does not have", lacking.join(" and "));
    (!lacking.is_empty()).then(|| granted(reason(), grant))
}

/// A reason that somebody can do something about, with what that is.
pub(super) fn granted(reason: String, grant: Option<&Path>) -> String {
    match grant {
        Some(file) => format!("{reason}: see {}", file.display()),
        None => reason,
    }
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
        Conditions { host: &host, mounts: &mounts, path: &path }.missing(&when, Some(Path::new("/x.conf")))
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
        let device = "/dev/none is not there, or kept from the agent: see /x.conf";
        assert_eq!(missing("path_exists = \"/dev/none\""), Some(device.to_owned()));
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
    fn one_socket_that_somebody_listens_on_is_enough() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        let when =
            |names: &[&str]| format!("socket_listens = {:?}", names.iter().map(|name| at(name)).collect::<Vec<_>>());
        let missing = |names: &[&str]| missing(Path::new("/"), &when(names));
        let _heard = std::os::unix::net::UnixListener::bind(at("heard")).expect("bound");
        drop(std::os::unix::net::UnixListener::bind(at("dead")).expect("bound"));
        assert_eq!(missing(&["dead", "heard"]), None);
        let (dead, none) = (at("dead"), at("none"));
        let reason = format!("nothing listens on {} or {}", dead.display(), none.display());
        assert_eq!(missing(&["dead", "none"]), Some(reason));
        std::fs::set_permissions(at("heard"), std::os::unix::fs::PermissionsExt::from_mode(0o000)).expect("chmod");
        if !rustix::process::geteuid().is_root() {
            let reason = format!("the agent may not ask {}: see /x.conf", at("heard").display());
            assert_eq!(missing(&["dead", "heard"]), Some(reason));
        }
    }

    #[test]
    fn what_a_command_needs_is_asked_of_the_agent() {
        assert_eq!(lacking(&[], None), None);
        let root = lacking(&[ROOT.to_owned()], Some(Path::new("/x.conf")));
        let is_root = rustix::process::geteuid().is_root();
        assert_eq!(root, (!is_root).then(|| "wants to be run by root, which the agent is not".to_owned()));
        let all = rustix::thread::capabilities(None).map(|sets| sets.effective).unwrap_or(CapabilitySet::empty());
        let needs = ["CAP_SYS_BOOT".to_owned()];
        if rustix::process::geteuid().is_root() && all.contains(CapabilitySet::SYS_BOOT) {
            assert_eq!(lacking(&needs, None), None);
        } else {
            let reason = "needs CAP_SYS_BOOT, which the agent does not have";
            assert_eq!(lacking(&needs, None), Some(reason.to_owned()));
            let granted = lacking(&needs, Some(Path::new("/x.conf")));
            assert_eq!(granted, Some(format!("{reason}: see /x.conf")));
        }
    }
}
