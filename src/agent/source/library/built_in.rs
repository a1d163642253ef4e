//! The collectors that are compiled in: the TOML files in `src/agent/collectors`, each of which says why it is there.
//!
//! Cheap state is on by default. What is heavy, or says what people did, runs only where a request names it.

/// Their texts, by name.
pub(super) const BUILT_IN: &[&str] = &[
    include_str!("../../collectors/audit.toml"),
    include_str!("../../collectors/cloud-init.toml"),
    include_str!("../../collectors/containers.toml"),
    include_str!("../../collectors/ethtool.toml"),
    include_str!("../../collectors/kernel.toml"),
    include_str!("../../collectors/kubernetes.toml"),
    include_str!("../../collectors/logs.toml"),
    include_str!("../../collectors/network.toml"),
    include_str!("../../collectors/packages.toml"),
    include_str!("../../collectors/packages-history.toml"),
    include_str!("../../collectors/processes.toml"),
    include_str!("../../collectors/storage.toml"),
    include_str!("../../collectors/system.toml"),
    include_str!("../../collectors/systemd.toml"),
    include_str!("../../collectors/time.toml"),
];
