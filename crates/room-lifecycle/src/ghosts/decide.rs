//! Which participants to probe, what an answer means, and when a room of ghosts is replaced. Pure: probing and writing are done
//! elsewhere, and the statements that write check again what may have changed meanwhile.

use std::collections::HashSet;

use domain::RoomId;
use time::{Duration, OffsetDateTime};

use crate::livekit::probe::ProbeAnswer;

/// Probes a second while nothing is wrong.
pub const PROBES_PER_SECOND: i64 = 5;
/// Rooms a second whose participants are probed after a silence.
pub const ROOMS_PER_SECOND: i64 = 50;
/// Participants that one turn probes: each may take 3 s on LiveKit, and all at the same time.
pub const MOST_PROBES: usize = 512;
/// Between the two probes that find a ghost. A participant with a younger sign of life or probe is left alone.
pub const APART: Duration = Duration::seconds(10);
/// Between two probes of a ghost: one that is answered ends it.
pub const GHOSTS_APART: Duration = Duration::seconds(15);
/// A room of ghosts keeps its name for so long after LiveKit answers again: clients come back 8 to 14 s after a crash,
/// and give up when their room is not there.
pub const RENEWED_AFTER: Duration = Duration::seconds(60);

/// Probes are allowed for at most this long: a turn that comes late does not probe all at once.
const LONGEST_TURN: Duration = Duration::seconds(5);
/// How many turns the first one counts for, and one before which the clock was set back.
const SHORTEST_TURN: Duration = Duration::SECOND;

/// One replica's turn to probe, and what is known of LiveKit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub now: OffsetDateTime,
    /// When the turn before began.
    pub last: Option<OffsetDateTime>,
    /// When a probe found no node, until all without a sign of life since then are found or are ghosts.
    pub alarmed_at: Option<OffsetDateTime>,
    /// Since when LiveKit has answered without a failure in between.
    pub answering_since: Option<OffsetDateTime>,
}

/// What a turn may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Participants with the oldest signs of life.
    pub probes: usize,
    /// Ghosts, beside those.
    pub ghosts: usize,
    /// Rooms whose participants are probed after a silence.
    pub rooms: usize,
}

/// A participant who has joined, or a ghost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub room: RoomId,
    pub room_name: String,
    pub identity: String,
    pub sid: Option<String>,
    /// Their last sign of life: an event about them, or a probe that was answered.
    pub alive_at: Option<OffsetDateTime>,
    /// The first probe since then that was answered with silence.
    pub silent_since: Option<OffsetDateTime>,
    pub is_ghost: bool,
    pub in_live_session: bool,
}

/// Those who are due, each list with the oldest sign of life first.
#[derive(Clone, Debug, Default)]
pub struct Due {
    /// Silent once, 10 s ago or more.
    pub suspects: Vec<Person>,
    /// Without a sign of life since the alarm.
    pub unheard: Vec<Person>,
    pub quiet: Vec<Person>,
    pub ghosts: Vec<Person>,
}

/// What the silences of a turn are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// LiveKit does not create rooms. No silence counts, earlier ones included.
    Void,
    /// LiveKit creates rooms: it is the first one.
    Counts,
    /// It created a room before these probes, too: with an earlier silence it makes a ghost.
    Proves,
}

impl Silence {
    /// Whether LiveKit created a room before and after the probes, if it was asked for one.
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
    /// Times in the future were written before the clock was set back.
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

    #[must_use]
    pub fn budget(&self) -> Budget {
        let elapsed = self.last.map_or(SHORTEST_TURN, |last| self.now - last).min(LONGEST_TURN);
        let milliseconds = i64::try_from(elapsed.whole_milliseconds()).unwrap_or(0);
        let share = |per_second: i64| usize::try_from(per_second * milliseconds / 1000).unwrap_or(0);
        let probes = share(PROBES_PER_SECOND);
        Budget { probes, ghosts: probes, rooms: share(ROOMS_PER_SECOND) }
    }

