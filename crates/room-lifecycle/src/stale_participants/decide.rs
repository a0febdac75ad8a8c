//! Decides which participants to probe, what an answer means, and when a stale room is replaced. Pure: probes and
//! writes are elsewhere, and the statements that write check again what may have changed meanwhile.

use std::collections::HashSet;

use domain::RoomId;
use time::OffsetDateTime;

use super::policy::{
    APART, LONGEST_TURN, MOST_PROBES, PROBES_PER_SECOND, REPLACED_AFTER, ROOMS_PER_SECOND, SHORTEST_TURN,
};
use crate::livekit::probe::ProbeAnswer;

/// One replica's turn to probe, and what is known of LiveKit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub now: OffsetDateTime,
    /// When the previous turn began.
    pub last: Option<OffsetDateTime>,
    /// When a probe was silent. Kept until all participants without a sign of life since then have given one, have
    /// left or are stale.
    pub alarmed_at: Option<OffsetDateTime>,
    /// Since when LiveKit has answered without a failure.
    pub answering_since: Option<OffsetDateTime>,
}

/// What a turn may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How many participants with the oldest signs of life are probed.
    pub probes: usize,
    /// How many stale participants are probed in addition.
    pub stale: usize,
    /// In how many rooms participants are probed after a silence.
    pub rooms: usize,
}

/// A participant who has joined, or a stale one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    pub room: RoomId,
    pub room_name: String,
    pub identity: String,
    pub sid: Option<String>,
    /// Their last sign of life: an event about them, or a probe that was answered.
    pub alive_at: Option<OffsetDateTime>,
    /// The first silent probe since then.
    pub silent_since: Option<OffsetDateTime>,
    pub is_ghost: bool,
    pub in_live_session: bool,
}

/// The participants that are due. Each list begins with the oldest sign of life.
#[derive(Clone, Debug, Default)]
pub struct Due {
    /// Silent once, at least 10 s ago.
    pub suspects: Vec<Participant>,
    /// Without a sign of life since the alarm.
    pub unheard: Vec<Participant>,
    pub quiet: Vec<Participant>,
    pub stale: Vec<Participant>,
}

/// What the silences of a turn prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nothing: LiveKit does not create rooms. Earlier silences do not count either.
    Void,
    /// LiveKit creates rooms: a silence counts as the first one.
    Counts,
    /// LiveKit created rooms before and after the probes: a second silence makes the participant stale.
    Proves,
}

impl Silence {
    /// `before`, `after`: whether LiveKit created a room before and after the probes, if it was asked to.
    #[must_use]
    pub fn between(before: Option<bool>, after: Option<bool>) -> Self {
        match (before, after) {
            (Some(false), _) | (_, Some(false)) => Self::Void,
            (Some(true), Some(true)) => Self::Proves,
            (None, _) | (_, None) => Self::Counts,
        }
    }
}

impl Turn {
    /// Corrects times in the future, which were written before the clock was set back.
    #[must_use]
    pub fn settled(self) -> Self {
        let past = |at: Option<OffsetDateTime>| at.map(|at| at.min(self.now));
        Self {
            last: self.last.filter(|&last| last <= self.now),
            alarmed_at: past(self.alarmed_at),
            answering_since: past(self.answering_since),
            ..self
        }
    }

    /// How much this turn may probe, by the time since the previous one.
    #[must_use]
    pub fn budget(&self) -> Budget {
        let elapsed = self.last.map_or(SHORTEST_TURN, |last| self.now - last).min(LONGEST_TURN);
        let milliseconds = i64::try_from(elapsed.whole_milliseconds()).unwrap_or(0);
        let share = |per_second: i64| usize::try_from(per_second * milliseconds / 1000).unwrap_or(0);
        let probes = share(PROBES_PER_SECOND);
        Budget { probes, stale: probes, rooms: share(ROOMS_PER_SECOND) }
    }

