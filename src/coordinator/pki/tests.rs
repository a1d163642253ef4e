//! Certificates as other libraries read them.

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::*;
use crate::coordinator::kit::Kit;

async fn open(kit: &Kit) -> Pki {
    Pki::open(&kit.store(), &kit.vault(), kit.clock.clone()).await.expect("opened")
}

#[tokio::test]
async fn authorities_are_apart_and_stay() {
    let kit = Kit::new().await;
    let pki = open(&kit).await;
    let all = [pki.servers_ca(), pki.operators_ca(), pki.joins_ca()];
    assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
    for pem in &all {
        let der = crate::net::tls::certificates(pem.as_bytes()).expect("PEM").remove(0);
        let (_, certificate) = X509Certificate::from_der(&der).expect("a certificate");
        assert!(certificate.is_ca());
        let usage = certificate.key_usage().expect("readable").expect("there").value;
        assert!(usage.key_cert_sign() && !usage.digital_signature());
        assert_eq!(
            certificate.basic_constraints().expect("readable").expect("there").value.path_len_constraint,
            Some(0)
        );
        certificate.verify_signature(None).expect("signed by itself");
    }
    let before = all;
    let seal = pki.seal().public();
    let kit = kit.restarted().await;
    let after = open(&kit).await;
    assert_eq!(before, [after.servers_ca(), after.operators_ca(), after.joins_ca()]);
    assert!(seal == after.seal().public());
}

#[tokio::test]
async fn a_server_certificate_has_all_names_and_one_use() {
    let kit = Kit::new().await;
    let pki = open(&kit).await;
    let configured = ["sheaf.example.org", "10.1.2.3", "[fd00::7]", "no name", "sheaf.example.org"];
    let listening = [([10, 9, 8, 7], 1).into()];
    let names = Names::of_host(configured.into_iter(), &listening);
    let identity = pki.server_identity(&names).expect("made");
    let (_, certificate) = X509Certificate::from_der(&identity.chain[0]).expect("a certificate");
    let alt = certificate.subject_alternative_name().expect("readable").expect("there").value;
    let mut found: Vec<String> = Vec::new();
    for name in &alt.general_names {
        match name {
            GeneralName::DNSName(name) => found.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => found.push(match <[u8; 4]>::try_from(*bytes) {
                Ok(v4) => IpAddr::from(v4).to_string(),
                Err(_) => IpAddr::from(<[u8; 16]>::try_from(*bytes).expect("16 bytes")).to_string(),
            }),
            other => panic!("{other:?}"),
        }
    }
    for name in ["sheaf.example.org", "localhost", "127.0.0.1", "::1", "10.1.2.3", "fd00::7", "10.9.8.7"] {
        assert_eq!(found.iter().filter(|f| *f == name).count(), 1, "{name} in {found:?}");
    }
    assert!(!found.iter().any(|name| name.contains(' ')));
    let usage = certificate.extended_key_usage().expect("readable").expect("there").value;
    assert!(usage.server_auth && !usage.client_auth && !certificate.is_ca());
    let validity = certificate.validity();
    let now = kit.clock.now().as_second();
    assert!(
        validity.not_before.timestamp() <= now - 86_400 + 86_400 && validity.not_after.timestamp() > now + 80 * 86_400
    );
    let ca = crate::net::tls::certificates(pki.servers_ca().as_bytes()).expect("PEM").remove(0);
    let (_, ca) = X509Certificate::from_der(&ca).expect("a certificate");
    certificate.verify_signature(Some(ca.public_key())).expect("signed by the servers' CA");
}

#[test]
fn a_listener_on_any_address_is_reached_by_those_of_the_host() {
    let names = Names::of_host([].into_iter(), &[([0, 0, 0, 0], 1).into()]);
    assert!(names.addresses.contains(&IpAddr::from([127, 0, 0, 1])));
    assert!(!names.addresses.iter().any(IpAddr::is_unspecified));
    assert!(names.dns.contains(&"localhost".to_owned()));
}

