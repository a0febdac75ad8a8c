//! The SQL of events: stores LiveKit's webhooks as received, and deletes old events.

use chassis::db::Statement;
use serde_json::Value;
use sqlx::{PgExecutor, Result};
use time::Duration;

/// The stored part of a webhook.
#[derive(Debug)]
pub struct Event {
    pub id: String,
    pub kind: String,
    pub room_name: Option<String>,
    pub room_sid: Option<String>,
    pub identity: Option<String>,
    pub participant_sid: Option<String>,
    pub payload: Value,
}

/// Stores an event, marks its room if it is one of ours, and wakes the replicas. `false`: it was stored before.
///
/// `room_started` of a room that we are creating, or have under this SID, marks nothing: it comes for every room.
pub async fn insert_event(db: impl PgExecutor<'_>, event: &Event) -> Result<bool> {
    sqlx::query_scalar!(
        r#"with room as (
               select room_id from livekit_room_names where room_name = $3),
           stored as (
               insert into livekit_events (event_id, room_id, room_sid, event_type, identity, participant_sid, payload)
               values ($1, (select room_id from room), $4, $2, $5, $6, $7)
               on conflict (event_id) do nothing
               returning room_id),
           alive as ( -- `skip locked`: the response to a webhook must not wait for a lock
               update livekit_participants p
               set alive_at = app_now(),
                   -- a stale participant with a new event is probed at once: it may be alive
                   checked_at = case when p.ghost_since is null then app_now() else '-infinity' end,
                   silent_since = case when p.ghost_since is not null then p.silent_since end
               from (select q.room_id, q.user_id
                     from stored join livekit_participants q on q.room_id = stored.room_id and q.user_id = $5
                     for no key update of q skip locked) free
               where p.room_id = free.room_id and p.user_id = free.user_id),
           marked as (
               select mark_room(room_id) from stored
               where room_id is not null
                 and not ($2 = 'room_started'
                          and exists (select from livekit_rooms r
                                      where r.id = stored.room_id
                                        and (r.status = 'pending' or r.room_sid = $4))))
           select (select count(*) from stored) > 0 and (select count(*) from marked) >= 0 as "stored!""#,
        event.id,
        event.kind,
        event.room_name,
        event.room_sid,
        event.identity,
        event.participant_sid,
        event.payload
    )
    .fetch_one(db)
    .statement("INSERT insert_event")
    .await
}

/// Deletes a batch of events that are older than `keep`. Returns how many were deleted.
pub async fn delete_old_events(db: impl PgExecutor<'_>, keep: Duration, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "delete from livekit_events where event_id in (
             select event_id from livekit_events where received_at < app_now() - make_interval(secs => $1)
             order by received_at limit $2)",
        keep.as_seconds_f64(),
        limit
    )
    .execute(db)
    .statement("DELETE delete_old_events")
    .await?;
    Ok(done.rows_affected())
}
