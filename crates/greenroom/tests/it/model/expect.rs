//! The answers that the model expects. Without faults and without other moves in the room, the model knows the room's
//! state and so the one answer. Otherwise it knows the set of possible answers.

use serde_json::Value;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    acts::{Act, Answer, Key, Move},
    membership::Admission,
    moderation::Moderation,
};

/// The buffer that every session of the model has.
const BUFFER: Duration = Duration::minutes(15);
/// So close to a change of the session's status, the model predicts nothing.
const MARGIN: Duration = Duration::minutes(2);

const NOT_ACTIVE: Option<(u16, &str)> = Some((409, "ROOM_NOT_ACTIVE"));
const BANNED: (u16, &str) = (403, "BANNED");
const KICKED: (u16, &str) = (403, "KICKED");
const NO_SEAT: (u16, &str) = (403, "NOT_PARTICIPANT");
/// The moderated user is not a participant, or is the host.
const NO_SUCH_USER: (u16, &str) = (400, "INVALID_REQUEST");

/// What the model knows about a room's session.
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
    /// Reads it from an answer with a room and a session.
    pub fn from_body(body: &Value, now: OffsetDateTime) -> Self {
        let session = &body["session"];
        let status = match body["room"]["status"].as_str() {
            Some("idle") => return Self::Idle,
            Some("scheduled") => Status::Scheduled,
            Some("lobby") => Status::Lobby,
            Some("live") => Status::Live,
            _ => return Self::Unknown,
        };
        let starts = session["starts_at"].as_str().map(|text| OffsetDateTime::parse(text, &Rfc3339).unwrap());
        match (session["id"].as_str(), starts) {
            (Some(id), Some(starts)) if body["room"]["current_session_id"] == id => {
                let soon = status != Status::Live && starts < now + MARGIN;
                let changes = [starts - BUFFER, starts - 2 * BUFFER];
                let is_close = |change: &OffsetDateTime| (*change - now).abs() < MARGIN;
                if soon || (status == Status::Scheduled && changes.iter().any(is_close)) {
                    return Self::Unknown;
                }
                Self::Open { id: id.to_owned(), status, starts }
            }
            _ => Self::Unknown, // the answer to a repeated request is about another session
        }
    }
}

/// A move with the state of the room and of the user when it was performed.
pub struct Question<'a> {
    pub asked: &'a Move,
    pub is_host: bool,
    pub on: &'a On,
    /// The idempotency keys of the room.
    pub keys: &'a [Key],
    /// Whether the caller, or the moderated user, may join.
    pub admission: Admission,
    /// No fault is active, and no other move of the step is in the room.
    pub exact: bool,
    pub now: OffsetDateTime,
}

