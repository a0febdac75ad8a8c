//! The gRPC service by which a host moderates the participants of a room.

use chassis::{
    grpc::{moment, page_request, timestamp, uuid},
    status::{Fields, Refusal},
};
use domain::{
    LiveRoomId, SeatRole, Source,
    field::{id, non_empty, one_of},
    page::{self, Cursor},
};
use proto::{
    room::v1::{self as pb, moderation_service_server::ModerationService},
    types::v1::Caller,
};
use time::OffsetDateTime;
use tonic::{Request, Response};

use super::{
    LiveError, LiveRooms, convert,
    grpc_seats::{require_user, seat},
    moderation::Summary,
    store::moderation::Seated,
};
use crate::error::{Error, RpcResult};

#[tonic::async_trait]
impl ModerationService for LiveRooms {
    async fn promote(&self, request: Request<pb::ModerateRequest>) -> RpcResult<pb::SeatResponse> {
        self.give_role(request, SeatRole::Speaker).await
    }

    async fn demote(&self, request: Request<pb::ModerateRequest>) -> RpcResult<pb::SeatResponse> {
        self.give_role(request, SeatRole::Guest).await
    }

    async fn mute(&self, request: Request<pb::MuteRequest>) -> RpcResult<pb::MuteResponse> {
        let request = request.into_inner();
        let caller = require_user(request.caller)?;
        let mut wrong = Fields::default();
        let room = wrong.check(uuid("room_id", &request.room_id));
        let user = wrong.check(id("user_id", request.user_id));
        let source = wrong.check_or(one_of("source", request.source), Source::Microphone);
        wrong.finish()?;
        let live = self.clone();
        let changed = self
            .rooms
            .run("mute", async move { live.mute_seated(&caller, room, &user, source).await })
            .await?;
        Ok(Response::new(pb::MuteResponse { changed }))
    }

    async fn kick(&self, request: Request<pb::ModerateRequest>) -> RpcResult<pb::KickResponse> {
        let (caller, room, user) = parse(request)?;
        let live = self.clone();
        let kicked =
            self.rooms.run("kick", async move { live.kick_seated(&caller, room, &user).await }).await?;
        if kicked { Ok(Response::new(pb::KickResponse {})) } else { Err(not_seated().into()) }
    }

    async fn ban(&self, request: Request<pb::BanRequest>) -> RpcResult<pb::BanResponse> {
        let request = request.into_inner();
        let caller = require_user(request.caller)?;
        let mut wrong = Fields::default();
        let room = wrong.check(uuid("room_id", &request.room_id));
        let user = wrong.check(id("user_id", request.user_id));
        let until = wrong.check(moment("until", request.until.as_ref()).and_then(until));
        wrong.finish()?;
        let live = self.clone();
        self.rooms.run("ban", async move { live.ban(&caller, room, &user, until).await }).await?;
        Ok(Response::new(pb::BanResponse {}))
    }

    async fn unban(&self, request: Request<pb::ModerateRequest>) -> RpcResult<pb::BanResponse> {
        let (caller, room, user) = parse(request)?;
        self.unban(&caller, room, &user).await?;
        Ok(Response::new(pb::BanResponse {}))
    }

    async fn raise_hand(&self, request: Request<pb::RaiseHandRequest>) -> RpcResult<pb::SeatResponse> {
        let request = request.into_inner();
        let (caller, room) = (require_user(request.caller)?, uuid("room_id", &request.room_id)?);
        let taken = self.raise_hand(&caller, room, request.raised).await?.ok_or(LiveError::NoSeat);
        Ok(Response::new(pb::SeatResponse { seat: Some(seat(taken.map_err(Error::from)?)) }))
    }

    async fn get_summary(
        &self,
        request: Request<pb::GetSummaryRequest>,
    ) -> RpcResult<pb::GetSummaryResponse> {
        let request = request.into_inner();
        let caller = require_user(request.caller)?;
        let mut wrong = Fields::default();
        let room = wrong.check(uuid("room_id", &request.room_id));
        let (limit, after) = wrong.check(page_request(request.limit, request.cursor.as_deref()));
        wrong.finish()?;
        let summary = self.summary(&caller, room, after, page::fetch_limit(limit)).await?;
        Ok(Response::new(summary_response(summary, limit)))
    }
}

impl LiveRooms {
    async fn give_role(
        &self,
        request: Request<pb::ModerateRequest>,
        role: SeatRole,
    ) -> RpcResult<pb::SeatResponse> {
        let (caller, room, user) = parse(request)?;
        let live = self.clone();
        let changed = self
            .rooms
            .run("give role", async move { live.set_seat_role(&caller, room, &user, role).await })
            .await?;
        Ok(Response::new(pb::SeatResponse { seat: Some(seat(changed.ok_or_else(not_seated)?)) }))
    }
}

fn parse(request: Request<pb::ModerateRequest>) -> Result<(Caller, LiveRoomId, String), Refusal> {
    let request = request.into_inner();
    let caller = require_user(request.caller)?;
    let mut wrong = Fields::default();
    let room = wrong.check(uuid("room_id", &request.room_id));
    let user = wrong.check(id("user_id", request.user_id));
    wrong.finish().map(|()| (caller, room, user))
}

/// Refuses times after the year 8999: Postgres stores them, but the programs that read them fail.
fn until(time: Option<OffsetDateTime>) -> Result<Option<OffsetDateTime>, Refusal> {
    match time {
        Some(time) if time.year() >= 9000 => {
            Err(Refusal::invalid("until", "must be a time before the year 9000"))
        }
        time => Ok(time),
    }
}

fn not_seated() -> Refusal {
    Refusal::invalid("user_id", "must be a person who has a seat in this session")
}

fn summary_response(summary: Summary, limit: usize) -> pb::GetSummaryResponse {
    let Summary { live, tally, people } = summary;
    let (people, next_cursor) = page::page(people, limit, |one| Cursor { at: one.rank, id: one.key });
    let number = |value: i64| i32::try_from(value).unwrap_or(i32::MAX);
    let counts = tally.map(|tally| pb::Counts {
        lobby_waiting: number(tally.waiting),
        in_room: number(tally.connected),
        max_participants: live.session.as_ref().map_or(0, |session| session.max_participants),
        host_present: live.room.host_present,
    });
    pb::GetSummaryResponse {
        counts,
        peak_viewers: tally.map_or(0, |tally| tally.peak_viewers),
        hands_raised: tally.map_or(0, |tally| number(tally.hands_raised)),
        people: people.into_iter().map(seated).collect(),
        next_cursor,
        room: Some(convert::room(live.room)),
        session: live.session.map(convert::session),
    }
}

fn seated(one: Seated) -> pb::SeatedPerson {
    pb::SeatedPerson {
        name: one.name.unwrap_or_else(|| one.user_id.clone()),
        user_id: one.user_id,
        avatar_url: one.avatar_url.and_then(non_empty),
        role: one.role.into(),
        lobby_status: one.lobby_status.into(),
        in_room: one.in_room,
        joined_at: one.joined_at.map(timestamp),
        left_at: one.left_at.map(timestamp),
        hand_raised_at: one.hand_raised_at.map(timestamp),
        is_kicked: one.is_kicked,
        is_banned: one.is_banned,
    }
}
