//! The SQL of our own events in rooms, and of the database's clock.

use chassis::db::Statement;
use domain::RoomId;
use sqlx::{PgExecutor, Result};
use time::{Duration, OffsetDateTime};

/// Records that a kicked participant was found in the room and removed under this SID. LiveKit gave the participant
/// another token meanwhile, which is valid as long as the first one. So the room is watched for that time. Stays that
/// began before `at`, the time of the check, are over. `sid` is `None` if LiveKit did not list the participant.
pub async fn insert_removal(
    db: impl PgExecutor<'_>,
    room: RoomId,
    identity: &str,
    sid: Option<&str>,
    at: OffsetDateTime,
    watch: Duration,
) -> Result<()> {
    sqlx::query!(
        "with watched as (
             update livekit_rooms
             set watched_until = greatest(watched_until, app_now() + make_interval(secs => $5))
             where id = $1)
         insert into livekit_events (event_id, room_id, event_type, identity, participant_sid, received_at)
         values ('GR_' || gen_random_uuid(), $1, 'participant_removed', $2, $3, $4)",
        room.0,
        identity,
        sid,
        at,
        watch.as_seconds_f64()
    )
    .execute(db)
    .statement("INSERT insert_removal")
    .await
    .map(drop)
}

/// The database's now.
pub async fn find_now(db: impl PgExecutor<'_>) -> Result<OffsetDateTime> {
    sqlx::query_scalar!(r#"select app_now() as "now!""#).fetch_one(db).statement("SELECT find_now").await
}
