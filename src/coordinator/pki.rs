//! The coordinator's own keys: a CA each for servers, operators and joins, and the key that seals bundles.
//!
//! All are made at the first start and kept in the state, sealed under the master key. A CA signs for its own purpose only, and
//! each listener trusts only the one that is meant for it. A CA's certificate is made anew when two thirds of its life are over, with the
//! key and the name that it had: what it signed stays good, and so does the older certificate in the hands of whoever trusts it, to its end
//! and, for agents, who go by name and key, beyond. Server certificates are short-lived and made anew at every start and in time,
//! for all names by which this host may be reached. No private key leaves this room but to TLS and to the assembler.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::ToSpan as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::store::vault::{Vault, VaultError};
use super::store::{Store, StoreError};
use crate::bundle::seal::{SealError, SealKey};
use crate::clock::Clock;
use crate::net::tls::Identity;
use crate::secret::{Secret, hex, random_bytes};

/// Days of a CA, and of a server certificate.
const CA_DAYS: i64 = 3650;
const SERVER_DAYS: i64 = 90;
/// Addresses of this host in its certificate at most.
const ADDRESSES: usize = 64;

/// Why keys or certificates cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The state fails.
    #[error("the keys cannot be kept")]
    Store(#[from] StoreError),
    /// Sealed with another master key.
    #[error("the keys cannot be opened")]
    Vault(#[from] VaultError),
    /// A certificate cannot be made.
    #[error("a certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
    /// What was kept is no key.
    #[error("`{0}` in the state holds no key")]
    Stored(&'static str),
    /// The seal's key is no key.
    #[error("the seal's key cannot be used")]
    Seal(#[from] SealError),
}

/// What a CA signs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Servers,
    Operators,
    Joins,
}

impl Purpose {
    const ALL: [Self; 3] = [Self::Servers, Self::Operators, Self::Joins];

    fn name(self) -> &'static str {
        match self {
            Self::Servers => "ca.servers",
            Self::Operators => "ca.operators",
            Self::Joins => "ca.joins",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Servers => "sheaf servers CA",
            Self::Operators => "sheaf operators CA",
            Self::Joins => "sheaf joins CA",
        }
    }
}

/// A CA: its certificate, and the key that only this room uses.
struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    key: Zeroizing<String>,
    /// From when and until when it is good, milliseconds since 1970.
    good: (i64, i64),
    /// As it is kept.
    sealed: Vec<u8>,
}

/// A client certificate with its key: what is handed out, once.
#[derive(Debug)]
pub struct ClientCertificate {
    /// Its serial number, by which alone it is known.
    pub serial: String,
    /// The certificate, PEM.
    pub certificate: String,
    /// Its private key, PEM.
    pub key: Secret,
    /// Until when it is good, milliseconds since 1970.
    pub expires_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    certificate: String,
    key: Zeroizing<String>,
}

/// The coordinator's keys.
pub struct Pki {
    store: Store,
    vault: Vault,
    servers: RwLock<Arc<Authority>>,
    operators: RwLock<Arc<Authority>>,
    joins: RwLock<Arc<Authority>>,
    /// What people and agents are told to trust.
    told: RwLock<String>,
    seal: Arc<SealKey>,
    /// The end of the certificate that the listeners show, milliseconds since 1970.
    serving_end: AtomicI64,
    clock: Clock,
}

impl Pki {
    /// The keys of the state; those that are not there yet are made.
    ///
    /// # Errors
    /// When they cannot be kept or opened.
    pub async fn open(store: &Store, vault: &Vault, clock: Clock) -> Result<Self, PkiError> {
        let held =
            async |purpose| authority(store, vault, &clock, purpose).await.map(|found| RwLock::new(Arc::new(found)));
        let pki = Self {
            servers: held(Purpose::Servers).await?,
            operators: held(Purpose::Operators).await?,
            joins: held(Purpose::Joins).await?,
            told: RwLock::default(),
            seal: Arc::new(seal_key(store, vault).await?),
            serving_end: AtomicI64::new(i64::MAX),
            store: store.clone(),
            vault: vault.clone(),
            clock,
        };
        pki.renew().await?;
        pki.tell(pki.servers_ca());
        Ok(pki)
    }

