//! The SQL of the automatic end of empty live sessions and nests: the announcement, its withdrawal, and the end.

use chassis::db::Statement;
use domain::RoomId;
use sqlx::{PgExecutor, Result};
use time::{Duration, OffsetDateTime};

use super::Record;
use crate::rooms::policy::CLOSING;

/// How long an open owner's room may be empty before its end is announced.
#[derive(Clone, Copy, Debug)]
pub struct EmptyTimeouts {
    /// After the start, until the first participant came.
    pub first_join: Duration,
    /// After the last participant left a live session.
    pub live_session: Duration,
    /// After the last participant left a nest.
    pub nest: Duration,
    /// After a user joined a nest, or its room was created.
    pub nest_join: Duration,
}

/// Announces the end of empty live sessions and nests, and marks their rooms for that time.
///
/// It exempts rooms that users are about to join: they hold a seat, or have just joined the nest, or its room was just
/// created. Their browsers may wait a minute for access to the microphone. It also exempts rooms with a recent start or
/// departure. A time in the future does not count: it was written before the clock was set back.
pub async fn set_closing(db: impl PgExecutor<'_>, empty: &EmptyTimeouts, limit: i64) -> Result<u64> {
    let done = sqlx::query_file!(
        "src/rooms/store/set_closing.sql",
        limit,
        empty.first_join.as_seconds_f64(),
        empty.live_session.as_seconds_f64(),
        CLOSING.as_seconds_f64(),
        empty.nest.as_seconds_f64(),
        empty.nest_join.as_seconds_f64()
    )
    .fetch_all(db)
    .statement("UPDATE set_closing")
    .await?;
    Ok(done.len() as u64)
}

/// Withdraws an announcement, unless another one was made since.
pub async fn set_open(db: impl PgExecutor<'_>, room: RoomId, closing_at: OffsetDateTime) -> Result<bool> {
    let done = sqlx::query!(
        "update livekit_rooms set closing_at = null where id = $1 and closing_at = $2",
        room.0,
        closing_at
    )
    .execute(db)
    .statement("UPDATE set_open")
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Whether the announced time has passed, and since the announcement no participant joined the room, no user took a
/// seat or joined the nest. The room's record stays locked until the transaction ends. So a concurrent withdrawal
/// either comes first, or finds the owner ended.
pub async fn lock_closing(db: impl PgExecutor<'_>, record: &Record) -> Result<bool> {
    let closing = sqlx::query_scalar!(
        "select k.id from livekit_rooms k
         where k.id = $1 and k.generation = $2 and k.status = 'active'
           and k.closing_at = $3 and k.closing_at <= app_now()
           and not exists (select from livekit_participants p where p.joined_room = k.id)
           and not exists (select from reserved_seats a where a.session_id = k.live_session_id offset 0)
           and not exists (select from nest_participants p
                           where p.nest_id = k.nest_id and p.joined_at >= $3::timestamptz - make_interval(secs => $4))
           and not exists (select from livekit_events e
                           where e.room_id = k.id and e.event_type in ('participant_joined', 'track_published')
                             and left(e.identity, 3) is distinct from 'EG_'
                             and e.received_at >= $3::timestamptz - make_interval(secs => $4))
         for no key update",
        record.id.0,
        record.generation,
        record.closing_at,
        CLOSING.as_seconds_f64()
    )
    .fetch_optional(db)
    .statement("SELECT lock_closing")
    .await?;
    Ok(closing.is_some())
}
