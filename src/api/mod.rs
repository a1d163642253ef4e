//! The public APIs, a room each; every room turns its dialect into calls of `coordinator::verbs` and sees no other room.

pub mod logs;
pub mod native;
pub mod vcenter;
