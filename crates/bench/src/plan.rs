//! How Postgres plans the SELECT of token with a history: the very statement, as the driver prepared it, with the
//! generic plan that a long-lived connection ends up with.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Row};

use crate::{ground::Ground, history, people};

pub async fn measure(ground: &Ground) -> Result<String> {
    history::write(ground).await?;
    let party = people::book(&ground.database.pool, 1).await?.pop().context("no booking")?;
    let pool = crate::database::service_pool(&ground.database.url, Some(token::config::ROLE))?;
    let mut connection = pool.acquire().await?;
    token::store::find_join(&mut *connection, party.booking, &party.user).await?.context("no join")?;
    let name = sqlx::query_scalar!(
        r#"select name as "name!" from pg_prepared_statements where statement like '%booking_window%' and statement not like '%pg_prepared_statements%'"#
    );
    let name = name.fetch_one(&mut *connection).await?;
    let execute = format!("execute {name}('{}', '{}')", party.booking, party.user);
    sqlx::raw_sql("set plan_cache_mode = force_generic_plan").execute(&mut *connection).await?;
    sqlx::raw_sql(AssertSqlSafe(execute.clone())).execute(&mut *connection).await?;
    let explain = format!("explain (analyze, verbose off, buffers) {execute}");
    let lines = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *connection).await?;
    let lines = lines.iter().map(|line| line.try_get::<String, _>(0)).collect::<Result<Vec<_>, _>>()?;
    let sequential = if lines.iter().any(|line| line.contains("Seq Scan")) {
        "**with a sequential scan**"
    } else {
        "indexes only"
    };
    Ok(format!(
        "## The SELECT of token at {} sessions: {sequential}\n\n```\n{}\n```\n",
        ground.history,
        lines.join("\n")
    ))
}
