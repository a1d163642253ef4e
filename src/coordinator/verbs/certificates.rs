//! Certificates of operators: issued for a fleet, listed, revoked.
//!
//! Who asks gets no more than what it has: its own role, in one fleet that it sees. Keys are made here, handed out once and not kept.

use serde_json::Value;

use super::{CertificateRow, Door, Place, Principal, Refusal, Role, Verbs};
use crate::coordinator::pki::ClientCertificate;
use crate::coordinator::store::Added;
use crate::protocol::kubeconfig::Kubeconfig;

/// Days that a certificate may be good.
const DAYS: std::ops::RangeInclusive<u32> = 1..=1825;
const DAY_MS: i64 = 86_400_000;

/// A certificate that was issued: the only time that its key is shown.
#[derive(Debug)]
pub struct Issued {
    /// What a list shows of it.
    pub row: CertificateRow,
    /// Certificate and key.
    pub certificate: ClientCertificate,
    /// URL of the server that it is for.
    pub server: String,
    /// The CA that the server is known by, PEM.
    pub ca: String,
}

impl Issued {
    /// The kubeconfig that holds all of it.
    pub fn kubeconfig(&self) -> Value {
        Kubeconfig {
            fleet: &self.row.fleet_name,
            user: &self.row.user,
            server: &self.server,
            ca: &self.ca,
            certificate: &self.certificate.certificate,
            key: &self.certificate.key,
        }
        .to_json()
    }
}

/// Certificates.
impl Verbs {
    /// Issues a certificate for a fleet (id or name), good for `days`. `origin` is how the caller knows this coordinator; `place`
    /// chooses the server among those configured.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] and [`Refusal::Forbidden`] as for the fleet; [`Refusal::Forbidden`] for whoever comes with a certificate;
    /// [`Refusal::Invalid`] for a fleet without federation, an unknown place, or more days than there may be or the CA has left;
    /// [`Refusal::Conflict`] when the user has too many good ones for the fleet.
    pub async fn issue_certificate(
        &self,
        who: &Principal,
        fleet: &str,
        days: u32,
        origin: &str,
        place: Option<&Place>,
    ) -> Result<Issued, Refusal> {
        let issued = self.issue(who, fleet, days, origin, place).await;
        let target = match &issued {
            Ok(issued) => format!("{fleet} {days}d {}", issued.row.serial),
            Err(_) => format!("{fleet} {days}d"),
        };
        self.recorded(who, "certificate.issue", &target, async { issued }).await
    }

    async fn issue(
        &self,
        who: &Principal,
        fleet: &str,
        days: u32,
        origin: &str,
        place: Option<&Place>,
    ) -> Result<Issued, Refusal> {
        let fleet = self.fleet_of(who, fleet).await?;
        // Else a certificate that leaked would live on in one that it got itself, and outlive its own revocation.
        if who.door == Door::Certificate {
            return Err(Refusal::Forbidden);
        }
        if !fleet.federation {
            return Err(Refusal::Invalid(format!("fleet `{}` has federation off", fleet.name)));
        }
        if !DAYS.contains(&days) {
            return Err(Refusal::Invalid(format!("a certificate is good for {} to {} days", DAYS.start(), DAYS.end())));
        }
        let server = self.rooms.endpoints.server(origin, place)?;
        let now = self.rooms.clock.now_ms();
        let expires_ms = now + i64::from(days) * DAY_MS;
        let left = self.rooms.pki.operators_end_ms() - now;
        if i64::from(days) * DAY_MS > left {
            return Err(Refusal::Invalid(format!(
                "the CA itself is good for {} more days, and no certificate of it for longer",
                left.max(0) / DAY_MS
            )));
        }
        let certificate = self.rooms.pki.operator_certificate(&who.name, expires_ms);
        let certificate = certificate.map_err(|e| Refusal::internal("a certificate cannot be made", &e))?;
        let row = CertificateRow {
            serial: certificate.serial.clone(),
            user: who.name.clone(),
            role: who.role,
            fleet: fleet.id,
            fleet_name: fleet.name,
            created_ms: now,
            expires_ms,
            revoked_ms: None,
        };
        let most = self.rooms.endpoints.federation.certificates;
        match self.rooms.store.add_certificate(row.clone(), most).await? {
            Added::Yes => {}
            Added::NoOwner => return Err(Refusal::Forbidden),
            Added::TooMany => {
                return Err(Refusal::Conflict(format!(
                    "`{}` has {most} good certificates for fleet `{}` already; revoke some first",
                    row.user, row.fleet_name
                )));
            }
        }
        Ok(Issued { row, certificate, server, ca: self.rooms.pki.told_ca() })
    }

    /// Certificates, the latest first: all, or one fleet's (id or name). An admin sees everybody's within reach, others their own.
    ///
    /// # Errors
    /// As for the fleet.
    pub async fn certificates(&self, who: &Principal, fleet: Option<&str>) -> Result<Vec<CertificateRow>, Refusal> {
        self.watched(who, "certificate.list", fleet.unwrap_or_default(), async {
            who.needs(Role::Viewer)?;
            let fleet = match fleet {
                None => None,
                Some(key) => Some(self.fleet_of(who, key).await?.id),
            };
            let rows = self.rooms.store.certificates(fleet).await?;
            Ok(rows.into_iter().filter(|row| may_see(who, row)).collect())
        })
        .await
    }

    /// Revokes a certificate by its serial number, for good.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], also for one that the caller does not see.
    pub async fn revoke_certificate(&self, who: &Principal, serial: &str) -> Result<CertificateRow, Refusal> {
        self.recorded(who, "certificate.revoke", serial, async {
            who.needs(Role::Viewer)?;
            let absent = || Refusal::not_found("certificate", serial);
            let key = serial.replace(':', "").to_ascii_lowercase();
            self.rooms.store.certificate(&key).await?.filter(|row| may_see(who, row)).ok_or_else(absent)?;
            self.rooms.store.revoke_certificate(&key, self.rooms.clock.now_ms()).await?.ok_or_else(absent)
        })
        .await
    }

    /// The time, for whoever tells what is over.
    pub fn now_ms(&self) -> i64 {
        self.rooms.clock.now_ms()
    }
}

fn may_see(who: &Principal, row: &CertificateRow) -> bool {
    row.user == who.name || (who.role == Role::Admin && who.sees_fleet(row.fleet))
}
