//! How the transactions over many rows begin.

use sqlx::{PgPool, Postgres, Transaction};

/// Along the indexes, whatever the tables were like when the plan was made: one that was made for empty tables, and
/// kept, would read whole tables for every batch once they have grown.
const BEGIN: &str = "begin;
    set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off";

pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    pool.begin_with(BEGIN).await
}