    /// Since when LiveKit answers, after the answers of a turn. `can_create_rooms`: whether it created a new room, if
    /// it was asked to.
    #[must_use]
    pub fn answering(
        &self,
        can_create_rooms: Option<bool>,
        answers: &[ProbeAnswer],
    ) -> Option<OffsetDateTime> {
        if can_create_rooms.is_none() && answers.is_empty() {
            return self.answering_since;
        }
        let answers =
            can_create_rooms.unwrap_or_else(|| answers.iter().any(|&answer| answer != ProbeAnswer::Unknown));
        answers.then(|| self.answering_since.unwrap_or(self.now))
    }

    /// The alarm after the answers of a turn. A silence raises a new alarm if the participant gave a sign of life
    /// since the last one. `unheard`: whether there still are participants without a sign of life. They may all have
    /// given one or left while LiveKit took 3 s to answer.
    #[must_use]
    pub fn alarm(&self, asked: &[(Participant, ProbeAnswer)], unheard: bool) -> Option<OffsetDateTime> {
        let is_new = |participant: &Participant| {
            self.alarmed_at.is_none_or(|alarm| participant.alive_at.is_some_and(|alive| alive >= alarm))
        };
        let is_news = |(participant, answer): &(Participant, ProbeAnswer)| {
            is_silence(participant, *answer) && is_new(participant)
        };
        if unheard && asked.iter().any(is_news) {
            return Some(self.now);
        }
        self.alarmed_at.filter(|_| unheard)
    }

    /// Whether stale rooms may be replaced: not while clients may still reconnect.
    #[must_use]
    pub fn may_replace(&self) -> bool {
        self.answering_since.is_some_and(|since| self.now - since >= REPLACED_AFTER)
    }

    /// Whether this silence is the second one, at least 10 s after the first. It makes the participant stale if LiveKit
    /// created new rooms meanwhile and no event arrived; the caller checks both.
    #[must_use]
    pub fn is_second_silence(&self, participant: &Participant, answer: ProbeAnswer) -> bool {
        is_silence(participant, answer)
            && participant.silent_since.is_some_and(|since| self.now - since >= APART)
    }
}

/// Whether an answer says that no node has a participant that counts as joined.
#[must_use]
pub fn is_silence(participant: &Participant, answer: ProbeAnswer) -> bool {
    answer == ProbeAnswer::Silent && !participant.is_ghost
}

impl Due {
    /// Chooses the participants to probe, each once.
    #[must_use]
    pub fn choose(self, budget: Budget) -> Vec<Participant> {
        let mut chosen = Chosen::default();
        for participant in self.suspects.into_iter().chain(self.unheard) {
            chosen.add_of_rooms(participant, budget.rooms);
        }
        let stale = self.stale.into_iter().take(budget.stale);
        let quiet = one_of_each_room_first(self.quiet);
        for participant in stale.chain(quiet.into_iter().take(budget.probes)) {
            chosen.add(participant);
        }
        chosen.participants
    }
}

#[derive(Default)]
struct Chosen {
    participants: Vec<Participant>,
    added: HashSet<(RoomId, String)>,
    rooms: HashSet<RoomId>,
}

impl Chosen {
    fn add(&mut self, participant: Participant) {
        if self.participants.len() < MOST_PROBES
            && self.added.insert((participant.room, participant.identity.clone()))
        {
            self.participants.push(participant);
        }
    }

    /// Adds a participant unless its room would exceed `most` rooms.
    fn add_of_rooms(&mut self, participant: Participant, most: usize) {
        if self.rooms.len() < most || self.rooms.contains(&participant.room) {
            self.rooms.insert(participant.room);
            self.add(participant);
        }
    }
}

/// Sorts one participant of each room before the others. Their order is kept otherwise.
fn one_of_each_room_first(participants: Vec<Participant>) -> Vec<Participant> {
    let mut rooms = HashSet::new();
    let (mut first, others): (Vec<_>, Vec<_>) =
        participants.into_iter().partition(|participant| rooms.insert(participant.room));
    first.extend(others);
    first
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