#[test]
fn renewal_comes_before_the_end() {
    let due = |day: i64| is_due((0, 90 * 86_400_000), day * 86_400_000);
    assert!(!due(0) && !due(59) && due(60) && due(89) && due(100));
    assert!(due(-2), "a clock that was ahead when it was made");
    assert!(is_due((0, 0), 0) && is_due((i64::MIN, i64::MAX), 0));
}

#[tokio::test]
async fn a_server_certificate_does_not_outlive_its_ca() {
    let kit = Kit::new().await;
    let pki = open(&kit).await;
    let ca_end = pki.authority(Purpose::Servers).good.1;
    kit.clock
        .advance(Duration::from_millis((ca_end - kit.clock.now_ms()).unsigned_abs()) - Duration::from_secs(86_400 * 3));
    let identity = pki.server_identity(&Names::of_host(["x"].into_iter(), &[])).expect("made");
    let (_, end) = crate::net::tls::validity(&identity.chain[0]).expect("a certificate");
    assert_eq!(end, ca_end);
}

fn parsed(der: &CertificateDer<'_>) -> (Vec<u8>, Vec<u8>, String) {
    let (_, certificate) = X509Certificate::from_der(der).expect("a certificate");
    let key = certificate.public_key().raw.to_vec();
    (certificate.subject().as_raw().to_vec(), key, hex(certificate.raw_serial()))
}

#[tokio::test]
async fn authorities_are_renewed_in_time_under_the_name_and_key_they_had() {
    let kit = Kit::new().await;
    let pki = open(&kit).await;
    let old = Purpose::ALL.map(|purpose| pki.authority(purpose));
    let issued = pki.operator_certificate("alice", kit.clock.now_ms() + 86_400_000).expect("made");
    assert_eq!(pki.renew().await.expect("looked at"), Vec::<&str>::new(), "nothing is due");
    let days = |days: u64| Duration::from_secs(86_400 * days);
    kit.clock.advance(days(2440));
    assert_eq!(pki.renew().await.expect("renewed"), ["ca.servers", "ca.operators", "ca.joins"]);
    assert_eq!(pki.renew().await.expect("looked at"), Vec::<&str>::new(), "once");
    for (old, purpose) in old.iter().zip(Purpose::ALL) {
        let new = pki.authority(purpose);
        let ((subject, key, serial), then) = (parsed(&new.der), parsed(&old.der));
        assert_eq!((subject, key), (then.0, then.1), "who trusts the older one trusts what the newer one signs");
        assert_ne!(serial, then.2);
        assert!(new.good.0 > old.good.0 && new.good.1 - old.good.1 > 2400 * 86_400_000, "{:?}", new.good);
        let (_, certificate) = X509Certificate::from_der(&new.der).expect("a certificate");
        certificate.verify_signature(None).expect("signed by itself");
        let constraints = certificate.basic_constraints().expect("readable").expect("there").value;
        assert!(constraints.ca && constraints.path_len_constraint == Some(0));
        let usage = certificate.key_usage().expect("readable").expect("there").value;
        assert!(usage.key_cert_sign() && !usage.digital_signature());
    }
    let issued = crate::net::tls::certificates(issued.certificate.as_bytes()).expect("PEM").remove(0);
    let (_, issued) = X509Certificate::from_der(&issued).expect("a certificate");
    let operators = pki.authority(Purpose::Operators);
    let (_, operators) = X509Certificate::from_der(&operators.der).expect("a certificate");
    issued.verify_signature(Some(operators.public_key())).expect("what was issued before stays good");
    let told = pki.servers_ca();
    let kit = kit.restarted().await;
    assert_eq!(open(&kit).await.servers_ca(), told, "it is kept");
    // Another hand on the same state had the older one still, and takes what stands.
    kit.clock.advance(days(2440));
    let (one, other) = (open(&kit).await, &pki);
    other.renew().await.expect("renewed");
    assert_eq!(one.servers_ca(), other.servers_ca());
}
