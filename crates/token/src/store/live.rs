//! Reads what a user's join of a live room depends on.

use chassis::db::Statement;
use domain::{LiveRoomId, LiveSessionId, LiveStatus, LobbyStatus, RoomId, RoomStatus, SeatRole};
use proto::types::v1::Caller;
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::{Record, StoredProfile};

/// A live room, its open session and the caller's seat in it, as one snapshot.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts of one row")]
pub struct LiveJoin {
    /// The database's clock, and the same without the offset of drills, as for bookings.
    pub now: OffsetDateTime,
    pub signed_at: OffsetDateTime,
    /// By the access level of the open session, or of the room if no session is open.
    pub may_read: bool,
    /// None: no session is open.
    pub session_id: Option<LiveSessionId>,
    pub session_status: Option<LiveStatus>,
    pub ends_at: Option<OffsetDateTime>,
    /// None: the caller never had a seat in this session. The live room says who is the host; the seat's role does not.
    pub role: Option<SeatRole>,
    pub lobby_status: Option<LobbyStatus>,
    /// The seat was given up or released.
    pub left: bool,
    /// Banned from the live room now.
    pub banned: bool,
    /// Kicked from this session.
    pub kicked: bool,
    pub own_name: Option<String>,
    pub own_email: Option<String>,
    pub own_email_verified: Option<bool>,
    pub own_avatar: Option<String>,
    pub own_locale: Option<String>,
    pub own_zoneinfo: Option<String>,
    pub room_id: Option<RoomId>,
    pub room_status: Option<RoomStatus>,
    pub room_name: Option<String>,
    pub generation: Option<i32>,
    pub confirmed_at: Option<OffsetDateTime>,
    pub closing_at: Option<OffsetDateTime>,
}

impl LiveJoin {
    pub fn record(&self) -> Record<'_> {
        Record {
            id: self.room_id,
            status: self.room_status,
            name: self.room_name.as_deref(),
            generation: self.generation,
            confirmed_at: self.confirmed_at,
            closing_at: self.closing_at,
        }
    }

    /// What is stored about the caller. None without a seat, and for users who may not know of the room.
    pub fn profile(&self) -> Option<StoredProfile<'_>> {
        self.role.filter(|_| self.may_read)?;
        Some(StoredProfile {
            name: self.own_name.as_deref(),
            email: self.own_email.as_deref(),
            email_verified: self.own_email_verified,
            avatar: self.own_avatar.as_deref(),
            locale: self.own_locale.as_deref(),
            zoneinfo: self.own_zoneinfo.as_deref(),
            booked: None,
        })
    }
}

/// One round trip. Each table is read by a unique key (docs/benchmarks.md has the plan).
pub async fn find_live_join(
    executor: impl PgExecutor<'_>,
    live_room_id: LiveRoomId,
    caller: &Caller,
) -> Result<Option<LiveJoin>, sqlx::Error> {
    sqlx::query_as!(
        LiveJoin,
        r#"
        select app_now() as "now!", clock_timestamp() as "signed_at!",
               may_read_live_room(coalesce(s.access_level, l.access_level), l.host_user_id, l.metadata,
                                  $2, $3, $4) as "may_read!",
               s.id as "session_id?: LiveSessionId", s.status as "session_status?: LiveStatus", s.ends_at as "ends_at?",
               case when a.user_id is not null
                    then seat_role(a.user_id, l.host_user_id, a.role) end as "role?: SeatRole",
               a.lobby_status as "lobby_status?: LobbyStatus", a.left_at is not null as "left!",
               b.user_id is not null as "banned!", p.user_id is not null as "kicked!",
               own.display_name as "own_name?", own.email as "own_email?",
               own.email_verified as own_email_verified, own.avatar_url as "own_avatar?",
               own.locale as "own_locale?", own.zoneinfo as "own_zoneinfo?",
               r.id as "room_id?: RoomId", r.status as "room_status?: RoomStatus", r.room_name as "room_name?",
               r.generation as "generation?", r.confirmed_at as "confirmed_at?", r.closing_at as "closing_at?"
        from live_rooms l
        left join live_room_sessions s on s.open_room = l.id
        left join live_room_attendance a on a.session_id = s.id and a.user_id = $2
        left join current_bans b on b.live_room_id = l.id and b.user_id = $2
        left join app_users own on own.id = $2
        left join livekit_rooms r on r.owner = s.id
        left join kicked_participants p on p.room_id = r.id and p.user_id = $2
        where l.id = $1
        "#,
        live_room_id.0,
        caller.user_id,
        caller.is_admin,
        &caller.groups
    )
    .fetch_optional(executor)
    .statement("SELECT find_live_join")
    .await
}
