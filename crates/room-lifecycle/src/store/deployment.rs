//! Which LiveKit and which database this deployment is, and which names on LiveKit are ours.

use sqlx::{PgExecutor, PgPool, Result};
use uuid::Uuid;

#[derive(Clone, Debug)]
pub struct Deployment {
    pub id: Uuid,
    /// Whether LiveKit and database are those that the deployment was set up with: only then may rooms be deleted.
    pub ours: bool,
}

/// The deployment; the first service that starts on a fresh database sets it up. Afterwards this only reads.
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
    .await?;
    if found.fresh {
        return set_up(db, url, key).await;
    }
    Ok(Deployment { id: found.id, ours: found.ours })
}

/// The deployment, set up unless another process was first.
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
    .await
}

/// Takes this LiveKit and this database as the deployment's own. The id stays: rooms made between a backup and the
/// disaster are still recognised as ours.
pub async fn set_adopted(db: impl PgExecutor<'_>, url: &str, key: &str) -> Result<()> {
    sqlx::query!(
        "update deployment set livekit_url = $1, api_key_id = $2, database_identity = database_identity()",
        url,
        key
    )
    .execute(db)
    .await
    .map(drop)
}

/// A name on LiveKit that is not the current name of an open room of ours.
#[derive(Debug)]
pub struct Stray {
    pub name: String,
    /// We made it once: it is retired, or its room is over.
    pub known: bool,
}

/// Which of these LiveKit names do not belong to a room that is open. Read after LiveKit was listed: whatever we
/// made is then visible here, or retired.
#[tracing::instrument(level = "debug", skip_all, fields(otel.kind = "client", db.system = "postgresql"))]
pub async fn list_strays(db: impl PgExecutor<'_>, names: &[String]) -> Result<Vec<Stray>> {
    sqlx::query_as!(
        Stray,
        r#"select t.name as "name!", n.room_id is not null as "known!"
           from unnest($1::text[]) as t(name)
           left join livekit_room_names n on n.room_name = t.name
           left join livekit_rooms r on r.id = n.room_id and r.room_name = t.name and r.status <> 'ended'
           where r.id is null"#,
        names
    )
    .fetch_all(db)
    .await
}
