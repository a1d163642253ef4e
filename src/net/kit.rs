//! For tests: a CA made on the spot, and certificates of it.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::tls::Identity;

/// A CA.
pub struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    /// A new one.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("CA {}", uuid::Uuid::new_v4()));
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Its certificate.
    pub fn pem(&self) -> &[u8] {
        self.pem.as_bytes()
    }

    /// A certificate for `names`, good for servers and clients.
    pub fn identity(&self, names: &[&str]) -> Identity {
        let (certificate, key) = self.pem_identity(names);
        Identity::from_pem(certificate.as_bytes(), key.as_bytes()).expect("an identity")
    }

    /// The same as texts: certificate and key.
    pub fn pem_identity(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        (certificate.pem(), key.serialize_pem())
    }
}
