//! The server certificates of both listeners: made or brought, replaced in time while connections stand, and watched to their end.
//!
//! Our own CA signs new ones when two thirds of their life are over, and is renewed itself when two thirds of its own are; a brought one is read again from its files, regularly and at a
//! reload. Connections that stand keep what they have. How long each certificate is good is known to the metrics, and the log
//! warns before an end that nobody here can put off. What cannot be used never replaces what can.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use tracing::{info, warn};

use super::{SetupError, publish, read};
use crate::clock::{Clock, rfc3339};
use crate::coordinator::config::{BroughtTls, CoordinatorConfig};
use crate::coordinator::endpoints::Endpoints;
use crate::coordinator::pki::{self, Names, Pki};
use crate::net::tls::{self, H2_AND_H1, Identity, TlsHandle, server_config};
use crate::report;
use crate::shutdown::Shutdown;

const DAY_MS: i64 = 86_400_000;
/// How long before its end a brought certificate is warned about at most; a short-lived one in the last quarter of its life.
const BROUGHT: i64 = 21 * DAY_MS;
/// How long before its end a CA is warned about that could not be renewed: whoever trusts it has to be brought another one.
const AUTHORITY: i64 = 180 * DAY_MS;

/// What server certificates are made of.
#[derive(Clone, Debug)]
struct Source {
    tls: Option<BroughtTls>,
    names: Vec<String>,
}

impl Source {
    fn of(config: &CoordinatorConfig) -> Self {
        let urls =
            config.external_url.as_deref().into_iter().chain(Endpoints::urls(&config.access, &config.federation));
        let urls: Vec<http::Uri> = urls.filter_map(|url| url.parse().ok()).collect();
        let hosts = urls.iter().filter_map(http::Uri::host).map(str::to_owned);
        Self { tls: config.tls.clone(), names: config.names.iter().cloned().chain(hosts).collect() }
    }
}

/// The certificates in force.
pub(super) struct Certificates {
    pki: Arc<Pki>,
    clock: Clock,
    at: [SocketAddr; 2],
    public: TlsHandle,
    agents: TlsHandle,
    /// Where people find the CA that they are to trust.
    ca_file: PathBuf,
    held: Mutex<Held>,
}

struct Held {
    source: Source,
    /// From when and until when the certificate is good, milliseconds since 1970.
    good: (i64, i64),
    /// When an end was last warned of.
    warned_ms: Option<i64>,
}

/// Settings of both listeners, and how long their certificate is good.
struct Both {
    public: Arc<ServerConfig>,
    agents: Arc<ServerConfig>,
    good: (i64, i64),
}

impl Certificates {
    /// The first ones.
    ///
    /// # Errors
    /// When they cannot be made, or brought ones cannot be used.
    pub(super) fn new(
        config: &CoordinatorConfig,
        pki: Arc<Pki>,
        clock: Clock,
        at: [SocketAddr; 2],
        ca_file: PathBuf,
    ) -> Result<Self, SetupError> {
        let source = Source::of(config);
        let Both { public, agents, good } = settings(&pki, &source, &at)?;
        pki.serves_until(good.1);
        let held = Mutex::new(Held { source, good, warned_ms: None });
        Ok(Self { pki, clock, at, public: TlsHandle::new(public), agents: TlsHandle::new(agents), ca_file, held })
    }

    /// What the public listener uses.
    pub(super) fn public(&self) -> TlsHandle {
        self.public.clone()
    }

