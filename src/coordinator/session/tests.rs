//! The data path end to end: real routes, real engine, real format; agents are scripts.

mod asked;
mod faults;
mod hostile;
mod kit;
mod merged;
mod restarted;
