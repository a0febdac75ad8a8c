//! The SQL of nests: what there is, who comes in, and the end. What people may do stands in [`people`].

pub mod people;

use chassis::db::Statement;
use domain::NestId;
use sqlx::{PgExecutor, Result};
use time::Duration;

/// Whoever has joined a nest has so long to connect before it may end for emptiness.
pub const COMING: Duration = Duration::minutes(1);
/// So many speakers, and so many admins, are named; the room's metadata on LiveKit has its limits.
const NAMED: i64 = 1_000;
/// Participants that a nest has at most, there or not: ever new keys cost their owner nothing, and us a row each.
const REMEMBERED: i64 = 5_000;

/// An open nest as `/info` and the room's metadata tell it. Keys are hex.
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

/// One round trip; every table is reached by a key. None: there is none, or it has ended.
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
        NAMED
    )
    .fetch_optional(db)
    .statement("SELECT find_nest")
    .await
}

/// A new nest, with its host as admin and speaker.
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

/// Locks an open nest until the transaction ends; its host. None: there is none, or it has ended.
pub async fn lock_nest(db: impl PgExecutor<'_>, id: NestId) -> Result<Option<String>> {
    sqlx::query_scalar!(
        "select created_by from nests where id = $1 and status = 'open' for no key update",
        id.0
    )
    .fetch_optional(db)
    .statement("SELECT lock_nest")
    .await
}

/// Ends an open nest; its room is marked by a trigger. False: there was none.
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

/// Makes somebody a participant, as a listener, unless he is one or the nest is full: one round trip. Full is by who
/// is on LiveKit now; of many who come at once some more get in, and LiveKit's own limit is the fence around it.
/// Whether he is in; None: there is no such nest.
pub async fn insert_participant(db: impl PgExecutor<'_>, nest: NestId, pubkey: &str) -> Result<Option<bool>> {
    sqlx::query_scalar!(
        r#"with nest as materialized (
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
           person as (
               insert into livekit_participants (room_id, user_id, role)
               select room_id, $2, 'listener' from nest where not known and not nest.full and room_id is not null
               on conflict do nothing)
           select not nest.full as "is_in!" from nest"#,
        nest.0,
        pubkey,
        REMEMBERED
    )
    .fetch_optional(db)
    .statement("INSERT insert_participant")
    .await
}
