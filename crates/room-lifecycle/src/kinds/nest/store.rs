//! The SQL of nests that the core needs: what an open nest shows, the rights of its participants, guests, which are first
//! observed on LiveKit, and its end.

use chassis::db::Statement;
use domain::{NestId, NestRole, RoomId};
use sqlx::{PgExecutor, Result};
use time::OffsetDateTime;

use super::{GUEST_RETENTION, LISTED};

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

/// A participant's rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    pub pubkey: String,
    pub is_admin: bool,
    pub is_speaker: bool,
}

impl Participant {
    #[must_use]
    pub const fn role(&self) -> NestRole {
        NestRole::of(self.is_admin, self.is_speaker)
    }
}

/// Lists the participants among these keys.
pub async fn list_participants(
    db: impl PgExecutor<'_>,
    nest: NestId,
    keys: &[String],
) -> Result<Vec<Participant>> {
    sqlx::query_as!(
        Participant,
        "select pubkey, is_admin, is_speaker from nest_participants where nest_id = $1 and pubkey = any($2)",
        nest.0,
        keys
    )
    .fetch_all(db)
    .statement("SELECT list_participants")
    .await
}

/// Inserts records for guests that were observed. From then on they count like other participants. Also deletes guests
/// who left long ago: a guest who comes back has another identity.
pub async fn insert_guests(
    db: impl PgExecutor<'_>,
    room: RoomId,
    identities: &[String],
    at: OffsetDateTime,
) -> Result<u64> {
    let done = sqlx::query!(
        "with forgotten as (
             delete from livekit_participants
             where room_id = $1 and role = 'guest' and status = 'left' and ghost_since is null
               and left_at < $3::timestamptz - make_interval(secs => $4))
         insert into livekit_participants (room_id, user_id, role)
         select $1, identity, 'guest'
         from unnest($2::text[]) as t(identity)
         where not exists (select from livekit_participants p where p.room_id = $1 and p.user_id = identity)
         on conflict do nothing",
        room.0,
        identities,
        at,
        GUEST_RETENTION.as_seconds_f64()
    )
    .execute(db)
    .statement("INSERT insert_guests")
    .await?;
    Ok(done.rows_affected())
}
