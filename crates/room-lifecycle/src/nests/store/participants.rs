//! The SQL of a nest's participants: their rights, and guests, which are first observed on LiveKit.

use chassis::db::Statement;
use domain::{NestId, NestRole, RoomId};
use sqlx::{PgExecutor, Result};
use time::{Duration, OffsetDateTime};

use crate::nests::policy::GUEST_RETENTION;

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
