//! What becomes of a live room's open session, decided from that session, the wish, and the database's now. Pure:
//! time, the host and his impatience meet here, and nothing else decides.

use domain::LiveStatus;
use time::{Duration, OffsetDateTime};

use super::{LiveError, request::NewSession};
use crate::store::live::LiveSession;

/// What going live leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nothing is on: a new session begins so.
    Create(LiveStatus),
    /// The open session is what was wanted, if need be after what was due anyway.
    Keep,
    /// The open session starts.
    Start,
    /// Another session is in the way.
    Refuse,
}

/// A host goes live, or schedules.
pub fn go_live(open: Option<&LiveSession>, wish: &NewSession, now: OffsetDateTime) -> Way {
    match (open, wish.later(now)) {
        (None, None) => Way::Create(LiveStatus::Live),
        (None, Some(start)) if start - buffer(wish.buffer_minutes()) <= now => Way::Create(LiveStatus::Lobby),
        (None, Some(_)) => Way::Create(LiveStatus::Scheduled),
        (Some(open), None) if open.status != LiveStatus::Scheduled => Way::Keep,
        // Its lobby is open, or nearly: that is the session he means.
        (Some(open), None) if open.lobby_opens_at() - buffer(open.lobby_buffer_minutes) <= now => Way::Start,
        (Some(open), Some(start)) if open.starts_at == start => Way::Keep,
        (Some(_), _) => Way::Refuse,
    }
}

/// What the open session has to become by its own plan: its lobby opens, it starts, or its whole time went by before
/// anybody opened it.
pub fn due(open: &LiveSession, now: OffsetDateTime) -> Option<LiveStatus> {
    match open.status {
        LiveStatus::Scheduled if open.ends_at.is_some_and(|end| end <= now) => Some(LiveStatus::Cancelled),
        LiveStatus::Scheduled | LiveStatus::Lobby if open.starts_at <= now => Some(LiveStatus::Live),
        LiveStatus::Scheduled if open.lobby_opens_at() <= now => Some(LiveStatus::Lobby),
        LiveStatus::Scheduled
        | LiveStatus::Lobby
        | LiveStatus::Live
        | LiveStatus::Ended
        | LiveStatus::Cancelled => None,
    }
}

/// What a host does with the open session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Start,
    OpenLobby,
    End,
    Cancel,
    Reset,
    HostPresent(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is so already.
    Keep,
    Become(LiveStatus),
    HostPresent(bool),
}

/// What a verb does with the open session of this status, None for none.
pub fn step(verb: Verb, open: Option<LiveStatus>) -> Result<Step, LiveError> {
    use LiveStatus::{Cancelled, Ended, Live, Lobby, Scheduled};
    let open = open.filter(|status| status.is_open());
    match (verb, open) {
        (Verb::End | Verb::Cancel | Verb::Reset, None) => Ok(Step::Keep),
        (Verb::Start | Verb::OpenLobby | Verb::HostPresent(_), None) => Err(LiveError::NotActive),
        (Verb::Start, Some(Live)) | (Verb::OpenLobby, Some(Lobby | Live)) => Ok(Step::Keep),
        (Verb::Start, Some(_)) => Ok(Step::Become(Live)),
        (Verb::OpenLobby, Some(_)) => Ok(Step::Become(Lobby)),
        (Verb::Cancel, Some(Live)) => Err(LiveError::Started),
        (Verb::Cancel, Some(_)) | (Verb::End | Verb::Reset, Some(Scheduled)) => Ok(Step::Become(Cancelled)),
        (Verb::End | Verb::Reset, Some(_)) => Ok(Step::Become(Ended)),
        (Verb::HostPresent(present), Some(_)) => Ok(Step::HostPresent(present)),
    }
}

fn buffer(minutes: i32) -> Duration {
    Duration::minutes(minutes.into())
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
