//! An admin or the participant changes what a participant may do. The change is saved first, and then LiveKit is
//! aligned with it. An outage of LiveKit does not refuse the request: the mark that is saved with the change repeats
//! the alignment later.

use chassis::db::retry_on_contention;
use domain::{NestId, NestRole, Owner, Source};
use proto::room::v1::Proof;

use super::{
    NestError, Nests, policy,
    store::{self, Participant},
};
use crate::{
    error::Error,
    replay::{self, Answer, Event, Once},
    rooms::ensure::Work,
};

/// The requested change of a participant.
#[derive(Clone, Debug, Default)]
pub struct PermissionChange {
    pub participant: String,
    pub can_publish: Option<bool>,
    pub mute_microphone: Option<bool>,
    pub is_admin: Option<bool>,
}

/// The role of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Always an admin.
    Host,
    Admin,
    Other,
}

/// Caller and participant of a change.
#[derive(Clone, Copy, Debug)]
struct Parties {
    by: By,
    is_self: bool,
    participant: NestRole,
}

impl Nests {
    /// Changes what a participant may do. Returns whether anything changed. The same signed request again returns
    /// what it returned, and does nothing.
    pub async fn set_permissions(
        &self,
        caller: &str,
        proof: &Proof,
        nest: NestId,
        change: &PermissionChange,
    ) -> Result<bool, Error> {
        let event = Event::new(proof, caller, Some(nest))?;
        let changed =
            match retry_on_contention(|| self.save_permissions(&event, caller, nest, change)).await? {
                Once::New(changed) => changed,
                Once::Answered(answer) => return Ok(answer == Answer::ACCEPTED),
            };
        if changed {
            self.rooms.apply_to_livekit(Owner::Nest(nest), Work::Reconcile).await;
        }
        let Some(muted) = change.mute_microphone else { return Ok(changed) };
        let changed = match self
            .rooms
            .mute(Owner::Nest(nest), &change.participant, Source::Microphone, muted)
            .await
        {
            Ok(done) => done || changed,
            // Part of the request was carried out: a failure would suggest that nothing changed.
            Err(error) if changed => {
                tracing::warn!(%error, nest.id = %nest, "participant's permissions changed, microphone was not muted");
                true
            }
            Err(error) => return Err(error), // without an answer, so that the same request is carried out again
        };
        let answer = replay::set_answer(&self.rooms.pool, &event, Answer::of_change(changed)).await?;
        Ok(answer == Answer::ACCEPTED)
    }

    async fn save_permissions(
        &self,
        event: &Event<'_>,
        caller: &str,
        nest: NestId,
        change: &PermissionChange,
    ) -> Result<Once<bool>, Error> {
        let mut transaction = match replay::begin(&self.rooms.pool, Some(event), None).await? {
            Once::New(transaction) => transaction,
            Once::Answered(answer) => return Ok(Once::Answered(answer)),
        };
        let host = store::lock_nest(&mut *transaction, nest).await?.ok_or(NestError::NoNest)?;
        let keys = [caller.to_owned(), change.participant.clone()];
        let found = store::list_participants(&mut *transaction, nest, &keys).await?;
        let role = |key: &str| found.iter().find(|one| one.pubkey == key).map(Participant::role);
        let (Some(by), Some(participant)) = (role(caller), role(&change.participant)) else {
            return Err(NestError::NotInNest.into());
        };
        let by = match by.is_admin() {
            _ if host == caller => By::Host,
            true => By::Admin,
            false => By::Other,
        };
        let parties = Parties { by, is_self: caller == change.participant, participant };
        let wanted = decide(parties, change)?;
        let changed = wanted != participant;
        if changed {
            let watch = is_less(wanted, participant).then_some(policy::WATCHED);
            store::set_role(&mut *transaction, nest, &change.participant, wanted, watch).await?;
        }
        // A mute follows after the commit, and its outcome is part of the answer.
        if change.mute_microphone.is_none() {
            replay::set_answer(&mut *transaction, event, Answer::of_change(changed)).await?;
        }
        transaction.commit().await?;
        Ok(Once::New(changed))
    }
}

/// Decides the participant's new role. Admins may change every participant, and participants may stop speaking. Only
/// the host may appoint or remove admins, and not the host itself. From others that part of the change is ignored, as
/// clients expect.
fn decide(parties: Parties, change: &PermissionChange) -> Result<NestRole, NestError> {
    let stops_speaking = parties.is_self && change.can_publish == Some(false);
    if parties.by == By::Other && !stops_speaking {
        return Err(NestError::NotAllowed);
    }
    let may_set_admin = parties.by == By::Host && !parties.is_self;
    let is_admin = change.is_admin.filter(|_| may_set_admin).unwrap_or(parties.participant.is_admin());
    let is_speaker = change.can_publish.unwrap_or(parties.participant.is_speaker());
    Ok(NestRole::of(is_admin, is_speaker))
}

/// Whether rights are taken away that older tokens still grant.
fn is_less(wanted: NestRole, had: NestRole) -> bool {
    let (wanted, had) = (wanted.grants(), had.grants());
    wanted.publish.len() < had.publish.len() || (had.data && !wanted.data)
}

#[cfg(test)]
#[path = "permissions_tests.rs"]
mod tests;
