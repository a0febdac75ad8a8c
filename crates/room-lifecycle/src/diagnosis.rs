//! Diagnoses why a user cannot join: the room that a reference names, what is wrong with it, and one step to fix it.
//!
//! A diagnosis is a list of findings ([`checks`]) and a verdict over them ([`verdict`], pure). Callers who may not know
//! of a room get the same answer as for a room that does not exist, before any check. A diagnosis changes nothing, with
//! one exception: if the caller may join and the room is missing, it recreates the room, as a token request would.

mod access;
mod checks;
mod grpc;
pub(crate) mod policy;
mod probe;
pub mod reference;
mod store;
pub mod verdict;

use std::{sync::Arc, time::Duration};

use chassis::{
    context,
    status::{Reason, Refusal},
};
use domain::{NestId, Owner, diagnosis::Cause};
use proto::{room::v1::Proof, types::v1::Caller};

use self::{
    access::Access,
    policy::{DIAGNOSIS_BUDGET, RETURN_RESERVE},
    store::RoomFacts,
    verdict::{Diagnosis, Findings},
};
pub use self::{
    access::{FoundTarget, Target},
    probe::Probe,
};
use crate::{
    error::Error,
    live::LiveError,
    replay::{self, Answer, Event},
    rooms::{Rooms, store::find_record},
};

/// Whether the caller may join, as far as is known before LiveKit is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinStatus {
    /// The caller would get a token.
    Admitted,
    /// An admin or an operator diagnoses the room, and does not join.
    Observer,
    Refused(Cause),
}

/// The token service's decision about the caller. `None`: the caller would get a token.
pub type Decision = Option<Reason>;

/// Diagnoses, on top of the core.
#[derive(Clone, Debug)]
pub struct Diagnoses {
    rooms: Rooms,
    probe: Probe,
    /// LiveKit's address for browsers.
    ws_url: Arc<str>,
    /// The address of the web pages, if it is known.
    app_url: Option<Arc<str>>,
    /// How long the caller waits until a missing room is recreated.
    recreate_timeout: Duration,
    /// How long stored events are kept.
    events_keep: time::Duration,
}

/// What diagnoses need from the settings.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    pub livekit: &'a chassis::config::LiveKit,
    pub app_url: Option<&'a str>,
    pub probe_timeout: Duration,
    pub recreate_timeout: Duration,
    pub events_keep: time::Duration,
}

impl Diagnoses {
    pub fn new(rooms: Rooms, settings: &Settings<'_>) -> Result<Self, Error> {
        Ok(Self {
            rooms,
            probe: Probe::new(settings.livekit, settings.probe_timeout)?,
            ws_url: settings.livekit.ws_url.as_str().into(),
            app_url: settings.app_url.map(Arc::from),
            recreate_timeout: settings.recreate_timeout,
            events_keep: settings.events_keep,
        })
    }

