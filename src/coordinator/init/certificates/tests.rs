//! What is said before the end of a certificate that somebody brought.

use std::io;
use std::path::Path;

use tracing::subscriber::with_default;

use super::*;
use crate::coordinator::kit::{Kit, config};

/// What was logged.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("whole").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The warnings of one look.
fn warned(certificates: &Certificates) -> Vec<String> {
    let sink = Sink::default();
    let writer = sink.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(move || writer.clone()).finish();
    with_default(log, || certificates.look());
    let bytes = sink.0.lock().expect("whole").clone();
    let text = String::from_utf8(bytes).expect("text");
    text.lines().filter(|line| line.contains("ends soon")).map(str::to_owned).collect()
}

/// Brings a certificate that is good between these times.
fn bring(folder: &Path, from_ms: i64, end_ms: i64) -> BroughtTls {
    let at = |ms: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(ms.unsigned_abs());
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("names");
    (params.not_before, params.not_after) = (at(from_ms), at(end_ms));
    let key = rcgen::KeyPair::generate().expect("a key");
    let brought = BroughtTls { certificate: folder.join("chain.pem"), key: folder.join("key.pem"), ca: None };
    std::fs::write(&brought.certificate, params.self_signed(&key).expect("signed").pem()).expect("written");
    std::fs::write(&brought.key, key.serialize_pem()).expect("written");
    brought
}

#[tokio::test]
async fn a_brought_certificate_is_warned_about_before_its_end_and_once_a_day() {
    let kit = Kit::new().await;
    let pki = Arc::new(Pki::open(&kit.store(), &kit.vault(), kit.clock.clone()).await.expect("opened"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let with = |life: i64, left: i64| {
        let end = kit.clock.now_ms() + left * DAY_MS + DAY_MS / 2;
        let tls = Some(bring(folder.path(), end - life * DAY_MS, end));
        let config = CoordinatorConfig { tls, ..config(&folder) };
        let at = [config.public, config.agents];
        Certificates::new(&config, Arc::clone(&pki), kit.clock.clone(), at, folder.path().join("ca.pem")).expect("made")
    };
    for (life, left, soon) in [(365, 22, false), (365, 20, true), (365, -2, true), (8, 3, false), (8, 1, true)] {
        let said = warned(&with(life, left));
        assert_eq!(said.len(), usize::from(soon), "{left} of {life} days: {said:?}");
        if let Some(said) = said.first() {
            let days = "certificate=\"server\" until=";
            assert!(said.contains(days) && said.ends_with(&format!("days_left={left}")), "{said}");
        }
    }
    let certificates = with(365, 20);
    assert_eq!(warned(&certificates).len(), 1);
    assert!(warned(&certificates).is_empty(), "it was said today");
    kit.clock.advance(Duration::from_secs(86_400));
    assert!(warned(&certificates)[0].ends_with("days_left=19"));
    // Replaced in its place, it is read again, and nothing is left to say.
    let now = kit.clock.now_ms();
    bring(folder.path(), now - DAY_MS, now + 90 * DAY_MS);
    kit.clock.advance(Duration::from_secs(86_400));
    assert!(warned(&certificates).is_empty());
}
