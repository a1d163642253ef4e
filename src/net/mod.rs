//! Network plumbing shared by both wings: TLS, listeners, bodies, clients, proxies. No route and no policy lives here.

pub mod body;
pub mod client;
#[cfg(test)]
pub(crate) mod kit;
pub mod proxy;
pub mod serve;
pub mod tls;
