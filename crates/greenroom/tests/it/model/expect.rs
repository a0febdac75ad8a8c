//! What may be answered. Where nothing failed and nobody else was at the room the model knows what is on, and so the
//! answer; elsewhere it knows which answers there are.

use serde_json::Value;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    acts::{Act, Heard, Key, Move},
    deeds::Deed,
    standing::Welcome,
};

/// The buffer that every session of the model has.
const BUFFER: Duration = Duration::minutes(15);
/// So near to a turn of events nothing is foretold.
const MARGIN: Duration = Duration::minutes(2);

const NOT_ACTIVE: Option<(u16, &str)> = Some((409, "ROOM_NOT_ACTIVE"));
const BANNED: (u16, &str) = (403, "BANNED");
const KICKED: (u16, &str) = (403, "KICKED");
const NO_SEAT: (u16, &str) = (403, "NOT_PARTICIPANT");
/// Nobody who could be meant.
const NOBODY: (u16, &str) = (400, "INVALID_REQUEST");

/// What is on in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    Unknown,
    Idle,
    Open { id: String, status: Status, starts: OffsetDateTime },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Scheduled,
    Lobby,
    Live,
}

impl On {
    /// As an answer with a room and a session tells.
    pub fn told(told: &Value, now: OffsetDateTime) -> Self {
        let session = &told["session"];
        let status = match told["room"]["status"].as_str() {
            Some("idle") => return Self::Idle,
            Some("scheduled") => Status::Scheduled,
            Some("lobby") => Status::Lobby,
            Some("live") => Status::Live,
            _ => return Self::Unknown,
        };
        let starts = session["starts_at"].as_str().map(|text| OffsetDateTime::parse(text, &Rfc3339).unwrap());
        match (session["id"].as_str(), starts) {
            (Some(id), Some(starts)) if told["room"]["current_session_id"] == id => {
                let soon = status != Status::Live && starts < now + MARGIN;
                let turns = [starts - BUFFER, starts - 2 * BUFFER];
                let near = |turn: &OffsetDateTime| (*turn - now).abs() < MARGIN;
                if soon || (status == Status::Scheduled && turns.iter().any(near)) {
                    return Self::Unknown;
                }
                Self::Open { id: id.to_owned(), status, starts }
            }
            _ => Self::Unknown, // the answer to a repeated request is about another session
        }
    }
}

/// What was asked of which state of a room, by whom.
pub struct Question<'a> {
    pub asked: &'a Move,
    pub is_host: bool,
    pub on: &'a On,
    /// The room's.
    pub keys: &'a [Key],
    /// Of whoever comes, or is moderated.
    pub welcome: Welcome,
    /// Nothing fails, and nobody else is at the room.
    pub exact: bool,
    pub now: OffsetDateTime,
}