    /// What the agents' listener uses.
    pub(super) fn agents(&self) -> TlsHandle {
        self.agents.clone()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes certificates of a new configuration.
    ///
    /// # Errors
    /// When they cannot be used, now or at all; nothing has changed then.
    pub(super) fn take(&self, config: &CoordinatorConfig) -> Result<(), SetupError> {
        self.put(Source::of(config))
    }

    fn put(&self, source: Source) -> Result<(), SetupError> {
        let both = settings(&self.pki, &source, &self.at)?;
        let (from, end) = both.good;
        let now = self.clock.now_ms();
        if now < from || now >= end {
            return Err(SetupError::OutOfTime { from: rfc3339(from), end: rfc3339(end) });
        }
        self.public.replace(both.public);
        self.agents.replace(both.agents);
        self.pki.serves_until(end);
        let mut held = self.held();
        (held.source, held.good) = (source, both.good);
        Ok(())
    }

    /// Renews CAs that are due. Listeners and files show the new certificates at once; the older ones go on being good.
    async fn renew_authorities(&self) {
        let renewed = match self.pki.renew().await {
            Ok(renewed) if renewed.is_empty() => return,
            Ok(renewed) => renewed,
            Err(error) => return warn!(reason = report::chain(&error), "a CA that is due cannot be renewed"),
        };
        let source = self.held().source.clone();
        let (own, renewed) = (source.tls.is_none(), renewed.join(", "));
        let done = self.put(source).and_then(|()| {
            if own {
                self.pki.tell(self.pki.servers_ca());
                return publish(&self.ca_file, self.pki.servers_ca().as_bytes());
            }
            Ok(())
        });
        match done {
            Ok(()) => info!(renewed, "CAs were renewed, each with the key it had: what trusts them goes on"),
            Err(error) => warn!(renewed, reason = report::chain(&error), "CAs were renewed, and are not shown yet"),
        }
    }

    /// Replaces what is due, and warns of what ends soon.
    pub(super) fn look(&self) {
        let now = self.clock.now_ms();
        let (source, good) = {
            let held = self.held();
            (held.source.clone(), held.good)
        };
        let brought = source.tls.is_some();
        if brought || pki::is_due(good, now) {
            match self.put(source) {
                Ok(()) if brought => {}
                Ok(()) => info!(until = rfc3339(self.held().good.1), "the server certificate was renewed"),
                Err(error) => warn!(reason = report::chain(&error), "the server certificate stays as it is"),
            }
        }
        let mut held = self.held();
        if held.warned_ms.is_some_and(|warned| (0..DAY_MS).contains(&(now - warned))) {
            return;
        }
        let soon = self.ending(&held, now);
        for (certificate, end) in &soon {
            let days_left = (end - now).div_euclid(DAY_MS);
            warn!(
                certificate,
                until = rfc3339(*end),
                days_left,
                "a certificate ends soon, and is not renewed by itself"
            );
        }
        held.warned_ms = (!soon.is_empty()).then_some(now);
    }

    /// Certificates whose end is near and that somebody has to replace.
    fn ending(&self, held: &Held, now: i64) -> Vec<(&'static str, i64)> {
        let (from, end) = held.good;
        let brought = held.source.tls.is_some();
        let before = |certificate: &str| match certificate {
            "server" if brought => BROUGHT.min((end - from) / 4),
            // Renewal is tried long before that, and says when it fails.
            "server" => 0,
            // Nobody sees it.
            "servers_ca" if brought => i64::MIN,
            _ => AUTHORITY,
        };
        self.pki.ends().into_iter().filter(|(name, end)| now >= end.saturating_sub(before(name))).collect()
    }

    /// Looks regularly, until the stop.
    pub(super) async fn watch(self: Arc<Self>, every: Duration, stop: Shutdown) {
        loop {
            self.renew_authorities().await;
            self.look();
            tokio::select! {
                () = stop.stopping() => return,
                () = tokio::time::sleep(every) => {}
            }
        }
    }
}

fn settings(pki: &Pki, source: &Source, at: &[SocketAddr]) -> Result<Both, SetupError> {
    let (one, other) = match &source.tls {
        Some(brought) => {
            let (chain, key) = (read(&brought.certificate)?, read(&brought.key)?);
            (Identity::from_pem(&chain, &key)?, Identity::from_pem(&chain, &key)?)
        }
        None => {
            let names = Names::of_host(source.names.iter().map(String::as_str), at);
            let one = pki.server_identity(&names)?;
            (one.copy(), one)
        }
    };
    let good = one.chain.first().and_then(tls::validity).ok_or(tls::TlsError::Certificate(None))?;
    Ok(Both {
        public: server_config(one, H2_AND_H1, Some(pki.operators_ca().as_bytes()))?,
        agents: server_config(other, H2_AND_H1, Some(pki.joins_ca().as_bytes()))?,
        good,
    })
}

#[cfg(test)]
mod tests;
