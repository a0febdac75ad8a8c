//! The SQL of signed requests that were carried out.

use chassis::db::Statement;
use proto::room::v1::Proof;
use sqlx::{PgExecutor, Result};

/// Records a signed request, in the transaction of its effect. `false`: it was carried out before. If another
/// transaction is carrying it out, this one waits for its end. The row is kept longer than any signature is valid, by
/// the same clock that verifies signatures.
pub async fn insert_seen(db: impl PgExecutor<'_>, proof: &Proof) -> Result<bool> {
    let done = sqlx::query!(
        "insert into nostr_seen (event_id, body_hash, expires_at)
         values ($1, $2, clock_timestamp() + interval '10 minutes')
         on conflict on constraint nostr_seen_once do nothing",
        proof.event_id,
        proof.body_hash
    )
    .execute(db)
    .statement("INSERT insert_seen")
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Whether a signed request was carried out before.
pub async fn is_seen(db: impl PgExecutor<'_>, proof: &Proof) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from nostr_seen where event_id = $1 and body_hash = $2) as "is_seen!""#,
        proof.event_id,
        proof.body_hash
    )
    .fetch_one(db)
    .statement("SELECT is_seen")
    .await
}

/// Deletes a batch of rows whose signatures are no longer valid. Returns how many were deleted.
pub async fn delete_expired(db: impl PgExecutor<'_>, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "delete from nostr_seen where (event_id, body_hash) in (
             select event_id, body_hash from nostr_seen where expires_at <= clock_timestamp()
             order by expires_at limit $1 for update skip locked)",
        limit
    )
    .execute(db)
    .statement("DELETE delete_expired")
    .await?;
    Ok(done.rows_affected())
}
