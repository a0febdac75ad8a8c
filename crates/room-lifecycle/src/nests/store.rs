//! The SQL of nests: create, join, and the roles of participants. What the core needs too is in
//! [`crate::kinds::nest::store`].

use chassis::db::Statement;
use domain::{NestId, NestRole};
use sqlx::{PgExecutor, Result};
use time::Duration;

use super::policy::MOST_PARTICIPANTS;
pub use crate::kinds::nest::store::{Nest, Participant, find_nest, list_participants, lock_nest, set_ended};

/// Inserts a nest, with its host as admin and speaker.
pub async fn insert_nest(
    db: impl PgExecutor<'_>,
    id: NestId,
    host: &str,
    relays: &[String],
    hls_stream: bool,
) -> Result<()> {
    sqlx::query!(
        "with nest as (
             insert into nests (id, created_by, relays, hls_stream) values ($1, $2, $3, $4)
             returning id, created_by, created_at)
         insert into nest_participants (nest_id, pubkey, is_admin, is_speaker, joined_at)
         select id, created_by, true, true, created_at from nest",
        id.0,
        host,
        relays,
        hls_stream
    )
    .execute(db)
    .statement("INSERT insert_nest")
    .await
    .map(drop)
}

/// Inserts a user as a listener, unless the user is a participant already or the nest is full. One round trip.
///
/// Fullness counts the participants on LiveKit now. Concurrent joins may pass it by a few; LiveKit's own limit bounds
/// them. Returns whether the user is a participant. `None`: there is no such nest.
pub async fn insert_participant(db: impl PgExecutor<'_>, nest: NestId, pubkey: &str) -> Result<Option<bool>> {
    sqlx::query_scalar!(
        r#"with nest as materialized ( -- `full`: no capacity left on LiveKit, or too many participants recorded
               select n.id, k.id as room_id, p.pubkey is not null as known,
                      not coalesce(p.is_admin, false)
                      and (select count(*) from livekit_participants i
                           where i.joined_room = k.id) >= o.capacity
                      and not exists (select from livekit_participants i
                                      where i.joined_room = k.id and i.user_id = $2)
                      or p.pubkey is null
                      and (select count(*) from nest_participants q where q.nest_id = n.id) >= $3 as full
               from nests n
               cross join lateral room_owner(null, null, n.id) o
               left join livekit_rooms k on k.owner = n.id
               left join nest_participants p on p.nest_id = n.id and p.pubkey = $2
               where n.id = $1 and n.status = 'open'),
           participant as (
               insert into nest_participants (nest_id, pubkey)
               select id, $2 from nest where not known and not nest.full
               on conflict do nothing),
           livekit_participant as (
               insert into livekit_participants (room_id, user_id, role)
               select room_id, $2, 'listener' from nest where not known and not nest.full and room_id is not null
               on conflict do nothing)
           select not nest.full as "is_in!" from nest"#,
        nest.0,
        pubkey,
        MOST_PARTICIPANTS
    )
    .fetch_optional(db)
    .statement("INSERT insert_participant")
    .await
}

/// Sets a participant's role, and marks the room. With `watch` the room is watched for that time, because tokens
/// with more rights are still valid.
pub async fn set_role(
    db: impl PgExecutor<'_>,
    nest: NestId,
    pubkey: &str,
    role: NestRole,
    watch: Option<Duration>,
) -> Result<()> {
    sqlx::query!(
        r#"with participant as (
               update nest_participants
               set is_admin = $3, is_speaker = $4
               where nest_id = $1 and pubkey = $2
               returning nest_id, pubkey),
           room as (
               update livekit_rooms k
               set watched_until = greatest(k.watched_until, app_now() + make_interval(secs => $6))
               from participant p
               where k.owner = p.nest_id
               returning k.id),
           livekit_participant as (
               update livekit_participants l set role = $5
               from room where l.room_id = room.id and l.user_id = $2)
           select mark_room(id) is not null as "marked!" from room"#,
        nest.0,
        pubkey,
        role.is_admin(),
        role.is_speaker(),
        role.as_str(),
        watch.map(Duration::as_seconds_f64)
    )
    .fetch_optional(db)
    .statement("UPDATE set_role")
    .await
    .map(drop)
}
