//! What is written for a node that joins, and what is left alone.

use super::*;

fn info(url: &str) -> AccessInfo {
    let text = |text: &str| text.to_owned();
    AccessInfo { endpoint: text(url), ca: text("CA\n"), certificate: text("C"), key: Secret::new("K") }
}

fn name(text: &str) -> NodeName {
    text.parse().expect("a name")
}

fn with(labels: &BTreeMap<String, String>, force: bool) -> Settings<'_> {
    const DIRECT: &Via = &Via { proxy: None, auth_file: None, except: Vec::new() };
    Settings { labels, host_root: Path::new("/"), via: DIRECT, force }
}

fn join(home: &Home, node: &str, url: &str, force: bool) -> Result<(), PlaceError> {
    home.plan(&name(node), &info(url), &with(&BTreeMap::new(), force))?
        .commit(Some(&Secret::new(format!("secret of {node}"))))
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn an_identity_is_written_tightly_and_works() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::new(&folder.path().join("etc/sheaf"), &folder.path().join("var"));
    let labels = BTreeMap::from([("rack".to_owned(), "7".to_owned())]);
    let plan = home.plan(&name("n1"), &info("https://c:1"), &with(&labels, false)).expect("planned");
    assert!(!home.config.exists() && !home.secret.exists(), "nothing stands before it is committed");
    plan.commit(Some(&Secret::new("s"))).expect("written");
    let config = AgentConfig::load(&home.config).expect("a configuration");
    assert_eq!((config.url.as_deref(), config.node), (Some("https://c:1"), Some(name("n1"))));
    assert_eq!((config.labels["rack"].as_str(), config.secret_file.as_path()), ("7", home.secret.as_path()));
    assert_eq!(fs::read_to_string(&home.secret).expect("the secret"), "s\n");
    for file in [&home.config, &home.ca, &home.secret] {
        assert_eq!(fs::metadata(file).expect("stat").permissions().mode() & 0o777, 0o600, "{}", file.display());
        let above = file.parent().expect("a folder");
        assert_eq!(fs::metadata(above).expect("stat").permissions().mode() & 0o777, 0o700);
    }
    assert_eq!(files(&folder.path().join("etc/sheaf")), ["agent.toml", "ca.pem"]);
    assert_eq!(files(&folder.path().join("var")), ["secret"]);
}

#[test]
fn a_plan_that_is_dropped_leaves_no_trace() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::new(&folder.path().join("etc/sheaf"), &folder.path().join("var"));
    drop(home.plan(&name("n1"), &info("https://c:1"), &with(&BTreeMap::new(), false)).expect("planned"));
    assert_eq!(files(folder.path()), Vec::<String>::new());
    // A folder in the way of the last file: what was written before it goes again.
    fs::create_dir_all(home.secret.join("x")).expect("a folder in the way");
    assert!(join(&home, "n1", "https://c:1", true).is_err());
    assert_eq!(files(&folder.path().join("var")), ["secret"]);
    assert!(!home.ca.exists() && !home.config.exists());
}

#[test]
fn another_identity_is_not_overwritten_unasked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::new(folder.path(), folder.path());
    join(&home, "n1", "https://c:1", false).expect("new");
    join(&home, "n1", "https://c:1", false).expect("the same again");
    join(&home, "n1", "https://by-another-name:1", false).expect("the same coordinator, by its CA");
    let refused = join(&home, "n2", "https://c:1", false).expect_err("another name");
    assert!(refused.to_string().contains("`n1`") && refused.to_string().contains("--force"), "{refused}");
    assert_eq!(fs::read_to_string(&home.secret).expect("the secret"), "secret of n1\n");
    fs::write(&home.ca, "another CA").expect("written");
    assert!(matches!(join(&home, "n1", "https://d:1", false), Err(PlaceError::Other { .. })), "another coordinator");
    join(&home, "n2", "https://c:1", true).expect("forced");
    assert_eq!(home.name().expect("read"), Some(name("n2")));
    fs::remove_file(&home.config).expect("removed");
    assert!(matches!(join(&home, "n2", "https://c:1", false), Err(PlaceError::Secret(_))));
}

