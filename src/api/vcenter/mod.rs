//! The vCenter support bundle API, with its sessions and cluster list.
