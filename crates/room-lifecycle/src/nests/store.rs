//! The SQL of nests: create, read, join and end. [`participants`] has the rights of participants.

pub mod participants;

use chassis::db::Statement;
use domain::NestId;
use sqlx::{PgExecutor, Result};

use super::policy::{LISTED, MOST_PARTICIPANTS};

/// An open nest as `/info` and the room's metadata show it. Keys are hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nest {
    pub id: NestId,
    pub host: String,
    pub relays: Vec<String>,
    pub hls_stream: bool,
    pub speakers: Vec<String>,
    pub admins: Vec<String>,
    pub recording: bool,
}

/// Reads an open nest in one round trip. Every table is reached by a key. `None`: it does not exist, or has ended.
pub async fn find_nest(db: impl PgExecutor<'_>, id: NestId) -> Result<Option<Nest>> {
    sqlx::query_as!(
        Nest,
        r#"select n.id, n.created_by as host, n.relays, n.hls_stream,
                  array(select p.pubkey from nest_participants p
                        where p.nest_id = n.id and p.is_speaker
                        order by p.joined_at, p.pubkey limit $2) as "speakers!",
                  array(select p.pubkey from nest_participants p
                        where p.nest_id = n.id and p.is_admin
                        order by p.joined_at, p.pubkey limit $2) as "admins!",
                  exists (select from livekit_rooms r
                          join recordings c on c.open_room = r.id and c.kind = 'file'
                                               and c.finished_at is null
                          where r.nest_id = n.id) as "recording!"
           from nests n
           where n.id = $1 and n.status = 'open'"#,
        id.0,
        LISTED
    )
    .fetch_optional(db)
    .statement("SELECT find_nest")
    .await
}

/// Inserts a nest, with its host as admin and speaker.
pub async fn insert_nest(
    db: impl PgExecutor<'_>,
    host: &str,
    relays: &[String],
    hls_stream: bool,
) -> Result<NestId> {
    sqlx::query_scalar!(
        "with nest as (
             insert into nests (created_by, relays, hls_stream) values ($1, $2, $3)
             returning id, created_by, created_at)
         insert into nest_participants (nest_id, pubkey, is_admin, is_speaker, joined_at)
         select id, created_by, true, true, created_at from nest
         returning nest_id as \"nest_id: NestId\"",
        host,
        relays,
        hls_stream
    )
    .fetch_one(db)
    .statement("INSERT insert_nest")
    .await
}

/// Locks an open nest until the transaction ends, and returns its host. `None`: it does not exist, or has ended.
pub async fn lock_nest(db: impl PgExecutor<'_>, id: NestId) -> Result<Option<String>> {
    sqlx::query_scalar!(
        "select created_by from nests where id = $1 and status = 'open' for no key update",
        id.0
    )
    .fetch_optional(db)
    .statement("SELECT lock_nest")
    .await
}

/// Ends an open nest. A trigger marks its room. `false`: the nest was not open.
pub async fn set_ended(db: impl PgExecutor<'_>, id: NestId) -> Result<bool> {
    let done = sqlx::query!(
        "update nests set status = 'ended', ended_at = app_now() where id = $1 and status = 'open'",
        id.0
    )
    .execute(db)
    .statement("UPDATE set_ended")
    .await?;
    Ok(done.rows_affected() > 0)
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
