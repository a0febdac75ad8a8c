//! What a host does with the people in his room, and what they do about it: hands that are raised, and microphones.

use std::collections::BTreeSet;

use livekit_protocol::TrackSource;
use reqwest::Method;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    acts::{Act, Move},
    dice::Dice,
    stage::Stage,
    standing::{Ban, InSession, Welcome},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Kick,
    Ban { until: Option<OffsetDateTime> },
    Unban,
    Promote,
    Demote,
    Mute,
}

impl Deed {
    const fn verb(self) -> &'static str {
        match self {
            Self::Kick => "kick",
            Self::Ban { .. } => "ban",
            Self::Unban => "unban",
            Self::Promote => "promote",
            Self::Demote => "demote",
            Self::Mute => "mute",
        }
    }

    /// How it is asked for.
    pub fn request(self, room: &str, whom: &str) -> (Method, String, Option<Value>) {
        let mut body = json!({"user_id": whom});
        match self {
            Self::Ban { until: Some(until) } => body["until"] = until.format(&Rfc3339).unwrap().into(),
            Self::Mute => body["source"] = "microphone".into(),
            _ => {}
        }
        (Method::POST, format!("{room}/{}", self.verb()), Some(body))
    }
}

impl Act {
    /// Who is moderated.
    pub const fn whom(&self) -> Option<usize> {
        if let Self::Moderate(_, whom) = self { Some(*whom) } else { None }
    }
}

impl Move {
    /// Whether something that is done at the same time decides the same.
    pub fn is_contested(&self, among: &[Self]) -> bool {
        let whom = self.act.whom().unwrap_or(self.who);
        let others = among.iter().filter(|other| other.room == self.room && !std::ptr::eq(*other, self));
        others.into_iter().any(|other| {
            let ends = matches!(other.act, Act::GoLive { .. } | Act::Verb(_));
            other.act.whom() == Some(whom) || (self.act.whom().is_some() && ends)
        })
    }
}

impl Stage {
    pub fn plan_deed(&self, dice: &mut Dice, room: usize) -> Act {
        let until = dice.pick(&[None, None, Some(3), Some(30)]).map(time::Duration::minutes);
        let until = until.map(|lasts| self.now().replace_nanosecond(0).unwrap() + lasts);
        let deed = match dice.roll(14) {
            0..=2 => Deed::Kick,
            3..=4 => Deed::Ban { until },
            5..=6 => Deed::Unban,
            7..=10 => Deed::Promote,
            11..=12 => Deed::Demote,
            _ => Deed::Mute,
        };
        let (anybody, likely) = (dice.roll(self.people.len()), !dice.one_in(3));
        let likely = if likely { dice.pick_any(&self.likely(deed, room)) } else { None };
        Act::Moderate(deed, likely.unwrap_or(anybody))
    }

    /// To whom it makes a difference.
    fn likely(&self, deed: Deed, room: usize) -> Vec<usize> {
        let (inside, standing) = (self.inside(room), &self.rooms[room].standing);
        let is_inside = |who: usize| inside.iter().any(|(_, one)| *one == self.people[who]);
        (0..self.people.len())
            .filter(|&who| match deed {
                Deed::Unban => standing[who].ban != Ban::No || standing[who].kicked != InSession::No,
                Deed::Demote => standing[who].speaks != InSession::No && is_inside(who),
                _ => who != room && is_inside(who),
            })
            .collect()
    }

    /// Who has been put out of a room, as far as one can tell.
    pub fn unwelcome(&self, room: usize) -> Vec<usize> {
        let (now, standing) = (self.now(), &self.rooms[room].standing);
        (0..standing.len()).filter(|&who| standing[who].welcome(now) != Welcome::Yes).collect()
    }

    /// Rooms that somebody is in.
    pub fn busy(&self) -> Vec<usize> {
        (0..self.rooms.len()).filter(|&room| !self.inside(room).is_empty()).collect()
    }

    /// Who is on LiveKit for a room, and where.
    fn inside(&self, room: usize) -> Vec<(String, String)> {
        let held = self.tokens.iter().filter(|held| held.room == room);
        let names: BTreeSet<&String> = held.map(|held| &held.room_name).collect();
        let people = |name: &String| {
            let people = self.livekit.participants(name).into_iter();
            people.map(|one| (name.clone(), one.identity)).collect::<Vec<_>>()
        };
        names.into_iter().flat_map(people).collect()
    }

    /// Somebody who is inside turns his microphone on; LiveKit may refuse.
    pub fn publish(&mut self, asked: &Move) {
        let mut inside = self.inside(asked.room);
        inside.sort();
        let Some((room, who)) = inside.get(asked.who % inside.len().max(1)) else { return };
        if self.tabs.publish(room, who) {
            return self.say(format!("{who} publishes in {room} with a client"));
        }
        let told = self.livekit.publish(room, who, TrackSource::Microphone).map(drop);
        self.say(format!("{who} publishes in {room}: {told:?}"));
    }
}
