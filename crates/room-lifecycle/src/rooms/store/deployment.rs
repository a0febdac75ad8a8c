//! The SQL of the deployment: its LiveKit, its database, and which names on LiveKit are ours.

use chassis::db::Statement;
use domain::Owner;
use sqlx::{PgExecutor, PgPool, Result};
use uuid::Uuid;

#[derive(Clone, Debug)]
pub struct Deployment {
    pub id: Uuid,
    /// Whether LiveKit and the database are those that the deployment was set up with. Only then rooms may be deleted.
    pub ours: bool,
}

/// Reads the deployment. The first service that starts on a fresh database sets it up.
pub async fn find_deployment(db: &PgPool, url: &str, key: &str) -> Result<Deployment> {
    let found = sqlx::query!(
        r#"select id, livekit_url is null as "fresh!",
                  (livekit_url, api_key_id, database_identity) is not distinct from ($1, $2, database_identity())
                  as "ours!"
           from deployment"#,
        url,
        key
    )
    .fetch_one(db)
    .statement("SELECT find_deployment")
    .await?;
    if found.fresh {
        return set_up(db, url, key).await;
    }
    Ok(Deployment { id: found.id, ours: found.ours })
}

/// Sets up the deployment, unless another process was first, and returns it.
async fn set_up(db: impl PgExecutor<'_>, url: &str, key: &str) -> Result<Deployment> {
    sqlx::query_as!(
        Deployment,
        r#"with first as (
               update deployment
               set livekit_url = $1, api_key_id = $2, database_identity = database_identity()
               where livekit_url is null
               returning id)
           select d.id,
                  coalesce((select true from first),
                           (d.livekit_url, d.api_key_id, d.database_identity)
                           is not distinct from ($1, $2, database_identity())) as "ours!"
           from deployment d"#,
        url,
        key
    )
    .fetch_one(db)
    .statement("UPDATE set_up")
    .await
}

/// Adopts this LiveKit and this database as the deployment's own. The id stays, so that rooms created between a backup
/// and a disaster are still recognised as ours.
pub async fn set_adopted(db: impl PgExecutor<'_>, url: &str, key: &str) -> Result<()> {
    sqlx::query!(
        "update deployment set livekit_url = $1, api_key_id = $2, database_identity = database_identity()",
        url,
        key
    )
    .execute(db)
    .statement("UPDATE set_adopted")
    .await
    .map(drop)
}

/// A name on LiveKit that is not the current name of an open room of ours.
#[derive(Debug)]
pub struct Stray {
    pub name: String,
    /// We created it before: the name is retired, or its room has ended.
    pub known: bool,
}

/// Lists which of these LiveKit names belong neither to a record that is not ended nor to an open owner. It must run
/// after LiveKit was listed: then every room of ours in that list has its record here, or is retired.
///
/// Records and owners decide, never `livekit_room_names`. A room that is named after an open owner is a stray only if
/// the owner's record has a later generation.
pub async fn list_strays(db: impl PgExecutor<'_>, names: &[String]) -> Result<Vec<Stray>> {
    let (owners, generations): (Vec<_>, Vec<_>) = names
        .iter()
        .map(|name| Owner::from_room_name(name).map(|(owner, generation)| (owner.id(), generation)).unzip())
        .unzip();
    sqlx::query_as!(
        Stray,
        r#"with unrecorded as materialized ( -- few names, so that few owners must be read
               select t.name, t.owner, t.generation
               from unnest($1::text[], $2::uuid[], $3::integer[]) as t(name, owner, generation)
               where not exists (select from livekit_rooms r where r.room_name = t.name and r.status <> 'ended'))
           select t.name as "name!", n.room_id is not null as "known!"
           from unrecorded t
           left join livekit_room_names n on n.room_name = t.name
           where not exists (select from room_owners o
                             left join livekit_rooms r on r.owner = o.owner
                             where o.owner = t.owner and o.open
                               and (r.id is null or r.generation <= t.generation))"#,
        names,
        &owners as &[Option<Uuid>],
        &generations as &[Option<i32>]
    )
    .fetch_all(db)
    .statement("SELECT list_strays")
    .await
}
