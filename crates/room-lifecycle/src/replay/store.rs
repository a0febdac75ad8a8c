//! The SQL of signed requests that were carried out. The rules are in the functions `accept_signed` and
//! `signed_answer`.

use chassis::db::Statement;
use sqlx::{PgExecutor, Result};
use uuid::Uuid;

use super::{Answer, Event};

/// What became of a request that was recorded before.
#[derive(Debug)]
pub struct Before {
    /// Its answer would be wrong now.
    pub is_used: bool,
    pub status: Option<i16>,
    pub made_id: Option<Uuid>,
}

impl Event<'_> {
    fn nest_id(&self) -> Option<Uuid> {
        self.nest.map(|nest| nest.0)
    }
}

/// Records a signed request, in the transaction of its effect. One round trip: lock, insert and check. `None`: it is to
/// be carried out.
pub async fn accept_signed(
    db: impl PgExecutor<'_>,
    event: &Event<'_>,
    answer: Option<Answer>,
) -> Result<Option<Before>> {
    sqlx::query_as!(
        Before,
        r#"select is_used as "is_used!", status, made_id from accept_signed($1, $2, $3, $4, $5, $6)"#,
        event.proof.event_id,
        event.proof.body_hash,
        event.key.as_slice(),
        event.nest_id(),
        answer.map(|answer| answer.status),
        answer.and_then(|answer| answer.made)
    )
    .fetch_optional(db)
    .statement("SELECT accept_signed")
    .await
}

/// What became of a signed request. `None`: it was not recorded, or has no answer.
pub async fn find_answer(db: impl PgExecutor<'_>, event: &Event<'_>) -> Result<Option<Before>> {
    sqlx::query_as!(
        Before,
        r#"select is_used as "is_used!", status, made_id from signed_answer($1, $2, $3, $4)"#,
        event.proof.event_id,
        event.proof.body_hash,
        event.key.as_slice(),
        event.nest_id()
    )
    .fetch_optional(db)
    .statement("SELECT find_answer")
    .await
}

/// Stores an answer, unless there is one. Returns the status that is stored.
pub async fn set_answer(db: impl PgExecutor<'_>, event: &Event<'_>, answer: Answer) -> Result<Option<i16>> {
    let stored = sqlx::query_scalar!(
        r#"update nostr_seen set status = coalesce(status, $3) where event_id = $1 and body_hash = $2
           returning status as "status!""#,
        event.proof.event_id,
        event.proof.body_hash,
        answer.status
    );
    stored.fetch_optional(db).statement("UPDATE set_answer").await
}

pub async fn delete_answer(db: impl PgExecutor<'_>, event: &Event<'_>) -> Result<()> {
    let deleted = sqlx::query!(
        "update nostr_seen set status = null where event_id = $1 and body_hash = $2",
        event.proof.event_id,
        event.proof.body_hash
    );
    deleted.execute(db).statement("UPDATE delete_answer").await.map(drop)
}

/// Deletes a batch of rows whose signatures are no longer valid. Returns how many were deleted. Ten minutes are longer
/// than any signature is valid, by the same clock that verifies signatures.
pub async fn delete_expired(db: impl PgExecutor<'_>, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "delete from nostr_seen where (event_id, body_hash) in (
             select event_id, body_hash from nostr_seen where accepted_at <= clock_timestamp() - interval '10 minutes'
             order by accepted_at limit $1 for update skip locked)",
        limit
    )
    .execute(db)
    .statement("DELETE delete_expired")
    .await?;
    Ok(done.rows_affected())
}
