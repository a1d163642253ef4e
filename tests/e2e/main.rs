//! End to end: real processes of the real binary, on real TLS sockets, over fixture host roots.

mod join;
mod kit;

mod budget;
mod canary;
mod full_disk;
mod history;
mod partial;
mod pressure;
mod quickstart;
mod reload;
mod resume;
mod tasks;
mod trust;
mod unready;
mod windows;
