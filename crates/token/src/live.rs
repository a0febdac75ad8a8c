//! Live rooms: users with a seat in the open session may join, unless they were kicked or banned.
//!
//! room-lifecycle gives seats (`SeatService.Join`, which the gateway calls first): it decides capacity and lobby under
//! the session's lock. Token reads the seat again for each token.

use chassis::grpc::timestamp;
use domain::{LiveSessionId, LiveStatus, LobbyStatus, Owner, SeatRole};
use proto::token::v1::IssueForLiveRoomResponse;
use time::{Duration, OffsetDateTime};

use crate::{
    decision::{JoinRow, Permit, Record, Refused, StoredProfile},
    issue::Issued,
    store::LiveJoin,
};

/// The shortest lifetime of a token. It applies shortly before and after the planned end: the session continues until
/// the last participant leaves.
const OVERTIME_TTL: Duration = Duration::minutes(5);

impl JoinRow for LiveJoin {
    fn now(&self) -> OffsetDateTime {
        self.now
    }

    fn signed_at(&self) -> OffsetDateTime {
        self.signed_at
    }

    fn permit(&self) -> Result<Permit, Refused> {
        if !self.may_read {
            return Err(Refused::NoLiveRoom);
        }
        let session_id = session_with_room(self).ok_or(Refused::NotActive)?;
        let role = seat(self)?;
        let left = self.ends_at.map_or(Duration::MAX, |ends_at| (ends_at - self.now).max(OVERTIME_TTL));
        Ok(Permit { owner: Owner::LiveSession(session_id), token_role: role.into(), left })
    }

    fn record(&self) -> Record<'_> {
        Record {
            id: self.room_id,
            status: self.room_status,
            name: self.room_name.as_deref(),
            generation: self.generation,
            confirmed_at: self.confirmed_at,
            closing_at: self.closing_at,
        }
    }

    fn stored_profile(&self) -> Option<StoredProfile<'_>> {
        self.role.filter(|_| self.may_read)?;
        Some(StoredProfile {
            name: self.own_name.as_deref(),
            email: self.own_email.as_deref(),
            email_verified: self.own_email_verified,
            avatar: self.own_avatar.as_deref(),
            booked: None,
        })
    }
}

/// The session that participants may join. A scheduled session has no room yet.
fn session_with_room(row: &LiveJoin) -> Option<LiveSessionId> {
    row.session_id.filter(|_| row.session_status.is_some_and(LiveStatus::has_room))
}

/// The role of the caller's seat. Of several reasons to refuse, the one that lasts longest is returned. The host never
/// waits.
fn seat(row: &LiveJoin) -> Result<SeatRole, Refused> {
    if row.banned {
        return Err(Refused::Banned);
    }
    if row.kicked {
        return Err(Refused::Kicked);
    }
    let role = row.role.ok_or(Refused::NoSeat)?;
    let lobby_status = row.lobby_status.filter(|_| !role.is_host());
    match lobby_status {
        Some(LobbyStatus::Rejected) => Err(Refused::Rejected),
        _ if row.left => Err(Refused::NoSeat),
        Some(LobbyStatus::Waiting) => Err(Refused::Waiting),
        Some(LobbyStatus::Admitted) | None => Ok(role),
    }
}

pub fn response(row: &LiveJoin, issued: Issued) -> IssueForLiveRoomResponse {
    IssueForLiveRoomResponse {
        token: issued.token,
        ws_url: issued.ws_url,
        room_name: issued.room_name,
        identity: issued.identity,
        role: row.role.map(i32::from).unwrap_or_default(),
        can_record: issued.token_role.can_record,
        expires_at: Some(timestamp(issued.expires_at)),
    }
}

#[cfg(test)]
mod tests;
