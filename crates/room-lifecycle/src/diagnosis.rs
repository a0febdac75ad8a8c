//! Diagnoses why a user cannot join: what a reference names, what is wrong with that room, and one step to repair it.
//!
//! A diagnosis is findings ([`checks`]) and a verdict about them ([`verdict`], pure). Callers that may not know a room get
//! the same answer as for a room that does not exist, before anything is checked. A diagnosis changes nothing, with one
//! exception: for a caller that may join, a missing room is recreated, as a token request would do.

mod access;
mod checks;
mod grpc;
mod probe;
pub mod reference;
pub mod verdict;

use std::time::Duration;

use chassis::{context, diagnosis::Cause, status::Reason};
use domain::Owner;
use proto::{room::v1::Proof, types::v1::Caller};

use self::{
    access::Access,
    verdict::{Diagnosis, Findings},
};
pub use self::{
    access::{FoundTarget, Target},
    probe::Probe,
};
use crate::{
    Rooms,
    error::Error,
    nests::{accept, refuse_replayed},
    store::{self, diagnosis::RoomFacts},
};

/// The timeouts of a diagnosis, for which the gateway waits 2 s in all, and of answers that wait for background work.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// After this time LiveKit counts as not answering.
    pub look: Duration,
    /// How long a caller waits until a missing room is recreated.
    pub remake: Duration,
    /// The answer timeout: how long an answer waits for LiveKit to delete a room or to remove a participant.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            look: Duration::from_millis(900),
            remake: Duration::from_millis(700),
            answer: Duration::from_millis(500),
        }
    }
}

/// How long the gateway waits for a diagnosis, if the request has no deadline.
const BUDGET: Duration = Duration::from_secs(2);
/// The part of the budget that is reserved for the way back.
const RESPONSE_RESERVE: Duration = Duration::from_millis(100);

/// Whether the caller may join, as far as is known without LiveKit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They would get a token.
    Admitted,
    /// They do not want to join: an admin or an operator diagnoses the room.
    Observer,
    Refused(Cause),
}

/// The token service's decision about the caller. None: they would get a token.
pub type Decision = Option<Reason>;

impl Rooms {
    /// Diagnoses whatever the reference names, for a caller that does not want to join.
    pub async fn diagnose_reference(&self, caller: &Caller, reference: &str) -> Result<Diagnosis, Error> {
        match self.find_target(Some(caller), reference).await? {
            None => Ok(verdict::not_known(is_admin(Some(caller)))),
            Some(FoundTarget::Other { names, belongs_to }) => Ok(verdict::mismatch(names, belongs_to)),
            Some(FoundTarget::Room(target)) => self.diagnose(Some(caller), target, None).await,
        }
    }

    /// Diagnoses a room that `find_target` found for the same caller.
    pub async fn diagnose(
        &self,
        caller: Option<&Caller>,
        target: Target,
        decision: Decision,
    ) -> Result<Diagnosis, Error> {
        let Some(access) = self.access(caller, target).await? else {
            return Ok(verdict::not_known(is_admin(caller)));
        };
        let standing = self.standing(&access, caller, target, decision).await?;
        let mut examined = self.examine(target, &access, standing).await?;
        if standing == Standing::Admitted
            && is_repairable(examined.cause())
            && let Some(owner) = access.owner
            && self.recreate(owner).await
        {
            let again = self.examine(target, &access, standing);
            match tokio::time::timeout(context::remaining(BUDGET).saturating_sub(RESPONSE_RESERVE), again)
                .await
            {
                Ok(again) => {
                    let broken = std::mem::replace(&mut examined, again?).cause();
                    examined.repaired = examined.cause() != broken;
                }
                Err(_) => examined.repaired = true, // no time to check again: the first findings are the answer
            }
        }
        Ok(examined.conclude(access.is_admin))
    }