impl Question<'_> {
    /// What is wrong with an answer, if anything is.
    pub fn objection(&self, heard: &Heard) -> Option<String> {
        let told = (heard.status, heard.error());
        if self.opens_to_the_kicked(heard) {
            return Some("who is kicked gets no token".to_owned());
        }
        if self.for_hosts() && !self.is_host {
            return (told != (403, "NOT_HOST")).then(|| "only the host may".to_owned());
        }
        if let Some(foretold) = self.exact.then(|| self.foretold()).flatten() {
            return (told != foretold).then(|| format!("foretold: {foretold:?}"));
        }
        (!self.possible().contains(&told)).then(|| format!("possible: {:?}", self.possible()))
    }

    /// A room is named after its session.
    fn opens_to_the_kicked(&self, heard: &Heard) -> bool {
        let room_name = heard.body["room_name"].as_str().unwrap_or_default();
        matches!(&self.welcome, Welcome::Kicked(session) if room_name.contains(session))
    }

    const fn for_hosts(&self) -> bool {
        matches!(
            self.asked.act,
            Act::GoLive { .. }
                | Act::Verb(_)
                | Act::Admit(_)
                | Act::Reject(_)
                | Act::AdmitAll
                | Act::Moderate(..)
        )
    }

    fn possible(&self) -> Vec<(u16, &'static str)> {
        let (fine, idle) = ((200, ""), (409, "ROOM_NOT_ACTIVE"));
        match &self.asked.act {
            Act::GoLive { .. } => {
                vec![fine, (201, ""), (409, "ROOM_NOT_IDLE"), (409, "IDEMPOTENCY_KEY_REUSED")]
            }
            Act::Verb("cancel") => vec![fine, (409, "MEETING_STARTED")],
            Act::Mine
            | Act::State
            | Act::Streams
            | Act::Verb("end" | "reset")
            | Act::Seat("leave" | "disconnect") => vec![fine],
            Act::Verb(_) | Act::AdmitAll => vec![fine, idle],
            Act::Admit(_) | Act::Reject(_) => {
                vec![fine, idle, (409, "ROOM_FULL"), (400, "INVALID_REQUEST")]
            }
            Act::Seat(_) | Act::Token { .. } if self.is_host && self.exact => vec![fine, idle],
            Act::Seat(_) | Act::Token { .. } if self.welcome == Welcome::Banned => vec![idle, BANNED],
            Act::Seat(_) => {
                let refused = [(409, "ROOM_FULL"), (403, "REJECTED")];
                [fine, idle].into_iter().chain(refused).chain(self.unwelcome()).collect()
            }
            Act::Token { .. } => {
                let refused = [(409, "ROOM_FULL"), (403, "REJECTED"), (403, "WAITING_IN_LOBBY")];
                let left_meanwhile = (!self.exact).then_some(NO_SEAT);
                let refused = refused.into_iter().chain(left_meanwhile);
                [fine, idle].into_iter().chain(refused).chain(self.unwelcome()).collect()
            }
            Act::Moderate(deed, whom) => self.moderated(*deed, *whom),
            Act::Hand(_) => vec![fine, idle, NO_SEAT],
            Act::Enter | Act::Exit | Act::Publish => Vec::new(),
        }
    }

    /// Why somebody may be refused whom the host has put out.
    fn unwelcome(&self) -> Vec<(u16, &'static str)> {
        match &self.welcome {
            Welcome::Yes => Vec::new(),
            Welcome::Banned => vec![BANNED],
            Welcome::Kicked(session) if self.exact && self.is_over(session) => Vec::new(),
            Welcome::Kicked(_) => vec![KICKED],
            Welcome::Unclear => vec![BANNED, KICKED],
        }
    }

    /// Another session is open.
    fn is_over(&self, session: &str) -> bool {
        matches!(self.on, On::Open { id, .. } if id != session)
    }

    fn moderated(&self, deed: Deed, whom: usize) -> Vec<(u16, &'static str)> {
        let (fine, idle) = ((200, ""), (409, "ROOM_NOT_ACTIVE"));
        let himself = whom == self.asked.room;
        match deed {
            Deed::Ban { .. } if himself => vec![NOBODY],
            Deed::Ban { .. } | Deed::Unban => vec![fine],
            Deed::Mute => vec![fine, idle],
            Deed::Kick | Deed::Promote | Deed::Demote if himself => vec![idle, NOBODY],
            Deed::Kick | Deed::Promote | Deed::Demote => vec![fine, idle, NOBODY],
        }
    }

    /// The one answer there can be.
    fn foretold(&self) -> Option<(u16, &'static str)> {
        use Status::{Live, Scheduled};
        let is_closed = matches!(self.on, On::Idle | On::Open { status: Scheduled, .. });
        match (&self.asked.act, self.on) {
            (Act::GoLive { body, key: Some(key), .. }, _) => self.repeated(body, *key),
            (_, On::Unknown) => None,
            (Act::GoLive { starts, .. }, _) => self.go_live(*starts),
            (Act::Verb("cancel"), On::Open { status: Live, .. }) => Some((409, "MEETING_STARTED")),
            (Act::Verb("start" | "open-lobby" | "host-present" | "host-absent") | Act::Hand(_), On::Idle) => {
                NOT_ACTIVE
            }
            (Act::Seat("join") | Act::Token { .. } | Act::Admit(_) | Act::Reject(_) | Act::AdmitAll, _)
                if is_closed =>
            {
                NOT_ACTIVE
            }
            (Act::Hand(_), _) if is_closed || self.is_out().is_some() => Some(NO_SEAT),
            (Act::Moderate(deed, whom), _) => self.foretold_deed(*deed, *whom, is_closed),
            (Act::Seat("join") | Act::Token { .. }, _) if self.is_host => Some((200, "")),
            (Act::Seat("join") | Act::Token { .. }, _) => self.is_out(),
            (Act::Verb(_) | Act::AdmitAll, _) => Some((200, "")),
            _ => None,
        }
    }

    /// Why whoever comes, or is moderated, has no place in the open session.
    fn is_out(&self) -> Option<(u16, &'static str)> {
        match (&self.welcome, self.on) {
            (Welcome::Banned, _) => Some(BANNED),
            (Welcome::Kicked(session), On::Open { id, .. }) if id == session => Some(KICKED),
            _ => None,
        }
    }

    fn foretold_deed(&self, deed: Deed, whom: usize, is_closed: bool) -> Option<(u16, &'static str)> {
        let himself = whom == self.asked.room;
        match deed {
            Deed::Ban { .. } | Deed::Unban => None, // always the same
            _ if is_closed => NOT_ACTIVE,
            Deed::Mute => Some((200, "")),
            Deed::Kick | Deed::Promote | Deed::Demote if himself => Some(NOBODY),
            Deed::Kick => (self.is_out() == Some(KICKED)).then_some((200, "")),
            Deed::Promote | Deed::Demote => self.is_out().map(|_| NOBODY),
        }
    }

    /// A key that has made a session gives that one again, and nothing else.
    fn repeated(&self, body: &Value, key: usize) -> Option<(u16, &'static str)> {
        let key = &self.keys[key];
        key.made.as_ref().map(|_| if key.body == *body { (201, "") } else { (409, "IDEMPOTENCY_KEY_REUSED") })
    }

    fn go_live(&self, wish: Option<OffsetDateTime>) -> Option<(u16, &'static str)> {
        let refused = Some((409, "ROOM_NOT_IDLE"));
        match (self.on, wish) {
            (_, Some(wish)) if wish < self.now + MARGIN => None,
            (On::Unknown, _) => None,
            (On::Idle, _) => Some((201, "")),
            (On::Open { starts, .. }, Some(wish)) if wish == *starts => Some((200, "")),
            (On::Open { .. }, Some(_)) => refused,
            (On::Open { status: Status::Scheduled, starts, .. }, None) if *starts > self.now + 2 * BUFFER => {
                refused
            }
            (On::Open { .. }, None) => Some((200, "")),
        }
    }
}
