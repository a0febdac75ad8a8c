//! Writes bookings. One statement changes a booking, the slots of its parties and inserts their notifications
//! (`notify_parties()`). Each write of a status has a condition on the previous status.

use chassis::db::Statement;
use domain::{NotificationKind, SessionId};
use proto::types::v1::Caller;
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::{Booking, read::bookings};
use crate::policy::{MAX_OPEN, MAX_PER_PAIR, MAX_START_AGE, MAX_START_AHEAD};

/// Takes the advisory locks of these users, so that no other transaction books for them, and stores the profile from
/// the caller's bearer token.
pub async fn lock_users(
    executor: impl PgExecutor<'_>,
    users: &[String],
    caller: &Caller,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"select lock_users($1)::text as locked,
                  case when $2 <> '' then upsert_user($2, $3, $4, $5, $6, $7, $8)::text end as remembered"#,
        users,
        caller.user_id,
        caller.name,
        caller.email,
        caller.avatar_url,
        caller.email_verified,
        caller.locale,
        caller.zoneinfo,
    )
    .fetch_one(executor)
    .statement("SELECT lock_users")
    .await
    .map(drop)
}

/// The values of a new booking, which were checked.
#[derive(Clone, Debug)]
pub struct NewBooking {
    pub creator: Caller,
    pub host_id: String,
    pub guest_id: String,
    pub title: String,
    pub description: String,
    pub scheduled_at: OffsetDateTime,
    pub duration_minutes: i32,
    pub time_zone: Option<String>,
    pub guest_name: Option<String>,
    pub guest_email: Option<String>,
    pub idempotency_key: Option<String>,
    /// Requests with the same key are equal if their hashes are equal.
    pub request_hash: Vec<u8>,
}

impl NewBooking {
    /// Whether the limits apply: to users, not to admins and services.
    pub fn is_limited(&self) -> bool {
        !self.creator.is_privileged()
    }
}

/// Inserts a booking in one statement with its own commit.
///
/// `admit_booking` takes the locks of both parties and checks the limits and the slot, so that a conflict is no
/// failed statement. The session is inserted first, so that a conflict of the key comes before all others. None: the
/// creator's idempotency key exists already, the start is out of range, a limit is reached, or the slot is taken.
pub async fn insert_booking(
    executor: impl PgExecutor<'_>,
    id: SessionId,
    new: &NewBooking,
    meeting_url: &str,
) -> Result<Option<Booking>, sqlx::Error> {
    bookings!(
        ["with inserted as (
            insert into sessions (id, host_id, guest_id, created_by, title, description, scheduled_at,
                                  duration_minutes, meeting_url, guest_name, guest_email, idempotency_key, request_hash,
                                  time_zone)
            select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $23
            where $7 between app_now() - make_interval(secs => $20) and app_now() + make_interval(secs => $21)
              and admit_booking($4, $17, $18, $19, $22, $24, $25, $2, $3, $12, $7, $8, $14, $15, $16)
            on conflict on constraint sessions_idempotency_key do nothing
            returning *, sessions as booking),
        slots as (
            insert into session_participants (session_id, user_id, role, slot)
            select id, part.user_id, part.role,
                   tstzrange(scheduled_at, scheduled_at + make_interval(mins => duration_minutes))
            from inserted cross join lateral (values (host_id, 'host'), (guest_id, 'guest')) part (user_id, role)),
        notified as (select notify_parties(booking, 'booking_created', '{}') from inserted)"]
        "inserted",
        "cross join notified",
        id.0,
        new.host_id,
        new.guest_id,
        new.creator.user_id,
        new.title,
        new.description,
        new.scheduled_at,
        new.duration_minutes,
        meeting_url,
        new.guest_name,
        new.guest_email,
        new.idempotency_key,
        new.idempotency_key.as_ref().map(|_| new.request_hash.as_slice()),
        new.is_limited(),
        MAX_OPEN,
        MAX_PER_PAIR,
        new.creator.name,
        new.creator.email,
        new.creator.avatar_url,
        MAX_START_AGE.as_seconds_f64(),
        MAX_START_AHEAD.as_seconds_f64(),
        new.creator.email_verified,
        new.time_zone,
        new.creator.locale,
        new.creator.zoneinfo,
    )
    .fetch_optional(executor)
    .statement("INSERT insert_booking")
    .await
}

/// Limits and conflicts that refuse a new booking, at `now`.
#[derive(Clone, Copy, Debug)]
pub struct Obstacles {
    pub open_full: bool,
    /// Seconds until the pair may be booked again.
    pub pair_wait: Option<i64>,
    pub slot_taken: bool,
    pub now: OffsetDateTime,
}

