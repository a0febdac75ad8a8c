//! What hosts do with the users in their rooms: kicks, bans, promotions and mutes. Also the users' microphones.

use std::collections::BTreeSet;

use livekit_protocol::TrackSource;
use reqwest::Method;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    acts::{Act, Move},
    dice::Dice,
    membership::{Admission, Ban, InSession},
    stage::Stage,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moderation {
    Kick,
    Ban { until: Option<OffsetDateTime> },
    Unban,
    Promote,
    Demote,
    Mute,
}

impl Moderation {
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

    /// The request for it.
    pub fn request(self, room: &str, target: &str) -> (Method, String, Option<Value>) {
        let mut body = json!({"user_id": target});
        match self {
            Self::Ban { until: Some(until) } => body["until"] = until.format(&Rfc3339).unwrap().into(),
            Self::Mute => body["source"] = "microphone".into(),
            _ => {}
        }
        (Method::POST, format!("{room}/{}", self.verb()), Some(body))
    }
}

impl Act {
    /// The user who is moderated.
    pub const fn target(&self) -> Option<usize> {
        if let Self::Moderate(_, target) = self { Some(*target) } else { None }
    }
}

impl Move {
    /// Whether another move of the same step decides the same.
    pub fn is_contested(&self, among: &[Self]) -> bool {
        let target = self.act.target().unwrap_or(self.who);
        let others = among.iter().filter(|other| other.room == self.room && !std::ptr::eq(*other, self));
        others.into_iter().any(|other| {
            let ends = matches!(other.act, Act::GoLive { .. } | Act::Verb(_));
            other.act.target() == Some(target) || (self.act.target().is_some() && ends)
        })
    }
}

impl Stage {
    pub fn plan_moderation(&self, dice: &mut Dice, room: usize) -> Act {
        let until = dice.pick(&[None, None, Some(3), Some(30)]).map(time::Duration::minutes);
        let until = until.map(|lasts| self.now().replace_nanosecond(0).unwrap() + lasts);
        let moderation = match dice.roll(14) {
            0..=2 => Moderation::Kick,
            3..=4 => Moderation::Ban { until },
            5..=6 => Moderation::Unban,
            7..=10 => Moderation::Promote,
            11..=12 => Moderation::Demote,
            _ => Moderation::Mute,
        };
        let (anybody, likely) = (dice.roll(self.users.len()), !dice.one_in(3));
        let likely = if likely { dice.pick_any(&self.likely(moderation, room)) } else { None };
        Act::Moderate(moderation, likely.unwrap_or(anybody))
    }

    /// The users whose state it would change.
    fn likely(&self, moderation: Moderation, room: usize) -> Vec<usize> {
        let (participants, membership) = (self.participants(room), &self.rooms[room].membership);
        let is_connected = |who: usize| participants.iter().any(|(_, one)| *one == self.users[who]);
        (0..self.users.len())
            .filter(|&who| match moderation {
                Moderation::Unban => {
                    membership[who].ban != Ban::No || membership[who].kicked != InSession::No
                }
                Moderation::Demote => membership[who].speaks != InSession::No && is_connected(who),
                _ => who != room && is_connected(who),
            })
            .collect()
    }

    /// The users who are kicked from a room or banned, or may be.
    pub fn excluded(&self, room: usize) -> Vec<usize> {
        let (now, membership) = (self.now(), &self.rooms[room].membership);
        (0..membership.len()).filter(|&who| membership[who].admission(now) != Admission::Allowed).collect()
    }

    /// The rooms that have participants.
    pub fn busy(&self) -> Vec<usize> {
        (0..self.rooms.len()).filter(|&room| !self.participants(room).is_empty()).collect()
    }

    /// The participants on LiveKit for a room, each as the name of the LiveKit room and the identity.
    fn participants(&self, room: usize) -> Vec<(String, String)> {
        let held = self.tokens.iter().filter(|held| held.room == room);
        let names: BTreeSet<&String> = held.map(|held| &held.room_name).collect();
        let participants_of = |name: &String| {
            let listed = self.livekit.participants(name).into_iter();
            listed.map(|one| (name.clone(), one.identity)).collect::<Vec<_>>()
        };
        names.into_iter().flat_map(participants_of).collect()
    }

    /// A participant turns their microphone on. LiveKit may refuse.
    pub fn publish(&mut self, asked: &Move) {
        let mut participants = self.participants(asked.room);
        participants.sort();
        let Some((room, who)) = participants.get(asked.who % participants.len().max(1)) else { return };
        if self.tabs.publish(room, who) {
            return self.say(format!("{who} publishes in {room} with a client"));
        }
        let published = self.livekit.publish(room, who, TrackSource::Microphone).map(drop);
        self.say(format!("{who} publishes in {room}: {published:?}"));
    }
}