    /// Makes those CAs' certificates anew whose time has come, and says which.
    ///
    /// # Errors
    /// When one cannot be made or kept; it stays as it was then.
    pub async fn renew(&self) -> Result<Vec<&'static str>, PkiError> {
        let mut renewed = Vec::new();
        for purpose in Purpose::ALL {
            let (name, old) = (purpose.name(), self.authority(purpose));
            if !is_due(old.good, self.clock.now_ms()) {
                continue;
            }
            let sealed = self.vault.seal(name, &again(&self.clock, purpose, &old)?);
            // Another coordinator on the same state may have been first: what stands counts.
            let stands = self.store.meta_swap(name, old.sealed.clone(), sealed).await?;
            let new = opened(&self.vault, name, stands)?;
            *self.place(purpose).write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
            renewed.push(name);
        }
        Ok(renewed)
    }

    fn place(&self, purpose: Purpose) -> &RwLock<Arc<Authority>> {
        match purpose {
            Purpose::Servers => &self.servers,
            Purpose::Operators => &self.operators,
            Purpose::Joins => &self.joins,
        }
    }

    fn authority(&self, purpose: Purpose) -> Arc<Authority> {
        Arc::clone(&self.place(purpose).read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The CA that people and agents are told to trust, PEM: the servers', or a brought one.
    pub fn told_ca(&self) -> String {
        self.told.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has people and agents told to trust another CA.
    pub fn tell(&self, ca: String) {
        *self.told.write().unwrap_or_else(PoisonError::into_inner) = ca;
    }

    /// The servers' CA, PEM.
    pub fn servers_ca(&self) -> String {
        self.authority(Purpose::Servers).pem.clone()
    }

    /// The CA whose client certificates the public listener trusts, PEM.
    pub fn operators_ca(&self) -> String {
        self.authority(Purpose::Operators).pem.clone()
    }

    /// The CA whose client certificates the agents' listener trusts, PEM.
    pub fn joins_ca(&self) -> String {
        self.authority(Purpose::Joins).pem.clone()
    }

    /// Notes until when the certificate that the listeners show is good.
    pub fn serves_until(&self, end_ms: i64) {
        self.serving_end.store(end_ms, Ordering::Relaxed);
    }

    /// Until when each certificate is good, milliseconds since 1970: that of the listeners, and the CAs' own.
    pub fn ends(&self) -> [(&'static str, i64); 4] {
        [
            ("server", self.serving_end.load(Ordering::Relaxed)),
            ("servers_ca", self.authority(Purpose::Servers).good.1),
            ("operators_ca", self.authority(Purpose::Operators).good.1),
            ("joins_ca", self.authority(Purpose::Joins).good.1),
        ]
    }

    /// Until when the operators' CA is good, milliseconds since 1970: no certificate of it outlives it.
    pub fn operators_end_ms(&self) -> i64 {
        self.authority(Purpose::Operators).good.1
    }

    /// A new certificate for a user, good from now to `expires_ms`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn operator_certificate(&self, user: &str, expires_ms: i64) -> Result<ClientCertificate, PkiError> {
        self.client_certificate(&self.authority(Purpose::Operators), user, expires_ms)
    }

    /// A new certificate by which nodes of a cluster join, good from now to `expires_ms`, or to its CA's end.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn join_certificate(&self, cluster: &str, expires_ms: i64) -> Result<ClientCertificate, PkiError> {
        let joins = self.authority(Purpose::Joins);
        self.client_certificate(&joins, cluster, expires_ms.min(joins.good.1))
    }

    fn client_certificate(
        &self,
        authority: &Authority,
        subject: &str,
        expires_ms: i64,
    ) -> Result<ClientCertificate, PkiError> {
        let issuer = Issuer::from_ca_cert_der(&authority.der, KeyPair::from_pem(&authority.key)?)?;
        let key = KeyPair::generate()?;
        // The days are replaced: a client's certificate ends to the second when it was said that it would.
        let mut params = params(&self.clock, 1, subject);
        end_at(&mut params, expires_ms);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let serial = params.serial_number.as_ref().map(|serial| hex(serial.as_ref())).unwrap_or_default();
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok(ClientCertificate { serial, certificate, key: Secret::new(key.serialize_pem()), expires_ms })
    }

    /// The key that seals bundles.
    pub fn seal(&self) -> Arc<SealKey> {
        Arc::clone(&self.seal)
    }

    /// A new server certificate for `names` and its key.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn server_identity(&self, names: &Names) -> Result<Identity, PkiError> {
        let servers = self.authority(Purpose::Servers);
        let issuer = Issuer::from_ca_cert_der(&servers.der, KeyPair::from_pem(&servers.key)?)?;
        let key = KeyPair::generate()?;
        let mut params = params(&self.clock, SERVER_DAYS, names.dns.first().map_or("sheaf", String::as_str));
        // What outlives its CA is good for nothing.
        let planned = params.not_after;
        end_at(&mut params, servers.good.1);
        params.not_after = params.not_after.min(planned);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = names.subject_alt_names()?;
        let certificate = params.signed_by(&key, &issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Identity { chain: vec![certificate.der().clone()], key })
    }
}