    /// Diagnoses the room that a reference names, without a decision of the token service.
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
        let join_status = self.join_status(&access, caller, target, decision).await?;
        let mut examined = self.examine(target, &access, join_status).await?;
        if join_status == JoinStatus::Admitted
            && is_repairable(examined.cause())
            && let Some(owner) = access.owner
            && self.recreate_room(owner).await
        {
            let again = self.examine(target, &access, join_status);
            match tokio::time::timeout(
                context::remaining(DIAGNOSIS_BUDGET).saturating_sub(RETURN_RESERVE),
                again,
            )
            .await
            {
                Ok(again) => {
                    let broken = std::mem::replace(&mut examined, again?).cause();
                    examined.repaired = examined.cause() != broken;
                }
                Err(_) => examined.repaired = true, // no time left: the first findings are the answer
            }
        }
        Ok(examined.conclude(access.is_admin))
    }

    /// Refuses a repair that would not be carried out, before it counts against the rate limit. Returns whether the
    /// same signed request has repaired the room before.
    pub async fn check_repair(
        &self,
        caller: &Caller,
        proof: Option<&Proof>,
        target: Target,
    ) -> Result<bool, Error> {
        self.may_repair(caller, target).await?;
        let Some(event) = event(caller, proof, target)? else { return Ok(false) };
        Ok(replay::find_answer(&self.rooms.pool, &event).await?.is_some())
    }

    async fn may_repair(&self, caller: &Caller, target: Target) -> Result<Access, Error> {
        let access = self.access(Some(caller), target).await?.ok_or(LiveError::NoRoom)?;
        if access.is_host || access.is_admin { Ok(access) } else { Err(Error::NotHost) }
    }

    /// Reconciles the room once, for its host or an admin. Returns whether that succeeded. After a success the same
    /// signed request is not carried out again.
    pub async fn repair_target(
        &self,
        caller: &Caller,
        proof: Option<&Proof>,
        target: Target,
    ) -> Result<bool, Error> {
        let access = self.may_repair(caller, target).await?;
        let event = event(caller, proof, target)?;
        if let Some(event) = &event
            && replay::accept(&mut *self.rooms.pool.acquire().await?, event, None).await?.is_some()
        {
            return Ok(true);
        }
        let owner = access.owner.ok_or(LiveError::NotActive)?;
        let record = match find_record(&self.rooms.pool, owner.id()).await? {
            Some(record) => Some(record),
            None => self.rooms.intend(owner).await?,
        };
        let Some(record) = record else { return Ok(false) }; // another replica is writing the record
        tracing::info!(room.owner = %record.owner_id, "repair of a room requested");
        let repaired = self.rooms.reconcile(&[record.id]).await?.contains(&record.id);
        if let Some(event) = event.filter(|_| repaired) {
            replay::set_answer(&self.rooms.pool, &event, Answer::OK).await?;
        }
        Ok(repaired)
    }

    /// Runs all checks of the room.
    async fn examine(
        &self,
        target: Target,
        access: &Access,
        join_status: JoinStatus,
    ) -> Result<Findings, Error> {
        let room_facts = match access.owner {
            Some(owner) => store::find_room_facts(&self.rooms.pool, owner).await?,
            None => None,
        };
        let mut findings = Findings::new(target);
        checks::record(&mut findings, target.kind, room_facts.as_ref(), join_status, self.rooms.policy);
        match room_facts {
            Some(room_facts) if room_facts.open && !matches!(join_status, JoinStatus::Refused(_)) => {
                self.examine_livekit(&mut findings, &room_facts).await;
            }
            _ => checks::skip(&mut findings),
        }
        Ok(findings)
    }

    async fn examine_livekit(&self, findings: &mut Findings, room_facts: &RoomFacts) {
        let room = room_facts.room.as_ref();
        let name = room.map_or("greenroom-probe", |room| room.name.as_str());
        let active = room.is_some_and(checks::is_created);
        let (reached, listed, opened, phantom) = tokio::join!(
            self.probe.health(),
            self.probe.list(name),
            async { if active { Some(self.probe.validate(name, room_facts.wall).await) } else { None } },
            self.probe.validate_phantom(room_facts.wall),
        );
        let room = room.filter(|_| active);
        checks::livekit(findings, &reached, &listed, room);
        checks::token(findings, opened.as_ref(), &phantom, room.is_some() && listed.value.is_ok());
        checks::clock(findings, &reached, room_facts.wall);
        checks::browser_url(findings, &self.ws_url, self.app_url.as_deref());
        checks::webhooks(findings, room, room_facts.now, self.events_keep);
    }

    /// Creates, recreates or adopts the room, as a token request would. It continues after its caller timed out.
    /// Returns whether it succeeded in time.
    async fn recreate_room(&self, owner: Owner) -> bool {
        let rooms = self.rooms.clone();
        let making = self.rooms.run("repair by diagnosis", async move { rooms.ensure(owner, true).await });
        match tokio::time::timeout(self.recreate_timeout, making).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                tracing::info!(%error, owner.id = %owner.id(), "repair by diagnosis failed");
                false
            }
            Err(_) => false,
        }
    }
}

/// The signed request for the repair of a nest.
fn event<'a>(
    caller: &Caller,
    proof: Option<&'a Proof>,
    target: Target,
) -> Result<Option<Event<'a>>, Refusal> {
    proof.map(|proof| Event::new(proof, &caller.user_id, Some(NestId(target.id)))).transpose()
}

/// Whether the caller is an admin or one of our own services.
fn is_admin(caller: Option<&Caller>) -> bool {
    caller.is_some_and(Caller::is_privileged)
}

/// Whether a token request repairs this cause by itself.
fn is_repairable(cause: Cause) -> bool {
    matches!(cause, Cause::RoomPending | Cause::RoomMissing | Cause::SidMismatch)
}