    /// What is known of LiveKit after the answers of a turn. `makes_rooms`: whether it created a new room, if it was
    /// asked for one.
    #[must_use]
    pub fn answering(&self, makes_rooms: Option<bool>, answers: &[ProbeAnswer]) -> Option<OffsetDateTime> {
        if makes_rooms.is_none() && answers.is_empty() {
            return self.answering_since;
        }
        let answers =
            makes_rooms.unwrap_or_else(|| answers.iter().any(|&answer| answer != ProbeAnswer::Unknown));
        answers.then(|| self.answering_since.unwrap_or(self.now))
    }

    /// The alarm after the answers of a turn. The first silence of a participant that gave a sign of life since the
    /// last alarm is a new one. Not `unheard`: all gave a sign of life meanwhile, or have left; that can be the answer
    /// to a silence, too, because LiveKit took 3 s to say it.
    #[must_use]
    pub fn alarm(&self, asked: &[(Person, ProbeAnswer)], unheard: bool) -> Option<OffsetDateTime> {
        let is_new = |person: &Person| {
            self.alarmed_at.is_none_or(|alarm| person.alive_at.is_some_and(|alive| alive >= alarm))
        };
        let is_news =
            |(person, answer): &(Person, ProbeAnswer)| is_silence(person, *answer) && is_new(person);
        if unheard && asked.iter().any(is_news) {
            return Some(self.now);
        }
        self.alarmed_at.filter(|_| unheard)
    }

    /// Whether rooms of ghosts may be replaced: not while clients may still be coming back.
    #[must_use]
    pub fn may_renew(&self) -> bool {
        self.answering_since.is_some_and(|since| self.now - since >= RENEWED_AFTER)
    }

    /// Whether this silence is the second one, 10 s after the first. It makes a ghost if LiveKit created new rooms all
    /// the while, and no event came: that is for the caller to check.
    #[must_use]
    pub fn is_second_silence(&self, person: &Person, answer: ProbeAnswer) -> bool {
        is_silence(person, answer) && person.silent_since.is_some_and(|since| self.now - since >= APART)
    }
}

/// Whether no node of LiveKit has a participant that counts as joined.
#[must_use]
pub fn is_silence(person: &Person, answer: ProbeAnswer) -> bool {
    answer == ProbeAnswer::Silent && !person.is_ghost
}

impl Due {
    /// The participants to probe, each once.
    #[must_use]
    pub fn choose(self, budget: Budget) -> Vec<Person> {
        let mut chosen = Chosen::default();
        for person in self.suspects.into_iter().chain(self.unheard) {
            chosen.add_of_rooms(person, budget.rooms);
        }
        let ghosts = self.ghosts.into_iter().take(budget.ghosts);
        let quiet = one_of_each_room_first(self.quiet);
        for person in ghosts.chain(quiet.into_iter().take(budget.probes)) {
            chosen.add(person);
        }
        chosen.people
    }
}

#[derive(Default)]
struct Chosen {
    people: Vec<Person>,
    seen: HashSet<(RoomId, String)>,
    rooms: HashSet<RoomId>,
}

impl Chosen {
    fn add(&mut self, person: Person) {
        if self.people.len() < MOST_PROBES && self.seen.insert((person.room, person.identity.clone())) {
            self.people.push(person);
        }
    }

    /// Adds a participant unless that takes one room too many.
    fn add_of_rooms(&mut self, person: Person, most: usize) {
        if self.rooms.len() < most || self.rooms.contains(&person.room) {
            self.rooms.insert(person.room);
            self.add(person);
        }
    }
}

/// A room counts as quiet as the participant in it with the oldest sign of life.
fn one_of_each_room_first(people: Vec<Person>) -> Vec<Person> {
    let mut rooms = HashSet::new();
    let (mut first, others): (Vec<_>, Vec<_>) =
        people.into_iter().partition(|person| rooms.insert(person.room));
    first.extend(others);
    first
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
