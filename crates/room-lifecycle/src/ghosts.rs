//! Ghosts leave: participants that LiveKit lists for ever because the node that they were on was killed
//! (docs/decisions/0022).
//!
//! One replica at a time probes the participants that have been quiet for longest. After the first silence all are
//! probed that gave no sign of life since then; the second one, 10 s later, makes a ghost. Silence counts only if
//! LiveKit creates a new room after it, and did so each time since the first one: while its Redis hangs, all
//! participants are as silent as ghosts. A timeout proves nothing. What is decided is in [`decide`].

pub mod decide;
mod rooms;

use domain::RoomId;
use futures::{StreamExt, stream};
use livekit_protocol::ParticipantInfo;
use uuid::Uuid;

use self::decide::{Due, MOST_PROBES, Person, Silence, Turn};
use crate::{
    Rooms,
    error::Error,
    livekit::{Blueprint, probe::ProbeAnswer},
    store::{
        Record, events,
        ghosts::{self, Answers, Ghost},
    },
};

/// LiveKit's own timers end a probe room that is not deleted; the clean-up of orphans is faster.
const PROBE_ROOM_TIMEOUT: u32 = 30;

impl Rooms {
    /// One turn, once a second: probes the participants that are due, and writes the answers. Nothing while another
    /// replica does it, nor where deletion is off: there no probe room could be deleted.
    pub async fn watch_ghosts(&self) -> Result<(), Error> {
        if !self.livekit.may_delete() {
            return Ok(());
        }
        let Some(turn) = ghosts::take_turn(&self.pool, self.replica).await? else { return Ok(()) };
        if turn.last.is_some_and(|last| last > turn.now) {
            ghosts::set_clock_back(&self.pool).await?;
        }
        let turn = turn.settled();
        let mut due = self.list_due(&turn).await?;
        // After the first silences were written, and before the second probes.
        let wanted = !due.suspects.is_empty() || !due.unheard.is_empty();
        let before = if wanted { Some(self.makes_rooms().await) } else { None };
        if before == Some(false) {
            (due.suspects, due.unheard) = (Vec::new(), Vec::new());
        }
        let chosen = due.choose(turn.budget());
        let turn = Turn { now: events::find_now(&self.pool).await?, ..turn };
        let asked = self.probe_all(chosen).await;
        let is_silent = asked.iter().any(|(person, answer)| decide::is_silence(person, *answer));
        let makes_rooms =
            if is_silent && before != Some(false) { Some(self.makes_rooms().await) } else { before };
        self.conclude(&turn, &asked, Silence::between(before, makes_rooms)).await?;
        self.watch_on(&turn, &asked, is_silent, makes_rooms).await?;
        if makes_rooms.is_none() && turn.may_renew() {
            self.renew_rooms_of_ghosts(&turn).await?;
        }
        Ok(())
    }

    async fn list_due(&self, turn: &Turn) -> Result<Due, Error> {
        let budget = turn.budget();
        let limit = |probes: usize| i64::try_from(probes).unwrap_or(i64::MAX);
        let mut due = Due {
            quiet: ghosts::list_quiet(&self.pool).await?,
            ghosts: ghosts::list_ghosts(&self.pool, limit(budget.ghosts)).await?,
            ..Due::default()
        };
        if let Some(alarmed_at) = turn.alarmed_at {
            due.suspects = ghosts::list_suspects(&self.pool).await?;
            due.unheard = ghosts::list_unheard(&self.pool, alarmed_at, limit(budget.rooms)).await?;
        }
        Ok(due)
    }

    async fn probe_all(&self, people: Vec<Person>) -> Vec<(Person, ProbeAnswer)> {
        let probes = stream::iter(people.into_iter().map(|person| async move {
            let answer = self.livekit.probe(&person.room_name, &person.identity).await;
            (person, answer)
        }));
        probes.buffer_unordered(MOST_PROBES).collect().await
    }

