//! The SQL of seats: a user takes a seat in a session, or gives it up. Callers that take a seat, or free one for
//! others, hold the session's lock. Statements that count run after the lock is taken, on a snapshot of their own.

use chassis::db::Statement;
use domain::{LiveRoomId, LiveSessionId, LiveStatus, LobbyStatus, SeatRole};
use proto::types::v1::Caller;
use sqlx::{PgExecutor, Result};
use time::OffsetDateTime;

use super::RoomReader;
pub use crate::kinds::live_session::store::lock_session;
use crate::{
    kinds::live_session::DISCONNECT_HOLD,
    live::policy::{CONNECT_HOLD, LOBBY_HOLD},
};

pub use super::lobby::admit_waiting;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    pub role: SeatRole,
    pub lobby_status: LobbyStatus,
}

/// A live room and one user's seat in it, and the database's now.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "a row of facts, each decided on by itself")]
pub struct SeatView {
    pub may_read: bool,
    pub is_host: bool,
    /// The open session.
    pub session: Option<LiveSessionId>,
    pub status: Option<LiveStatus>,
    pub auto_admit: bool,
    /// Whether any user waits whose wait has not expired.
    pub has_waiting: bool,
    /// A transition of the session is due: its lobby opens, or it goes live.
    pub due: bool,
    pub banned: bool,
    pub kicked: bool,
    /// The user's role in this session. The host comes from the room.
    pub role: SeatRole,
    /// `None`: the user never had a seat in this session.
    pub lobby_status: Option<LobbyStatus>,
    /// The user has the seat now, and has not given it up.
    pub taken: bool,
    /// The seat is recorded with `role`.
    pub role_kept: bool,
    pub held_until: Option<OffsetDateTime>,
    pub now: OffsetDateTime,
}

impl SeatView {
    #[must_use]
    pub fn seat(&self) -> Option<Seat> {
        self.lobby_status.map(|lobby_status| Seat { role: self.role, lobby_status })
    }
}

/// Reads a room and a user's seat in one round trip. Every table is reached by a unique key.
pub async fn find_seat_view(
    db: impl PgExecutor<'_>,
    room: LiveRoomId,
    who: RoomReader<'_>,
) -> Result<Option<SeatView>> {
    sqlx::query_as!(
        SeatView,
        r#"select may_read_live_room(coalesce(s.access_level, r.access_level), r.host_user_id, r.metadata,
                                     $2, $3, $4) as "may_read!",
                  r.host_user_id = $2 as "is_host!", s.id as "session?: LiveSessionId", s.status as "status?: LiveStatus",
                  coalesce(s.auto_admit, false) as "auto_admit!",
                  exists (select from waiting_seats w where w.session_id = s.id) as "has_waiting!",
                  is_live_session_due(s) as "due!", b.user_id is not null as "banned!",
                  p.user_id is not null as "kicked!",
                  i.role as "role!: SeatRole", a.lobby_status as "lobby_status?: LobbyStatus",
                  a.user_id is not null and a.left_at is null as "taken!", a.role is not distinct from i.role as "role_kept!",
                  a.held_until as "held_until?",
                  app_now() as "now!"
           from live_rooms r
           left join live_room_sessions s on s.open_room = r.id
           left join live_room_attendance a on a.session_id = s.id and a.user_id = $2
           left join current_bans b on b.live_room_id = r.id and b.user_id = $2
           left join kicked_participants p on p.live_session_id = s.id and p.user_id = $2
           cross join lateral (select seat_role($2, r.host_user_id, a.role) as role) i
           where r.id = $1"#,
        room.0,
        who.user_id,
        who.is_admin,
        who.groups
    )
    .fetch_optional(db)
    .statement("SELECT find_seat_view")
    .await
}

/// Locks the session of a live room that can be joined, if there is one.
pub async fn lock_session_of(db: impl PgExecutor<'_>, room: LiveRoomId) -> Result<Option<LiveSessionId>> {
    sqlx::query_scalar!(
        "select id as \"id: LiveSessionId\" from live_room_sessions where open_room = $1 and status in ('lobby', 'live') for no key update",
        room.0
    )
    .fetch_optional(db)
    .statement("SELECT lock_session_of")
    .await
}

