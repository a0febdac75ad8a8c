//! Finds stale participants and counts them as left. LiveKit lists them forever, because their node was killed
//! (docs/decisions/0022).
//!
//! One replica at a time probes the participants that have been quiet for longest. A probe is silent when LiveKit
//! answers that no node has the participant. After the first silence, all participants without a sign of life since
//! then are probed. A second silence, 10 s later, makes the participant stale. Silence counts only if LiveKit creates a
//! new room after it, and did so each time since the first one: while its Redis hangs, all participants are silent. A
//! timeout proves nothing. [`decide`] makes the decisions.

pub mod decide;
pub(crate) mod policy;
mod rooms;
pub(crate) mod store;

use domain::{OwnerKind, RoomId};
use futures::{StreamExt, stream};
use uuid::Uuid;

use self::{
    decide::{Due, Participant, Silence, Turn},
    policy::MOST_PROBES,
    store::{Answers, Stale},
};
use crate::{
    error::{Error, done},
    kinds,
    livekit::probe::ProbeAnswer,
    rooms::{Rooms, store::events},
};

/// The search for stale participants.
#[derive(Clone, Debug)]
pub struct StaleParticipants {
    rooms: Rooms,
    /// The id of this process: one replica at a time searches.
    replica: Uuid,
}

impl StaleParticipants {
    pub fn new(rooms: Rooms) -> Self {
        Self { rooms, replica: Uuid::new_v4() }
    }

    /// Takes one turn, once a second: probes the participants that are due, and writes the answers. Does nothing while
    /// another replica has the turn, or while deletion is off, because then no probe room could be deleted.
    pub async fn probe_participants(&self) -> Result<(), Error> {
        if !self.rooms.livekit.may_delete() {
            return Ok(());
        }
        let Some(turn) = store::take_turn(&self.rooms.pool, self.replica).await? else { return Ok(()) };
        // Times in the future are from before the clock was set back, and would never be due.
        if turn.last.is_some_and(|last| last > turn.now) {
            store::set_clock_back(&self.rooms.pool).await?;
        }
        let turn = turn.settled();
        let mut due = self.list_due(&turn).await?;
        // LiveKit has to create a room between the first silences, which are written, and the second probes.
        let wanted = !due.suspects.is_empty() || !due.unheard.is_empty();
        let before = if wanted { Some(self.rooms.can_create_rooms().await) } else { None };
        if before == Some(false) {
            (due.suspects, due.unheard) = (Vec::new(), Vec::new());
        }
        let chosen = due.choose(turn.budget());
        // The time of the probes: events that arrive after it are later signs of life.
        let turn = Turn { now: events::find_now(&self.rooms.pool).await?, ..turn };
        let asked = self.probe_all(chosen).await;
        let is_silent = asked.iter().any(|(participant, answer)| decide::is_silence(participant, *answer));
        // Asked again after the probes: it may have stopped working in between.
        let can_create_rooms = if is_silent && before != Some(false) {
            Some(self.rooms.can_create_rooms().await)
        } else {
            before
        };
        self.conclude(&turn, &asked, Silence::between(before, can_create_rooms)).await?;
        self.update_watch(&turn, &asked, is_silent, can_create_rooms).await?;
        if can_create_rooms.is_none() && turn.may_replace() {
            self.replace_stale_rooms(&turn).await?;
        }
        Ok(())
    }

    /// Reads the participants that are due for a probe.
    async fn list_due(&self, turn: &Turn) -> Result<Due, Error> {
        let budget = turn.budget();
        let limit = |probes: usize| i64::try_from(probes).unwrap_or(i64::MAX);
        let mut due = Due {
            quiet: store::list_quiet(&self.rooms.pool).await?,
            stale: store::list_stale(&self.rooms.pool, limit(budget.stale)).await?,
            ..Due::default()
        };
        if let Some(alarmed_at) = turn.alarmed_at {
            due.suspects = store::list_suspects(&self.rooms.pool).await?;
            due.unheard = store::list_unheard(&self.rooms.pool, alarmed_at, limit(budget.rooms)).await?;
        }
        Ok(due)
    }