/// Has a certificate end at `ms`, to the second.
fn end_at(params: &mut CertificateParams, ms: i64) {
    params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(ms / 1000).unwrap_or(0));
}

async fn authority(store: &Store, vault: &Vault, clock: &Clock, purpose: Purpose) -> Result<Authority, PkiError> {
    let name = purpose.name();
    let sealed = match store.meta(name).await? {
        Some(sealed) => sealed,
        None => store.meta_once(name, vault.seal(name, &new_authority(clock, purpose)?)).await?,
    };
    opened(vault, name, sealed)
}

fn opened(vault: &Vault, name: &'static str, sealed: Vec<u8>) -> Result<Authority, PkiError> {
    let plain = vault.open_sealed(name, &sealed)?;
    let stored: Stored = serde_json::from_slice(&plain).map_err(|_| PkiError::Stored(name))?;
    let der = crate::net::tls::certificates(stored.certificate.as_bytes())
        .ok()
        .and_then(|chain| chain.into_iter().next())
        .ok_or(PkiError::Stored(name))?;
    let good = crate::net::tls::validity(&der).ok_or(PkiError::Stored(name))?;
    Ok(Authority { pem: stored.certificate, der, key: stored.key, good, sealed })
}

fn new_authority(clock: &Clock, purpose: Purpose) -> Result<Zeroizing<Vec<u8>>, PkiError> {
    let key = KeyPair::generate()?;
    // Two coordinators' CAs must not share a subject, or a client that trusts both picks the wrong one.
    let title = format!("{} {}", purpose.title(), hex(&random_bytes::<4>()));
    let params = authority_params(clock, &title);
    kept(purpose, params.self_signed(&key)?.pem(), key.serialize_pem().into())
}