    /// Writes what probes found.
    async fn conclude(
        &self,
        turn: &Turn,
        asked: &[(Person, ProbeAnswer)],
        silence: Silence,
    ) -> Result<(), Error> {
        let second = asked.iter().filter(|(person, answer)| turn.is_second_silence(person, *answer));
        let second: Vec<&Person> = second.map(|(person, _)| person).collect();
        let found = if silence == Silence::Proves && !second.is_empty() {
            ghosts::set_ghosts(&self.pool, &second, turn.now).await?
        } else {
            Vec::new()
        };
        let found_them = |person: &Person| {
            found.iter().any(|ghost| (ghost.room, &ghost.identity) == (person.room, &person.identity))
        };
        let mut answers = Answers::default();
        for (person, answer) in asked.iter().filter(|(person, _)| !found_them(person)) {
            let void = silence == Silence::Void && decide::is_silence(person, *answer);
            answers.add(person.room, &person.identity, if void { ProbeAnswer::Unknown } else { *answer });
        }
        ghosts::set_answers(&self.pool, &answers, turn.now).await?;
        if silence == Silence::Void {
            ghosts::clear_silences(&self.pool).await?;
        }
        self.let_go(&second, &found).await
    }

    /// The alarm and LiveKit's state after the answers were written.
    async fn watch_on(
        &self,
        turn: &Turn,
        asked: &[(Person, ProbeAnswer)],
        is_silent: bool,
        makes_rooms: Option<bool>,
    ) -> Result<(), Error> {
        let unheard = (is_silent && makes_rooms == Some(false))
            || ((is_silent || turn.alarmed_at.is_some())
                && ghosts::is_any_unheard(&self.pool, turn.alarmed_at).await?);
        let alarmed_at = turn.alarm(asked, unheard);
        if alarmed_at.is_some() && turn.alarmed_at.is_none() {
            tracing::warn!("a participant was on no node of LiveKit; all that are quiet are probed");
        }
        let answers: Vec<ProbeAnswer> = asked.iter().map(|(_, answer)| *answer).collect();
        let answering_since = turn.answering(makes_rooms, &answers);
        Ok(ghosts::set_watch(&self.pool, self.replica, alarmed_at, answering_since).await?)
    }

    /// Ghosts count as left: seats follow.
    async fn let_go(&self, people: &[&Person], found: &[Ghost]) -> Result<(), Error> {
        for ghost in found {
            metrics::counter!("greenroom_ghosts_total").increment(1);
            tracing::info!(
                room.id = %ghost.room, participant.identity = ghost.identity, participant.sid = ghost.sid,
                "a ghost counts as left"
            );
        }
        let mut live: Vec<RoomId> =
            people.iter().filter(|person| person.in_live_session).map(|person| person.room).collect();
        live.sort_unstable();
        live.dedup();
        live.retain(|room| found.iter().any(|ghost| ghost.room == RoomId(room.0)));
        for room in live {
            self.project_presence(RoomId(room.0)).await?;
        }
        Ok(())
    }

    /// Whether LiveKit creates a room. Each has a new name: a room of a name that it knows proves less.
    async fn makes_rooms(&self) -> bool {
        let name = format!("{}{}", self.probe_room_prefix(), Uuid::new_v4());
        let metadata = serde_json::json!({ "deployment": self.deployment }).to_string();
        let blueprint =
            Blueprint { name: name.clone(), metadata, max_participants: 1, timeout: PROBE_ROOM_TIMEOUT };
        if let Err(error) = self.livekit.create_room(blueprint).await {
            tracing::warn!(%error, "LiveKit creates no rooms: silence proves nothing now");
            return false; // if it was created after all, the clean-up of orphans deletes it
        }
        self.delete_retired(&name).await;
        true
    }

    fn probe_room_prefix(&self) -> String {
        format!("greenroom-probe-{}-", self.deployment)
    }

    /// Whether a room on LiveKit was created only to see that it can be.
    pub(crate) fn is_probe_room(&self, name: &str) -> bool {
        name.starts_with(&self.probe_room_prefix())
    }

    /// Those of LiveKit's list on whose behalf a node answers: a call about any other one fails after 3 s. Who may be in
    /// a room, and what they may do there, is looked at in nests and after a kick only.
    pub(crate) async fn without_ghosts(
        &self,
        record: &Record,
        mut inside: Vec<ParticipantInfo>,
    ) -> Result<Vec<ParticipantInfo>, Error> {
        if record.kind == domain::OwnerKind::Nest || record.watched_until.is_some() {
            let ghosts = ghosts::rooms::list_sids(&self.pool, record.id).await?;
            inside.retain(|one| !ghosts.contains(&one.sid));
        }
        Ok(inside)
    }
}