    /// Refuses a repair that would not be carried out, before it counts for the rate limit.
    pub async fn check_repair(
        &self,
        caller: &Caller,
        proof: Option<&Proof>,
        target: Target,
    ) -> Result<(), Error> {
        self.may_repair(caller, target).await?;
        match proof {
            Some(proof) => refuse_replayed(&self.pool, proof).await,
            None => Ok(()),
        }
    }

    async fn may_repair(&self, caller: &Caller, target: Target) -> Result<Access, Error> {
        let access =
            self.access(Some(caller), target).await?.ok_or(Error::Live(crate::live::LiveError::NoRoom))?;
        if access.is_host || access.is_admin { Ok(access) } else { Err(Error::NotHost) }
    }

    /// Reconciles the room once, for its host or an admin. Returns whether that succeeded. A signed request is carried out
    /// only once.
    pub async fn repair_target(
        &self,
        caller: &Caller,
        proof: Option<&Proof>,
        target: Target,
    ) -> Result<bool, Error> {
        let access = self.may_repair(caller, target).await?;
        if let Some(proof) = proof {
            accept(&mut *self.pool.acquire().await?, proof).await?;
        }
        let owner = access.owner.ok_or(Error::Live(crate::live::LiveError::NotActive))?;
        let record = match store::find_record(&self.pool, owner.id()).await? {
            Some(record) => Some(record),
            None => self.intend(owner).await?,
        };
        let Some(record) = record else { return Ok(false) }; // another request is creating it
        tracing::info!(room.owner = %record.owner_id, "repairing the room on request");
        Ok(self.reconcile(&[record.id]).await?.contains(&record.id))
    }

    /// Checks everything about the room that the caller may know.
    async fn examine(&self, target: Target, access: &Access, standing: Standing) -> Result<Findings, Error> {
        let facts = match access.owner {
            Some(owner) => store::diagnosis::find_ground(&self.pool, owner).await?,
            None => None,
        };
        let mut findings = Findings::new(target);
        checks::record(&mut findings, target.kind, facts.as_ref(), standing, self.policy);
        match facts {
            Some(facts) if facts.open && !matches!(standing, Standing::Refused(_)) => {
                self.examine_livekit(&mut findings, &facts).await;
            }
            _ => checks::skip(&mut findings),
        }
        Ok(findings)
    }

    async fn examine_livekit(&self, findings: &mut Findings, facts: &RoomFacts) {
        let room = facts.room.as_ref();
        let name = room.map_or("greenroom-probe", |room| room.name.as_str());
        let active = room.is_some_and(checks::is_made);
        let (reached, listed, opened, phantom) = tokio::join!(
            self.probe.health(),
            self.probe.list(name),
            async { if active { Some(self.probe.validate(name, facts.wall).await) } else { None } },
            self.probe.validate_phantom(facts.wall),
        );
        let room = room.filter(|_| active);
        checks::livekit(findings, &reached, &listed, room);
        checks::token(findings, opened.as_ref(), &phantom, room.is_some() && listed.value.is_ok());
        checks::clock(findings, &reached, facts.wall);
        checks::browser_url(findings, &self.address.ws_url, self.app_url.as_deref());
        checks::webhooks(findings, room, facts.now, self.events_keep);
    }

    /// Creates, recreates or adopts the room, as a token request would. Continues if the caller stops waiting.
    async fn recreate(&self, owner: Owner) -> bool {
        let rooms = self.clone();
        let making = self.run("repair by diagnosis", async move { rooms.ensure(owner, true).await });
        match tokio::time::timeout(self.patience.remake, making).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                tracing::info!(%error, owner.id = %owner.id(), "repairing a room during a diagnosis failed");
                false
            }
            Err(_) => false,
        }
    }
}

/// Whether the caller is an admin or one of our own services.
fn is_admin(caller: Option<&Caller>) -> bool {
    caller.is_some_and(|caller| caller.is_admin || caller.system)
}

/// Whether a token request repairs this cause by itself.
fn is_repairable(cause: Cause) -> bool {
    matches!(cause, Cause::RoomPending | Cause::RoomMissing | Cause::SidMismatch)
}
