//! The SQL of rooms with stale participants.

use chassis::db::Statement;
use domain::RoomId;
use sqlx::{PgExecutor, Result};
use time::OffsetDateTime;

use crate::stale_participants::policy::{APART, REPLACED_AFTER};

/// Lists active rooms with stale participants and without joined ones. Each stale participant was silent 60 s ago, and
/// not all of them were probed just now.
pub async fn list_stale_rooms(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<RoomId>> {
    sqlx::query_scalar!(
        r#"select p.room_id as "room!: RoomId"
           from livekit_participants p
           join livekit_rooms r on r.id = p.room_id and r.status = 'active'
           where p.silent_checked_at <= app_now() and p.ghost_since is not null
             and not exists (select from livekit_participants j where j.joined_room = p.room_id)
           group by p.room_id
           having max(p.silent_since) <= app_now() - make_interval(secs => $2)
              and min(p.checked_at) <= app_now() - make_interval(secs => $3)
           order by min(p.checked_at) limit $1"#,
        limit,
        REPLACED_AFTER.as_seconds_f64(),
        APART.as_seconds_f64()
    )
    .fetch_all(db)
    .statement("SELECT list_stale_rooms")
    .await
}

/// Lists the identities of a room's stale participants, and of participants with a sign of life since the first
/// silence. LiveKit's list may lack a participant that is in the room (livekit.md §3).
pub async fn list_recent(db: impl PgExecutor<'_>, room: RoomId) -> Result<Vec<String>> {
    sqlx::query_scalar!(
        "select p.user_id from livekit_participants p
         where p.room_id = $1
           and (p.ghost_since is not null
                or p.alive_at >= (select min(g.silent_since) from livekit_participants g
                                  where g.room_id = $1 and g.ghost_since is not null))",
        room.0
    )
    .fetch_all(db)
    .statement("SELECT list_recent")
    .await
}

/// Whether a room has a joined participant, or an event since `since` says that one joined.
pub async fn has_new_participant(
    db: impl PgExecutor<'_>,
    room: RoomId,
    since: OffsetDateTime,
) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from livekit_participants p where p.joined_room = $1)
               or exists (select from livekit_events e
                          where e.room_id = $1 and e.received_at >= $2 and e.event_type = 'participant_joined')
               as "come!""#,
        room.0,
        since
    )
    .fetch_one(db)
    .statement("SELECT has_new_participant")
    .await
}

/// Clears stale participants that LiveKit cannot list any more: their room has ended, or has another generation.
pub async fn forget_stale(db: impl PgExecutor<'_>) -> Result<u64> {
    let done = sqlx::query!(
        "with gone as (
             select p.room_id, p.user_id
             from livekit_participants p join livekit_rooms r on r.id = p.room_id
             where p.silent_checked_at <= app_now() and p.status <> 'joined'
               and (r.status = 'ended' or r.made_at > p.left_at)
             for no key update of p skip locked)
         update livekit_participants p set silent_since = null, ghost_since = null
         from gone where p.room_id = gone.room_id and p.user_id = gone.user_id"
    )
    .execute(db)
    .statement("UPDATE forget_stale")
    .await?;
    Ok(done.rows_affected())
}

/// Clears the stale participants of a room that LiveKit does not list. `sids` are the participant SIDs that it lists.
pub async fn forget_unlisted(db: impl PgExecutor<'_>, room: RoomId, sids: &[String]) -> Result<u64> {
    let done = sqlx::query!(
        "with unlisted as (
             select room_id, user_id from livekit_participants
             where room_id = $1 and ghost_since is not null and participant_sid <> all($2)
             for no key update skip locked)
         update livekit_participants p set silent_since = null, ghost_since = null
         from unlisted u where p.room_id = u.room_id and p.user_id = u.user_id",
        room.0,
        sids
    )
    .execute(db)
    .statement("UPDATE forget_unlisted")
    .await?;
    Ok(done.rows_affected())
}
