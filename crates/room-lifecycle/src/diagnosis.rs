//! Why somebody cannot get in: what a reference names, what is wrong with that room, and one step to set it right.
//!
//! A diagnosis is findings ([`checks`]) and a verdict over them ([`verdict`], pure). Nobody is told anything of a room
//! that he may not know: he gets the very answer of a room that does not exist, before anything is looked at. It
//! changes nothing, but for whoever may come in and finds the room missing: that is what a token request would do too.

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

/// How long a diagnosis waits for parts of itself (the gateway waits 2 s for everything), and any answer for what goes on
/// without it.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// What LiveKit may take before it counts as silent.
    pub look: Duration,
    /// What a room that is missing may take to be made anew while its caller waits.
    pub remake: Duration,
    /// What LiveKit may take to delete a room or to remove a participant while an answer waits for it.
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

/// What the gateway waits for everything, and what of it is kept for the way back.
const BUDGET: Duration = Duration::from_secs(2);
const SPARE: Duration = Duration::from_millis(100);

/// Whether the caller may come in, as far as is known before LiveKit is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// He would get a token.
    Admitted,
    /// He does not want to: an admin or an operator looks at the room.
    Observer,
    Refused(Cause),
}

/// What the token service says of the caller: None, he would get one.
pub type Decision = Option<Reason>;

impl Rooms {
    /// Whatever the reference leads to, for somebody who does not want to come in.
    pub async fn diagnose_reference(&self, caller: &Caller, reference: &str) -> Result<Diagnosis, Error> {
        match self.find_target(Some(caller), reference).await? {
            None => Ok(verdict::not_known(is_admin(Some(caller)))),
            Some(FoundTarget::Other { names, belongs_to }) => Ok(verdict::mismatch(names, belongs_to)),
            Some(FoundTarget::Room(target)) => self.diagnose(Some(caller), target, None).await,
        }
    }

    /// Examines a room that `find_target` found for the same caller.
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
            && is_mendable(examined.cause())
            && let Some(owner) = access.owner
            && self.make_anew(owner).await
        {
            let again = self.examine(target, &access, standing);
            match tokio::time::timeout(context::remaining(BUDGET).saturating_sub(SPARE), again).await {
                Ok(again) => {
                    let broken = std::mem::replace(&mut examined, again?).cause();
                    examined.repaired = examined.cause() != broken;
                }
                Err(_) => examined.repaired = true, // what was found first is told in time
            }
        }
        Ok(examined.conclude(access.is_admin))
    }

    /// Refuses a repair that would not be carried out, before it counts as one.
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

    /// One reconcile of the room, for its host or an admin; whether it went well. A request that was signed is carried
    /// out once.
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
        let Some(record) = record else { return Ok(false) }; // somebody else is about to make it
        tracing::info!(room.owner = %record.owner_id, "a repair of the room was asked for");
        Ok(self.reconcile(&[record.id]).await?.contains(&record.id))
    }

    /// Looks at everything there is to see of the room.
    async fn examine(&self, target: Target, access: &Access, standing: Standing) -> Result<Findings, Error> {
        let ground = match access.owner {
            Some(owner) => store::diagnosis::find_ground(&self.pool, owner).await?,
            None => None,
        };
        let mut findings = Findings::new(target);
        checks::record(&mut findings, target.kind, ground.as_ref(), standing, self.policy);
        match ground {
            Some(ground) if ground.open && !matches!(standing, Standing::Refused(_)) => {
                self.examine_livekit(&mut findings, &ground).await;
            }
            _ => checks::skip(&mut findings),
        }
        Ok(findings)
    }

    async fn examine_livekit(&self, findings: &mut Findings, ground: &RoomFacts) {
        let room = ground.room.as_ref();
        let name = room.map_or("greenroom-probe", |room| room.name.as_str());
        let active = room.is_some_and(checks::is_made);
        let (reached, listed, opened, phantom) = tokio::join!(
            self.probe.health(),
            self.probe.list(name),
            async { if active { Some(self.probe.validate(name, ground.wall).await) } else { None } },
            self.probe.validate_phantom(ground.wall),
        );
        let room = room.filter(|_| active);
        checks::livekit(findings, &reached, &listed, room);
        checks::token(findings, opened.as_ref(), &phantom, room.is_some() && listed.value.is_ok());
        checks::clock(findings, &reached, ground.wall);
        checks::browser_url(findings, &self.address.ws_url, self.app_url.as_deref());
        checks::webhooks(findings, room, ground.now, self.events_keep);
    }

    /// The room as a token request would have it: made, made anew or taken over. Goes on when nobody waits any more.
    async fn make_anew(&self, owner: Owner) -> bool {
        let rooms = self.clone();
        let making = self.run("repair by diagnosis", async move { rooms.ensure(owner, true).await });
        match tokio::time::timeout(self.patience.remake, making).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                tracing::info!(%error, owner.id = %owner.id(), "a diagnosis could not set the room right");
                false
            }
            Err(_) => false,
        }
    }
}

/// Admins, and our own services.
fn is_admin(caller: Option<&Caller>) -> bool {
    caller.is_some_and(|caller| caller.is_admin || caller.system)
}

/// What a token request sets right by itself.
fn is_mendable(cause: Cause) -> bool {
    matches!(cause, Cause::RoomPending | Cause::RoomMissing | Cause::SidMismatch)
}