    async fn probe_all(&self, participants: Vec<Participant>) -> Vec<(Participant, ProbeAnswer)> {
        let probes = stream::iter(participants.into_iter().map(|participant| async move {
            let answer = self.rooms.livekit.probe(&participant.room_name, &participant.identity).await;
            (participant, answer)
        }));
        probes.buffer_unordered(MOST_PROBES).collect().await
    }

    /// Writes the answers of probes, and the stale participants that they prove.
    async fn conclude(
        &self,
        turn: &Turn,
        asked: &[(Participant, ProbeAnswer)],
        silence: Silence,
    ) -> Result<(), Error> {
        let second =
            asked.iter().filter(|(participant, answer)| turn.is_second_silence(participant, *answer));
        let second: Vec<&Participant> = second.map(|(participant, _)| participant).collect();
        let found = if silence == Silence::Proves && !second.is_empty() {
            store::set_stale(&self.rooms.pool, &second, turn.now).await?
        } else {
            Vec::new()
        };
        let found_them = |participant: &Participant| {
            found
                .iter()
                .any(|stale| (stale.room, &stale.identity) == (participant.room, &participant.identity))
        };
        let mut answers = Answers::default();
        for (participant, answer) in asked.iter().filter(|(participant, _)| !found_them(participant)) {
            let void = silence == Silence::Void && decide::is_silence(participant, *answer);
            answers.add(
                participant.room,
                &participant.identity,
                if void { ProbeAnswer::Unknown } else { *answer },
            );
        }
        store::set_answers(&self.rooms.pool, &answers, turn.now).await?;
        if silence == Silence::Void {
            store::clear_silences(&self.rooms.pool).await?;
        }
        self.release_seats(&second, &found).await
    }

    /// Writes the alarm and LiveKit's state, after the answers were written.
    async fn update_watch(
        &self,
        turn: &Turn,
        asked: &[(Participant, ProbeAnswer)],
        is_silent: bool,
        can_create_rooms: Option<bool>,
    ) -> Result<(), Error> {
        let unheard = (is_silent && can_create_rooms == Some(false))
            || ((is_silent || turn.alarmed_at.is_some())
                && store::is_any_unheard(&self.rooms.pool, turn.alarmed_at).await?);
        let alarmed_at = turn.alarm(asked, unheard);
        if alarmed_at.is_some() && turn.alarmed_at.is_none() {
            tracing::warn!("no node of LiveKit had a participant; probing all quiet participants");
        }
        let answers: Vec<ProbeAnswer> = asked.iter().map(|(_, answer)| *answer).collect();
        let answering_since = turn.answering(can_create_rooms, &answers);
        Ok(store::set_watch(&self.rooms.pool, self.replica, alarmed_at, answering_since).await?)
    }

    /// Logs the new stale participants, and updates the seats of live sessions: they count as left.
    async fn release_seats(&self, participants: &[&Participant], found: &[Stale]) -> Result<(), Error> {
        for stale in found {
            metrics::counter!("greenroom_ghosts_total").increment(1);
            tracing::info!(
                room.id = %stale.room, participant.identity = stale.identity, participant.sid = stale.sid,
                "counted a stale participant as left"
            );
        }
        let mut live: Vec<RoomId> = participants
            .iter()
            .filter(|participant| participant.in_live_session)
            .map(|participant| participant.room)
            .collect();
        // Sorted, so that `dedup` finds repetitions.
        live.sort_unstable();
        live.dedup();
        live.retain(|room| found.iter().any(|stale| stale.room == RoomId(room.0)));
        for room in live {
            kinds::after_presence(&self.rooms.pool, OwnerKind::LiveSession, room).await?;
        }
        Ok(())
    }

    /// Forgets stale participants of rooms and stays that are over.
    pub(crate) async fn forget(&self) -> Result<(), Error> {
        done(store::rooms::forget_stale(&self.rooms.pool).await)
    }
}
