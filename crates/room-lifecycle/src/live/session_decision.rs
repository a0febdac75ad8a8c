//! Decides the next state of a live room's open session. The inputs are that session, the request, and the database's
//! now. These functions are pure, and nothing else decides about sessions. [`super::join_decision`] decides about
//! seats.

use chassis::status::{Fields, Refusal};
use domain::{EndReason, LiveStatus};
use time::{Duration, OffsetDateTime};

use super::{
    LiveError,
    policy::{FARTHEST, MISSED_AFTER},
    store::{LiveSession, sessions::NewSession},
};

/// What going live leads to.
#[derive(Clone, Copy, Debug)]
pub enum GoLiveDecision<'a> {
    /// No session is open: a new one begins in this status.
    Create(LiveStatus),
    /// A transition of the open session is due, and comes first.
    Due,
    /// The open session is the requested one.
    Keep(&'a LiveSession),
    /// The open session starts.
    Start(&'a LiveSession),
    /// This session is open, and it is not the requested one.
    Refuse(&'a LiveSession),
}

/// Checks that the start is within a year from now, and that the end comes after it.
pub fn check_times(new: &NewSession, now: OffsetDateTime) -> Result<(), Refusal> {
    let mut wrong = Fields::default();
    let start = new.later(now).unwrap_or(now);
    if start > now + FARTHEST {
        wrong.refuse(Refusal::invalid("starts_at", "must be within a year from now"));
    }
    if new.ends_at.is_some_and(|end| end <= start || end > start + FARTHEST) {
        wrong.refuse(Refusal::invalid("ends_at", "must be after the start, by a year at most"));
    }
    wrong.finish()
}

/// Decides what happens when a host goes live, or schedules a session.
pub fn go_live<'a>(
    open: Option<&'a LiveSession>,
    desired: &NewSession,
    now: OffsetDateTime,
) -> GoLiveDecision<'a> {
    let Some(open) = open else {
        return GoLiveDecision::Create(match desired.later(now) {
            None => LiveStatus::Live,
            Some(start) if start.saturating_sub(buffer(desired.buffer_minutes())) <= now => LiveStatus::Lobby,
            Some(_) => LiveStatus::Scheduled,
        });
    };
    let due = due(open, now);
    match desired.later(now) {
        _ if due == Some(LiveStatus::Cancelled) => GoLiveDecision::Due,
        // Its lobby is open, or opens soon: the host means this session.
        None if open.status == LiveStatus::Scheduled => {
            let soon = open.lobby_opens_at().saturating_sub(buffer(open.lobby_buffer_minutes)) <= now;
            if soon { GoLiveDecision::Start(open) } else { GoLiveDecision::Refuse(open) }
        }
        Some(start) if open.starts_at != start => GoLiveDecision::Refuse(open),
        _ if due.is_some() => GoLiveDecision::Due,
        _ => GoLiveDecision::Keep(open),
    }
}

/// The status that the open session must get by time: its lobby opens, it goes live, or it is cancelled because it was
/// missed.
pub fn due(open: &LiveSession, now: OffsetDateTime) -> Option<LiveStatus> {
    match open.status {
        LiveStatus::Scheduled | LiveStatus::Lobby if is_missed(open, now) => Some(LiveStatus::Cancelled),
        LiveStatus::Scheduled | LiveStatus::Lobby if open.starts_at <= now => Some(LiveStatus::Live),
        LiveStatus::Scheduled if open.lobby_opens_at() <= now => Some(LiveStatus::Lobby),
        LiveStatus::Scheduled
        | LiveStatus::Lobby
        | LiveStatus::Live
        | LiveStatus::Ended
        | LiveStatus::Cancelled => None,
    }
}

/// Whether it is too late to go live. A downtime of our services does not extend the time.
fn is_missed(open: &LiveSession, now: OffsetDateTime) -> bool {
    open.ends_at.is_some_and(|end| end <= now) || open.starts_at.saturating_add(MISSED_AFTER) <= now
}

/// What a host can do with the open session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Start,
    OpenLobby,
    End,
    Cancel,
    Reset,
    HostPresent(bool),
}

impl Verb {
    /// The end reason of a session that this verb ends.
    #[must_use]
    pub const fn end_reason(self) -> EndReason {
        match self {
            Self::Reset => EndReason::Reset,
            Self::Start | Self::OpenLobby | Self::End | Self::Cancel | Self::HostPresent(_) => {
                EndReason::Host
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum SessionDecision<'a> {
    /// A transition of the open session is due, and comes first.
    Due,
    /// Nothing changes. The open session, if there is one.
    Keep(Option<&'a LiveSession>),
    Become(&'a LiveSession, LiveStatus),
    HostPresent(&'a LiveSession, bool),
}

/// Decides what a verb does with the open session.
pub fn step(
    verb: Verb,
    open: Option<&LiveSession>,
    now: OffsetDateTime,
) -> Result<SessionDecision<'_>, LiveError> {
    use LiveStatus::{Cancelled, Ended, Live, Scheduled};
    let Some(open) = open else {
        return match verb {
            Verb::End | Verb::Cancel | Verb::Reset => Ok(SessionDecision::Keep(None)),
            Verb::Start | Verb::OpenLobby | Verb::HostPresent(_) => Err(LiveError::NotActive),
        };
    };
    if due(open, now).is_some() {
        return Ok(SessionDecision::Due);
    }
    Ok(match (verb, open.status) {
        (Verb::Start, Live) => SessionDecision::Keep(Some(open)),
        (Verb::Start, _) => SessionDecision::Become(open, Live),
        (Verb::OpenLobby, Scheduled) => SessionDecision::Become(open, LiveStatus::Lobby),
        (Verb::OpenLobby, _) => SessionDecision::Keep(Some(open)), // the lobby is open, or the session is live
        (Verb::Cancel, Live) => return Err(LiveError::Started),
        (Verb::Cancel, _) | (Verb::End | Verb::Reset, Scheduled) => SessionDecision::Become(open, Cancelled),
        (Verb::End | Verb::Reset, _) => SessionDecision::Become(open, Ended),
        (Verb::HostPresent(present), _) => SessionDecision::HostPresent(open, present),
    })
}

fn buffer(minutes: i32) -> Duration {
    Duration::minutes(minutes.into())
}

#[cfg(test)]
#[path = "session_decision_tests.rs"]
mod tests;