pub async fn find_obstacles(
    executor: impl PgExecutor<'_>,
    new: &NewBooking,
) -> Result<Obstacles, sqlx::Error> {
    sqlx::query_as!(
        Obstacles,
        r#"select open_full as "open_full!", pair_wait, is_slot_taken($2, $3, $6, $7, null) as "slot_taken!",
                  app_now() as "now!"
           from booking_limits($1, $2, $3, $4, $5)"#,
        new.creator.user_id,
        new.host_id,
        new.guest_id,
        MAX_OPEN,
        MAX_PER_PAIR,
        new.scheduled_at,
        new.duration_minutes,
    )
    .fetch_one(executor)
    .statement("SELECT find_obstacles")
    .await
}

/// A booking's new values after a reschedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescheduled {
    pub scheduled_at: OffsetDateTime,
    pub duration_minutes: i32,
    pub title: String,
    pub description: String,
    pub time_zone: Option<String>,
    /// Whether the time changed, not only the texts.
    pub moved: bool,
    /// What the parties are notified of, if of anything.
    pub notice: Option<NotificationKind>,
}

/// Whether the new slot of a booking overlaps another booking of its parties.
pub async fn is_slot_taken(
    executor: impl PgExecutor<'_>,
    booking: &Booking,
    new: &Rescheduled,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select is_slot_taken($1, $2, $3, $4, $5) as "taken!""#,
        booking.host_id,
        booking.guest_id,
        new.scheduled_at,
        new.duration_minutes,
        booking.id.0,
    )
    .fetch_one(executor)
    .statement("SELECT is_slot_taken")
    .await
}

/// Writes a reschedule. False: the booking changed since it was read, or the slot is taken ([`is_slot_taken`]). Callers
/// hold the locks of both parties.
pub async fn reschedule_booking(
    executor: impl PgExecutor<'_>,
    read: &Booking,
    new: &Rescheduled,
) -> Result<bool, sqlx::Error> {
    let changed = sqlx::query!(
        r#"with changed as (
               update sessions
               set scheduled_at = $4, duration_minutes = $5, title = $6, description = $7, time_zone = $9,
                   sequence = sequence + 1, updated_at = app_now()
               where id = $1 and sequence = $2 and status = $3
                 and not ($8::bool and is_slot_taken(host_id, guest_id, $4, $5, $1))
               returning id, scheduled_at, duration_minutes, sessions as booking),
           slots as (
               update session_participants p
               set slot = tstzrange(scheduled_at, scheduled_at + make_interval(mins => duration_minutes))
               from changed where p.session_id = changed.id and $8)
           select case when $10::text is not null
                       then notify_parties(booking, $10, booking_changes(booking, $11, $12, $13, $14))::text
                       end as notified
           from changed"#,
        read.id.0,
        read.sequence,
        read.status.as_str(),
        new.scheduled_at,
        new.duration_minutes,
        new.title,
        new.description,
        new.moved,
        new.time_zone,
        new.notice.map(NotificationKind::as_str),
        read.scheduled_at,
        read.duration_minutes,
        read.title,
        read.description,
    );
    Ok(changed.fetch_optional(executor).statement("UPDATE reschedule_booking").await?.is_some())
}

/// Cancels a booking. False: the booking is no longer open, or `guest` cancels and was kicked.
pub async fn cancel_booking(
    executor: impl PgExecutor<'_>,
    id: SessionId,
    guest: Option<&str>,
    reason: &str,
) -> Result<bool, sqlx::Error> {
    let changed = sqlx::query!(
        r#"with changed as (
               update sessions
               set status = 'cancelled', cancelled_at = app_now(), cancel_reason = nullif($2, ''),
                   sequence = sequence + 1, updated_at = app_now()
               where id = $1 and is_booking_open(sessions)
                 and not exists (select from kicked_participants where session_id = $1 and user_id = $3)
               returning id, sessions as booking),
           freed as (
               update session_participants p set active = false from changed where p.session_id = changed.id)
           select notify_parties(booking, 'booking_cancelled', '{}')::text as notified from changed"#,
        id.0,
        reason,
        guest,
    );
    Ok(changed.fetch_optional(executor).statement("UPDATE cancel_booking").await?.is_some())
}

/// Ends a booking. False: the booking is no longer open.
pub async fn end_booking(executor: impl PgExecutor<'_>, id: SessionId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"with changed as (
               update sessions set status = 'completed', updated_at = app_now()
               where id = $1 and is_booking_open(sessions)
               returning id),
           freed as (
               update session_participants p set active = false from changed where p.session_id = changed.id)
           select exists (select from changed) as "changed!""#,
        id.0,
    )
    .fetch_one(executor)
    .statement("UPDATE end_booking")
    .await
}
