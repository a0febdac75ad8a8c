//! Reads bookings, with the names of both parties and the current state of the room.

use chassis::db::Statement;
use domain::{Parties, Role, RoomStatus, SessionId, SessionStatus, page::Cursor};
use proto::types::v1::Caller;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// A booking as it was at `now`.
#[derive(Clone, Debug)]
pub struct Booking {
    pub id: SessionId,
    pub title: String,
    pub description: String,
    pub status: SessionStatus,
    pub scheduled_at: OffsetDateTime,
    pub duration_minutes: i32,
    /// An IANA name.
    pub time_zone: Option<String>,
    pub opens_at: OffsetDateTime,
    pub closes_at: OffsetDateTime,
    pub meeting_url: String,
    pub host_id: String,
    pub host_name: String,
    pub host_avatar: String,
    pub guest_id: String,
    pub guest_name: String,
    pub guest_avatar: String,
    pub room_status: Option<RoomStatus>,
    pub room_name: Option<String>,
    pub room_sid: Option<String>,
    pub sequence: i32,
    pub link_version: i32,
    pub request_hash: Option<Vec<u8>>,
    pub cancelled_at: Option<OffsetDateTime>,
    pub cancel_reason: String,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub now: OffsetDateTime,
}

impl Booking {
    pub fn parties(&self) -> Parties<'_> {
        Parties { host: &self.host_id, guest: &self.guest_id }
    }

    /// Sets the name and picture that the statement which wrote this booking also stored. The statement itself returned
    /// the previous ones.
    pub fn set_profile(&mut self, user: &Caller) {
        let (name, avatar) = match self.parties().role_of(&user.user_id) {
            Some(Role::Host) => (&mut self.host_name, &mut self.host_avatar),
            Some(Role::Guest) => (&mut self.guest_name, &mut self.guest_avatar),
            None => return,
        };
        for (known, new) in [(name, &user.name), (avatar, &user.avatar_url)] {
            if !new.is_empty() {
                known.clone_from(new);
            }
        }
    }

    /// Whether the window has closed and the pass has not closed the booking yet.
    pub fn is_overdue(&self) -> bool {
        self.status.is_open() && self.now >= self.closes_at
    }
}

/// `[$with] select … from $sessions s … $rest`: the only list of a booking's columns.
macro_rules! bookings {
    ([$($with:tt)*] $sessions:literal, $rest:tt, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            Booking,
            $($with)*
            + r#"
            select s.id as "id!", s.title as "title!", s.description as "description!",
                   s.status as "status!: domain::SessionStatus", s.scheduled_at as "scheduled_at!",
                   s.duration_minutes as "duration_minutes!", s.time_zone, w.opens_at as "opens_at!", w.closes_at as "closes_at!",
                   s.meeting_url as "meeting_url!",
                   s.host_id as "host_id!", coalesce(h.display_name, s.host_id) as "host_name!",
                   coalesce(h.avatar_url, '') as "host_avatar!",
                   s.guest_id as "guest_id!", coalesce(g.display_name, s.guest_name, s.guest_id) as "guest_name!",
                   coalesce(g.avatar_url, '') as "guest_avatar!",
                   r.status as "room_status?: domain::RoomStatus", r.room_name as "room_name?", r.room_sid as "room_sid?",
                   s.sequence as "sequence!", s.link_version as "link_version!", s.request_hash, s.cancelled_at,
                   coalesce(s.cancel_reason, '') as "cancel_reason!",
                   s.created_at as "created_at!", s.updated_at as "updated_at!", app_now() as "now!"
            from "# + $sessions + " s
            cross join lateral booking_window(s.scheduled_at, s.duration_minutes) w
            left join app_users h on h.id = s.host_id
            left join app_users g on g.id = s.guest_id
            left join livekit_rooms r on r.session_id = s.id
            "
            + $rest,
            $($argument),+
        )
    };
}
pub(super) use bookings;

/// Returns the database's clock.
pub async fn find_now(executor: impl PgExecutor<'_>) -> Result<OffsetDateTime, sqlx::Error> {
    sqlx::query_scalar!(r#"select app_now() as "now!""#)
        .fetch_one(executor)
        .statement("SELECT find_now")
        .await
}

pub async fn find_booking(
    executor: impl PgExecutor<'_>,
    id: SessionId,
) -> Result<Option<Booking>, sqlx::Error> {
    bookings!([""] "sessions", "where s.id = $1", id.0)
        .fetch_optional(executor)
        .statement("SELECT find_booking")
        .await
}

pub async fn find_booking_by_key(
    executor: impl PgExecutor<'_>,
    created_by: &str,
    key: &str,
) -> Result<Option<Booking>, sqlx::Error> {
    bookings!([""] "sessions", "where s.created_by = $1 and s.idempotency_key = $2", created_by, key)
        .fetch_optional(executor)
        .statement("SELECT find_booking_by_key")
        .await
}

/// Whether this user was kicked from the booking's meeting. room-lifecycle writes kicks; they are permanent.
pub async fn is_kicked(
    executor: impl PgExecutor<'_>,
    id: SessionId,
    user_id: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from kicked_participants where session_id = $1 and user_id = $2) as "kicked!""#,
        id.0,
        user_id
    )
    .fetch_one(executor)
    .statement("SELECT is_kicked")
    .await
}

/// The filter of a list of a user's bookings.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub role: Option<Role>,
    pub status: Option<SessionStatus>,
    pub from: Option<OffsetDateTime>,
    pub to: Option<OffsetDateTime>,
    pub after: Option<Cursor>,
}

/// Lists bookings, latest start first. Each role has its own index and is read for one page; the two pages are then
/// merged.
pub async fn list_bookings(
    executor: impl PgExecutor<'_>,
    user_id: &str,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<Booking>, sqlx::Error> {
    bookings!(
        ["with page as (
            (select id, scheduled_at from sessions
             where host_id = $1 and coalesce($2, 'host') = 'host' and ($3::text is null or status = $3)
               and scheduled_at >= coalesce($4, '-infinity'::timestamptz)
               and scheduled_at < coalesce($5, 'infinity'::timestamptz)
               and (scheduled_at, id) < (coalesce($6, 'infinity'::timestamptz), coalesce($7::uuid, $9))
             order by scheduled_at desc, id desc limit $8)
            union all
            (select id, scheduled_at from sessions
             where guest_id = $1 and coalesce($2, 'guest') = 'guest' and ($3::text is null or status = $3)
               and scheduled_at >= coalesce($4, '-infinity'::timestamptz)
               and scheduled_at < coalesce($5, 'infinity'::timestamptz)
               and (scheduled_at, id) < (coalesce($6, 'infinity'::timestamptz), coalesce($7::uuid, $9))
             order by scheduled_at desc, id desc limit $8)
            order by scheduled_at desc, id desc limit $8)"]
        "sessions",
        "where s.id in (select page.id from page) order by s.scheduled_at desc, s.id desc",
        user_id,
        filter.role.map(Role::as_str),
        filter.status.map(SessionStatus::as_str),
        filter.from,
        filter.to,
        filter.after.map(|cursor| cursor.at),
        filter.after.map(|cursor| cursor.id),
        limit,
        Uuid::max(),
    )
    .fetch_all(executor)
    .statement("SELECT list_bookings")
    .await
}