fn authority_params(clock: &Clock, title: &str) -> CertificateParams {
    let mut params = params(clock, CA_DAYS, title);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// The certificate of a CA once more, from now on: name, key and uses stay.
fn again(clock: &Clock, purpose: Purpose, old: &Authority) -> Result<Zeroizing<Vec<u8>>, PkiError> {
    let key = KeyPair::from_pem(&old.key)?;
    let (_, parsed) = X509Certificate::from_der(&old.der).map_err(|_| PkiError::Stored(purpose.name()))?;
    let title = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    let params = authority_params(clock, title.ok_or(PkiError::Stored(purpose.name()))?);
    kept(purpose, params.self_signed(&key)?.pem(), old.key.clone())
}

/// A CA as it is sealed.
fn kept(purpose: Purpose, certificate: String, key: Zeroizing<String>) -> Result<Zeroizing<Vec<u8>>, PkiError> {
    let stored = Stored { certificate, key };
    serde_json::to_vec(&stored).map(Zeroizing::new).map_err(|_| PkiError::Stored(purpose.name()))
}

async fn seal_key(store: &Store, vault: &Vault) -> Result<SealKey, PkiError> {
    let name = "seal.key";
    let sealed = match store.meta(name).await? {
        Some(sealed) => sealed,
        None => store.meta_once(name, vault.seal(name, SealKey::generate().pkcs8())).await?,
    };
    Ok(SealKey::from_pkcs8(&vault.open_sealed(name, &sealed)?)?)
}

fn params(clock: &Clock, days: i64, common_name: &str) -> CertificateParams {
    let day = |offset: i64| {
        let day = clock.now().to_zoned(jiff::tz::TimeZone::UTC).date().saturating_add(offset.days());
        date_time_ymd(day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs())
    };
    let mut params = CertificateParams::default();
    // Yesterday, for nodes whose clock is behind.
    (params.not_before, params.not_after) = (day(-1), day(days));
    let mut serial = random_bytes::<16>();
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from(serial.to_vec()));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

/// The names and addresses by which this host may be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    dns: Vec<String>,
    addresses: BTreeSet<IpAddr>,
}

impl Names {
    /// All that is known: configured names, the host's own, `localhost`, the addresses listened on, and those of the host's
    /// interfaces where a listener takes any.
    pub fn of_host<'a>(configured: impl Iterator<Item = &'a str>, listening: &[SocketAddr]) -> Self {
        let mut names = Self::default();
        configured.for_each(|name| names.add(name));
        if let Ok(host) = nix::unistd::gethostname() {
            names.add(&host.to_string_lossy());
        }
        ["localhost", "127.0.0.1", "::1"].into_iter().for_each(|name| names.add(name));
        for addr in listening {
            if addr.ip().is_unspecified() {
                names.add_interfaces();
            } else {
                names.addresses.insert(addr.ip().to_canonical());
            }
        }
        names
    }

    fn add(&mut self, name: &str) {
        let name = name.trim().trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = name.parse::<IpAddr>() {
            self.addresses.insert(address);
            return;
        }
        let name = name.to_ascii_lowercase();
        let good =
            (1..=253).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-*".contains(&b));
        if good && !self.dns.contains(&name) {
            self.dns.push(name);
        }
    }

    fn add_interfaces(&mut self) {
        let Ok(networks) = sysinfo::Networks::new_with_refreshed_list() else { return };
        let all = networks.values().flat_map(sysinfo::NetworkData::ip_networks).map(|network| network.addr);
        let usable = all.filter(|address| match address {
            IpAddr::V4(v4) => !v4.is_unspecified() && !v4.is_link_local(),
            // A link-local address means nothing without the interface's name.
            IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_unicast_link_local(),
        });
        for address in usable {
            if self.addresses.len() < ADDRESSES {
                self.addresses.insert(address);
            }
        }
    }

    fn subject_alt_names(&self) -> Result<Vec<SanType>, rcgen::Error> {
        let dns = self.dns.iter().map(|name| Ok(SanType::DnsName(name.as_str().try_into()?)));
        dns.chain(self.addresses.iter().map(|address| Ok(SanType::IpAddress(*address)))).collect()
    }
}

/// Whether a certificate should be made anew: two thirds of its life are over, or a clock that was wrong made it for later.
pub fn is_due((from_ms, end_ms): (i64, i64), now_ms: i64) -> bool {
    let life = end_ms.saturating_sub(from_ms);
    now_ms < from_ms || now_ms >= from_ms.saturating_add(life / 3 * 2)
}

#[cfg(test)]
mod tests;
