//! TLS settings of both ends: rustls on ring, TLS 1.2 and 1.3, no other provider.
//!
//! Certificates and keys come from callers as PEM; configurations go to listeners and clients. The provider is always
//! passed explicitly, so nothing here depends on, or touches, the process default. It never reads a file.

use std::sync::{Arc, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::secret::hex;

/// HTTP/2 and HTTP/1.1, in the order in which we like them.
pub const H2_AND_H1: &[&[u8]] = &[b"h2", b"http/1.1"];
/// HTTP/2 alone: the agents' conversation.
pub const H2: &[&[u8]] = &[b"h2"];
/// HTTP/1.1 alone.
pub const H1: &[&[u8]] = &[b"http/1.1"];

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The text holds no certificate that can be read.
    #[error("no readable certificate in the PEM text")]
    Certificate(#[source] Option<rustls_pki_types::pem::Error>),
    /// The text holds no private key that can be read.
    #[error("no readable private key in the PEM text")]
    Key(#[source] rustls_pki_types::pem::Error),
    /// A certificate that is no usable root, or no client certificates can be checked with it.
    #[error("the CA certificates cannot be used")]
    Roots(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Key and certificate do not belong together, or rustls refuses them.
    #[error("certificate and key cannot be used")]
    Refused(#[from] rustls::Error),
}

/// A certificate chain, leaf first, and its private key.
#[derive(Debug)]
pub struct Identity {
    /// The chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// The same once more.
    pub fn copy(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }

    /// Reads a chain and a key out of PEM texts.
    ///
    /// # Errors
    /// When either text holds none.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(Self { chain: certificates(chain)?, key: PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)? })
    }
}

/// All certificates of a PEM text; at least one.
///
/// # Errors
/// When there is none, or one cannot be read.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|e| TlsError::Certificate(Some(e)))?;
    if chain.is_empty() { Err(TlsError::Certificate(None)) } else { Ok(chain) }
}

/// A certificate's serial number in hexadecimal, by which our own certificates are known; `None` when it is none.
pub fn serial(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(hex(certificate.raw_serial()))
}

/// From when and until when a certificate is good, milliseconds since 1970; `None` when it is none.
pub fn validity(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let validity = certificate.validity();
    Some((validity.not_before.timestamp() * 1000, validity.not_after.timestamp() * 1000))
}

/// A server's settings. With `clients` (PEM), a certificate of those CAs is asked for and checked when given, but none is
/// required: who may do what is decided per request.
///
/// # Errors
/// When certificates and key cannot be used.
pub fn server_config(
    identity: Identity,
    alpn: &[&[u8]],
    clients: Option<&[u8]>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(pem)?), provider())
                .allow_unauthenticated()
                .build()
                .map_err(|e| TlsError::Roots(e.into()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(identity.chain, identity.key)?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    // Early data can be replayed, and none of our calls is worth that.
    config.max_early_data_size = 0;
    // Nor is a session resumed: connections last, a fleet's sessions fit into no cache, and what is not kept is not stolen.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// A client's settings: trusts the CAs in `ca` (PEM) and nothing else.
///
/// # Errors
/// When no CA can be read.
pub fn client_config(ca: &[u8], alpn: &[&[u8]]) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca)?)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// The same with a certificate of its own to show.
///
/// # Errors
/// When CA, certificate or key cannot be used.
pub fn client_config_with(ca: &[u8], identity: Identity, alpn: &[&[u8]]) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca)?)
        .with_client_auth_cert(identity.chain, identity.key)?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// A listener's settings that can be replaced while it serves; cheap to clone. Connections that stand keep what they have.
#[derive(Clone, Debug)]
pub struct TlsHandle(Arc<RwLock<Arc<ServerConfig>>>);

impl TlsHandle {
    /// Starts with `config`.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }

    /// What the next handshake uses.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Replaces it for all later handshakes.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = config;
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem)? {
        store.add(certificate).map_err(|e| TlsError::Roots(e.into()))?;
    }
    Ok(store)
}