impl Question<'_> {
    /// Describes what is wrong with an answer, if it is wrong.
    pub fn objection(&self, answer: &Answer) -> Option<String> {
        let actual = (answer.status, answer.error());
        if self.admits_kicked_user(answer) {
            return Some("a kicked user must get no token".to_owned());
        }
        if self.for_hosts() && !self.is_host {
            return (actual != (403, "NOT_HOST")).then(|| "only the host may".to_owned());
        }
        if let Some(expected) = self.exact.then(|| self.expected()).flatten() {
            return (actual != expected).then(|| format!("expected: {expected:?}"));
        }
        (!self.possible().contains(&actual)).then(|| format!("possible: {:?}", self.possible()))
    }

    /// Whether the answer has a token for the session from which the user was kicked. A room is named after its
    /// session.
    fn admits_kicked_user(&self, answer: &Answer) -> bool {
        let room_name = answer.body["room_name"].as_str().unwrap_or_default();
        matches!(&self.admission, Admission::Kicked(session) if room_name.contains(session))
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
            Act::Seat(_) | Act::Token { .. } if self.admission == Admission::Banned => vec![idle, BANNED],
            Act::Seat(_) => {
                let refused = [(409, "ROOM_FULL"), (403, "REJECTED")];
                [fine, idle].into_iter().chain(refused).chain(self.exclusions()).collect()
            }
            Act::Token { .. } => {
                let refused = [(409, "ROOM_FULL"), (403, "REJECTED"), (403, "WAITING_IN_LOBBY")];
                let left_meanwhile = (!self.exact).then_some(NO_SEAT);
                let refused = refused.into_iter().chain(left_meanwhile);
                [fine, idle].into_iter().chain(refused).chain(self.exclusions()).collect()
            }
            Act::Moderate(moderation, target) => self.moderated(*moderation, *target),
            Act::Hand(_) => vec![fine, idle, NO_SEAT],
            Act::Enter | Act::Exit | Act::Publish => Vec::new(),
        }
    }

    /// The possible refusals of a user who is banned or kicked.
    fn exclusions(&self) -> Vec<(u16, &'static str)> {
        match &self.admission {
            Admission::Allowed => Vec::new(),
            Admission::Banned => vec![BANNED],
            Admission::Kicked(session) if self.exact && self.is_over(session) => Vec::new(),
            Admission::Kicked(_) => vec![KICKED],
            Admission::Unclear => vec![BANNED, KICKED],
        }
    }

    /// Whether another session is open.
    fn is_over(&self, session: &str) -> bool {
        matches!(self.on, On::Open { id, .. } if id != session)
    }

    fn moderated(&self, moderation: Moderation, target: usize) -> Vec<(u16, &'static str)> {
        let (fine, idle) = ((200, ""), (409, "ROOM_NOT_ACTIVE"));
        let is_self = target == self.asked.room;
        match moderation {
            Moderation::Ban { .. } if is_self => vec![NO_SUCH_USER],
            Moderation::Ban { .. } | Moderation::Unban => vec![fine],
            Moderation::Mute => vec![fine, idle],
            Moderation::Kick | Moderation::Promote | Moderation::Demote if is_self => {
                vec![idle, NO_SUCH_USER]
            }
            Moderation::Kick | Moderation::Promote | Moderation::Demote => vec![fine, idle, NO_SUCH_USER],
        }
    }

    /// The only correct answer, if the model knows it.
    fn expected(&self) -> Option<(u16, &'static str)> {
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
            (Act::Hand(_), _) if is_closed || self.exclusion().is_some() => Some(NO_SEAT),
            (Act::Moderate(moderation, target), _) => {
                self.expected_moderation(*moderation, *target, is_closed)
            }
            (Act::Seat("join") | Act::Token { .. }, _) if self.is_host => Some((200, "")),
            (Act::Seat("join") | Act::Token { .. }, _) => self.exclusion(),
            (Act::Verb(_) | Act::AdmitAll, _) => Some((200, "")),
            _ => None,
        }
    }

    /// The refusal that excludes the caller, or the moderated user, from the open session.
    fn exclusion(&self) -> Option<(u16, &'static str)> {
        match (&self.admission, self.on) {
            (Admission::Banned, _) => Some(BANNED),
            (Admission::Kicked(session), On::Open { id, .. }) if id == session => Some(KICKED),
            _ => None,
        }
    }

    fn expected_moderation(
        &self,
        moderation: Moderation,
        target: usize,
        is_closed: bool,
    ) -> Option<(u16, &'static str)> {
        let is_self = target == self.asked.room;
        match moderation {
            Moderation::Ban { .. } | Moderation::Unban => None, // `possible` has the only answer
            _ if is_closed => NOT_ACTIVE,
            Moderation::Mute => Some((200, "")),
            Moderation::Kick | Moderation::Promote | Moderation::Demote if is_self => Some(NO_SUCH_USER),
            Moderation::Kick => (self.exclusion() == Some(KICKED)).then_some((200, "")),
            Moderation::Promote | Moderation::Demote => self.exclusion().map(|_| NO_SUCH_USER),
        }
    }

    /// The answer to a key that has created a session: the same session again, or a refusal of another request.
    fn repeated(&self, body: &Value, key: usize) -> Option<(u16, &'static str)> {
        let key = &self.keys[key];
        key.created
            .as_ref()
            .map(|_| if key.body == *body { (201, "") } else { (409, "IDEMPOTENCY_KEY_REUSED") })
    }

    fn go_live(&self, requested: Option<OffsetDateTime>) -> Option<(u16, &'static str)> {
        let refused = Some((409, "ROOM_NOT_IDLE"));
        match (self.on, requested) {
            (_, Some(requested)) if requested < self.now + MARGIN => None,
            (On::Unknown, _) => None,
            (On::Idle, _) => Some((201, "")),
            (On::Open { starts, .. }, Some(requested)) if requested == *starts => Some((200, "")),
            (On::Open { .. }, Some(_)) => refused,
            (On::Open { status: Status::Scheduled, starts, .. }, None) if *starts > self.now + 2 * BUFFER => {
                refused
            }
            (On::Open { .. }, None) => Some((200, "")),
        }
    }
}
