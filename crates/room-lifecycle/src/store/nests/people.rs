//! Who may do what in a nest, and the guests whom only LiveKit knows.

use chassis::db::Statement;
use domain::{NestId, NestRole, RoomId};
use sqlx::{PgExecutor, Result};
use time::{Duration, OffsetDateTime};

/// Guests who left are remembered for so long: for as long as it matters when a nest became empty.
const GUESTS_REMEMBERED: Duration = Duration::hours(1);

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

/// Those of these keys that are participants.
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

/// What a participant may do from now on, and a mark for his room, which is watched until `watch`: tokens that
/// allow more are still about.
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
           person as (
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

/// Somebody had more rights on LiveKit than are his: whoever came with an old token comes again.
pub async fn set_watched(db: impl PgExecutor<'_>, room: RoomId, watch: Duration) -> Result<()> {
    sqlx::query!(
        "update livekit_rooms set watched_until = greatest(watched_until, app_now() + make_interval(secs => $2))
         where id = $1",
        room.0,
        watch.as_seconds_f64()
    )
    .execute(db)
    .statement("UPDATE set_watched")
    .await
    .map(drop)
}

/// Guests have no record before they are seen: from then on they count as everybody else does. Those who left long
/// ago are forgotten, because each of them comes back as another one.
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
        GUESTS_REMEMBERED.as_seconds_f64()
    )
    .execute(db)
    .statement("INSERT insert_guests")
    .await?;
    Ok(done.rows_affected())
}