#[test]
fn a_proxy_is_written_down_whole_and_stays_until_another_one_comes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::new(folder.path(), folder.path());
    let labels = BTreeMap::new();
    let written = |via: &Via| {
        let plan = home.plan(&name("n1"), &info("https://c:1"), &Settings { via, ..with(&labels, true) })?;
        let seen = plan.settings().clone();
        plan.commit(Some(&Secret::new("s")))?;
        let config = AgentConfig::load(&home.config).expect("a configuration");
        assert_eq!((&seen.proxy, &seen.proxy_auth_file), (&config.proxy, &config.proxy_auth_file));
        Ok::<_, PlaceError>((config.proxy, config.proxy_auth_file, config.no_proxy))
    };
    let (one, other) = ("http://one:1".to_owned(), "http://other:2".to_owned());
    let file = folder.path().join("auth");
    let except = vec!["x.example".to_owned()];
    let via = Via { proxy: Some(one.clone()), auth_file: Some(file.clone()), except: except.clone() };
    let whole = (Some(one), Some(file), except);
    assert_eq!(written(&via).expect("written"), whole);
    assert_eq!(written(&Via::default()).expect("written"), whole, "what is set stays");
    let via = Via { proxy: Some(other.clone()), ..Via::default() };
    assert_eq!(written(&via).expect("written"), (Some(other), None, Vec::new()), "all of the one before is gone");
    let via = Via { proxy: Some("https://x".to_owned()), ..Via::default() };
    assert!(matches!(written(&via), Err(PlaceError::Config(why)) if why.contains("http://HOST:PORT")));
}

#[test]
fn what_is_set_besides_stays() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::new(folder.path(), folder.path());
    fs::write(&home.config, "collect = \"off\"\nnode = \"n1\"\nurl = \"https://c:1\"\n[labels]\nrack = \"7\"\n")
        .expect("written");
    let labels = BTreeMap::from([("row".to_owned(), "2".to_owned())]);
    let settings = Settings { host_root: Path::new("somewhere"), ..with(&labels, false) };
    let plan = home.plan(&name("n1"), &info("https://c:1"), &settings).expect("planned");
    plan.commit(Some(&Secret::new("s"))).expect("written");
    let config = AgentConfig::load(&home.config).expect("a configuration");
    assert!(!config.collect && config.host_root.is_absolute());
    assert_eq!((config.labels["rack"].as_str(), config.labels["row"].as_str()), ("7", "2"));
    fs::write(&home.config, "collect = [").expect("written");
    assert!(matches!(join(&home, "n1", "https://c:1", true), Err(PlaceError::Unreadable { .. })));
}

#[test]
fn a_packages_sample_is_no_identity_and_stays_to_be_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::new(folder.path(), folder.path());
    let sample = "# About.\n\n# Whether.\n#collect = \"on\"\n\n# Bounds.\n#[limits]\n\n# So many.\n#entries = 7\n";
    fs::write(&home.config, sample).expect("written");
    let labels = BTreeMap::from([("rack".to_owned(), "7".to_owned())]);
    let plan = home.plan(&name("n1"), &info("https://c:1"), &with(&labels, false)).expect("planned");
    plan.commit(Some(&Secret::new("s"))).expect("written");
    let text = fs::read_to_string(&home.config).expect("read");
    assert!(text.contains(sample.trim_end()), "{text}");
    // Whatever is set there now is taken for what it is.
    let set = text.replace("#collect = \"on\"", "collect = \"off\"").replace("#[limits]", "[limits]");
    let config = AgentConfig::parse(&set.replace("#entries", "entries"), &home.config).expect("a configuration");
    assert_eq!((config.collect, config.limits.entries, config.labels["rack"].as_str()), (false, 7, "7"));
    assert_eq!(config.node, Some(name("n1")));
}

#[test]
fn the_agents_user_may_read_what_root_writes_for_it() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::new(&folder.path().join("etc"), &folder.path().join("var"));
    fs::create_dir(&home.state_dir).expect("made");
    std::os::unix::fs::chown(&home.state_dir, Some(65534), Some(65533)).expect("given away");
    join(&home, "n1", "https://c:1", false).expect("joined");
    let of = |file: &Path| {
        let data = fs::metadata(file).expect("stat");
        (data.uid(), data.gid(), data.permissions().mode() & 0o777)
    };
    assert_eq!(of(&home.secret), (65534, 65533, 0o600));
    for file in [&home.config, &home.ca] {
        assert_eq!(of(file), (0, 65533, 0o640), "{}", file.display());
    }
}
