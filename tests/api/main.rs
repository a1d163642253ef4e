//! The public APIs through real listeners: each dialect's words, its errors, and the races on what is good only once.

mod canary;
mod director;
mod house;
mod identity;
mod logs;
mod native;
mod node;
mod reach;
mod tasks;
mod ucs;
mod vcenter;
