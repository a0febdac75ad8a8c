//! The settings of the test's database for a service, and the database's clock.

use chassis::db;
use secrecy::SecretString;
use sqlx::{ConnectOptions, PgPool, postgres::PgConnectOptions};
use time::{Duration, OffsetDateTime};

/// The settings of a service whose database role is `role`, on the database of this test.
#[must_use]
pub fn database(connect: &PgConnectOptions, role: &'static str) -> db::Settings {
    db::Settings {
        url: SecretString::from(connect.to_url_lossy().to_string()),
        role: Some(role),
        // Many tests run against one server, whose connections are limited.
        max_connections: 4,
    }
}

/// Makes `app_now()` run a hundred times slower for all connections. On a busy machine, rooms that are fresh for
/// seconds stay fresh during the test, and later times are still later.
pub async fn slow_database_clock(pool: &PgPool) {
    // The real clock is read once: with two readings, `app_now()` could go backwards.
    let slow = "do $$ begin execute format(
                    'create or replace function app_now() returns timestamptz language plpgsql stable parallel safe
                     as %L', format(
                    'begin return %1$L::timestamptz + (clock_timestamp() - %1$L::timestamptz) * 0.01
                         + coalesce(nullif(current_setting(''greenroom.clock_offset'', true), ''''), ''0'')::interval;
                     end', clock_timestamp())); end $$";
    sqlx::raw_sql(slow).execute(pool).await.expect("only the owner of the database may slow its clock");
}

/// Stops `app_now()` for all connections and returns its time, so that rules can be compared at their edges.
pub async fn stop_database_clock(pool: &PgPool) -> OffsetDateTime {
    let stop = "do $$ begin execute format(
                    'create or replace function app_now() returns timestamptz language sql stable parallel safe
                     return %L::timestamptz', app_now()); end $$";
    sqlx::raw_sql(stop).execute(pool).await.expect("only the owner of the database may stop its clock");
    sqlx::query_scalar!(r#"select app_now() as "now!""#).fetch_one(pool).await.expect("the time")
}

/// Moves `app_now()` to `offset` from the real time. Only later connections observe it: start or restart the services
/// afterwards, and use a new pool.
pub async fn advance_database_clock(pool: &PgPool, offset: Duration) {
    let mut connection = pool.acquire().await.expect("a connection");
    let seconds = format!("{} seconds", offset.whole_seconds());
    // A `do` block takes no parameters, so the offset passes through a setting of the session.
    sqlx::query!("select set_config('testkit.offset', $1, false) as offset", seconds)
        .fetch_one(&mut *connection)
        .await
        .expect("a setting of the session");
    sqlx::query!(
        "do $$ begin execute format('alter database %I set greenroom.clock_offset = %L',
                                    current_database(), current_setting('testkit.offset')); end $$"
    )
    .execute(&mut *connection)
    .await
    .expect("only the owner of the database may move its clock");
}
