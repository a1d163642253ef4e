//! `sheaf quickstart`: a coordinator and agents on this host, and a bundle.