/// A seat to write.
#[derive(Clone, Copy, Debug)]
pub struct Taking {
    pub session: LiveSessionId,
    pub seat: Seat,
    /// Free seats are not counted: the user holds this one already, or it counts against no limit.
    pub reserved: bool,
}

/// Takes a seat, or takes it again. `None`: all seats are taken. Also inserts the participant of the room on LiveKit,
/// and saves the user data of the caller's token.
pub async fn take_free_seat(
    db: impl PgExecutor<'_>,
    taking: Taking,
    caller: &Caller,
) -> Result<Option<Seat>> {
    let held_for = if taking.seat.lobby_status == LobbyStatus::Waiting { LOBBY_HOLD } else { CONNECT_HOLD };
    sqlx::query_file_as!(
        Seat,
        "src/live/store/take_free_seat.sql",
        taking.session.0,
        caller.user_id,
        taking.seat.role.as_str(),
        taking.seat.lobby_status.as_str(),
        taking.reserved,
        held_for.as_seconds_f64(),
        caller.name,
        caller.email,
        caller.avatar_url,
        caller.email_verified,
        caller.locale,
        caller.zoneinfo
    )
    .fetch_optional(db)
    .statement("INSERT take_free_seat")
    .await
}

/// Records that the user gave up the seat.
pub async fn set_left(db: impl PgExecutor<'_>, session: LiveSessionId, user: &str) -> Result<bool> {
    let done = sqlx::query!(
        "update live_room_attendance
         set left_at = app_now(), disconnected_at = null, held_until = null
         where session_id = $1 and user_id = $2 and left_at is null",
        session.0,
        user
    )
    .execute(db)
    .statement("UPDATE set_left")
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Records that the user's client lost its connection. Idempotent: the first time counts.
pub async fn set_disconnected(db: impl PgExecutor<'_>, session: LiveSessionId, user: &str) -> Result<bool> {
    let done = sqlx::query!(
        "update live_room_attendance
         set disconnected_at = app_now(), held_until = app_now() + make_interval(secs => $3)
         where session_id = $1 and user_id = $2 and left_at is null and lobby_status = 'admitted'
           and disconnected_at is null",
        session.0,
        user,
        DISCONNECT_HOLD.as_seconds_f64()
    )
    .execute(db)
    .statement("UPDATE set_disconnected")
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Whether the live session has a free seat for this user. It counts seats like a join.
pub async fn has_free_seat(db: impl PgExecutor<'_>, session: LiveSessionId, user: &str) -> Result<bool> {
    let free = sqlx::query_scalar!(
        r#"select (select count(*) from taken_seats t
                   where t.session_id = s.id and t.user_id <> $2) < s.max_participants as "free!"
           from live_room_sessions s where s.id = $1"#,
        session.0,
        user
    );
    Ok(free.fetch_optional(db).statement("SELECT has_free_seat").await?.unwrap_or(false))
}

/// Releases seats whose hold has expired, unless LiveKit shows their users in the room, and the places of expired waits
/// in the lobby. It locks no session, because it only frees seats. Locked seats are skipped until the next pass. A hold
/// longer than the longest one was written before the clock was set back: it starts again.
pub async fn set_released(db: impl PgExecutor<'_>, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "with due as (
             select a.session_id, a.user_id, a.held_until <= app_now() as past
             from live_room_attendance a
             where a.left_at is null
               and (a.held_until <= app_now() or a.held_until > app_now() + make_interval(secs => $2))
               and not exists (select from livekit_rooms k
                               join livekit_participants p on p.room_id = k.id
                               where k.live_session_id = a.session_id and p.user_id = a.user_id
                                 and p.status = 'joined')
             order by a.held_until limit $1
             for no key update of a skip locked)
         update live_room_attendance a
         set left_at = case when due.past then app_now() end,
             held_until = case when due.past then a.held_until else app_now() + make_interval(secs => $2) end
         from due where a.session_id = due.session_id and a.user_id = due.user_id",
        limit,
        DISCONNECT_HOLD.as_seconds_f64()
    )
    .execute(db)
    .statement("UPDATE set_released")
    .await?;
    Ok(done.rows_affected())
}
