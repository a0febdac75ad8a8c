//! The plans of the statements on which every user waits, with a history. They are the same statements, as the driver
//! prepared them, under the generic plan that a long-lived connection gets.

use anyhow::{Context, Result};
use domain::{Reader, StreamStatus};
use proto::types::v1::Caller;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Row};
use sync::store::{Filter, list_streams};
use uuid::Uuid;

use crate::{fixture::Fixture, history, listing::ROOMS, live, users};

pub async fn measure(fixture: &Fixture) -> Result<String> {
    let pool = &fixture.database.pool;
    history::write(fixture).await?;
    live::seed(pool, ROOMS).await?;
    live::align_all(pool).await?;
    history::write_live(fixture).await?;
    let history = fixture.settings.history;
    let parts = [
        booking(fixture, format!("The SELECT of token at {history} sessions")).await?,
        live_room(
            fixture,
            format!("The SELECT of token for live rooms at {ROOMS} live rooms and {history} ended sessions"),
        )
        .await?,
        listing(fixture, format!("The SELECT of a page of the listing at {ROOMS} live rooms")).await?,
    ];
    Ok(parts.join("\n"))
}

async fn booking(fixture: &Fixture, title: String) -> Result<String> {
    let party = users::book(&fixture.database.pool, 1).await?.pop().context("no booking")?;
    let mut connection = service(fixture, token::config::ROLE)?.acquire().await?;
    token::store::find_join(&mut *connection, party.booking.into(), &party.user).await?.context("no join")?;
    let arguments = format!("'{}', '{}'", party.booking, party.user);
    explain(&mut connection, &title, "%booking_window%", &arguments).await
}

async fn live_room(fixture: &Fixture, title: String) -> Result<String> {
    let room = sqlx::query_scalar!("select id from live_rooms where room_slug = 'live-7'");
    let room: Uuid = room.fetch_one(&fixture.database.pool).await?;
    let mut connection = service(fixture, token::config::ROLE)?.acquire().await?;
    let caller = Caller { user_id: "seat-7".to_owned(), ..Caller::default() };
    token::store::find_live_join(&mut *connection, room.into(), &caller).await?.context("no join")?;
    let arguments = format!("'{room}', 'seat-7', false, '{{}}'");
    explain(&mut connection, &title, "%current_bans%", &arguments).await
}

async fn listing(fixture: &Fixture, title: String) -> Result<String> {
    let mut connection = service(fixture, sync::ROLE)?.acquire().await?;
    let filter = Filter { status: Some(StreamStatus::Live), ..Filter::default() };
    let reader = Reader { user_id: Some("reader"), ..Reader::default() };
    list_streams(&mut *connection, reader, &filter, 21).await?;
    let last = Uuid::max();
    let arguments = format!("null, null, '{last}', 'reader', false, '{{}}', 21, 'live'");
    explain(&mut connection, &title, "%order by c.scheduled_for desc%", &arguments).await
}

fn service(fixture: &Fixture, role: &'static str) -> Result<PgPool> {
    crate::database::service_pool(&fixture.database.url, Some(role))
}

/// The plan of the statement that this connection has prepared and that looks like `like`.
async fn explain(connection: &mut PgConnection, title: &str, like: &str, arguments: &str) -> Result<String> {
    eprintln!("{title}");
    let name = sqlx::query_scalar!(
        r#"select name as "name!" from pg_prepared_statements where statement like $1 order by prepare_time limit 1"#,
        like
    );
    let name = name.fetch_optional(&mut *connection).await?;
    let name = name.with_context(|| format!("no statement like {like} was prepared"))?;
    let execute = format!("execute {name}({arguments})");
    sqlx::raw_sql("set plan_cache_mode = force_generic_plan").execute(&mut *connection).await?;
    sqlx::raw_sql(AssertSqlSafe(execute.clone())).execute(&mut *connection).await?;
    let explain = format!("explain (analyze, verbose off, buffers) {execute}");
    let lines = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *connection).await?;
    let lines = lines.iter().map(|line| line.try_get::<String, _>(0)).collect::<Result<Vec<_>, _>>()?;
    let has = |what: &str| lines.iter().any(|line| line.contains(what));
    let verdict = match (has("Seq Scan"), has("Sort")) {
        (true, _) => "**with a sequential scan**",
        (false, true) => "**indexes, and a sort**",
        (false, false) => "indexes only",
    };
    Ok(format!("## {title}: {verdict}\n\n```\n{}\n```\n", lines.join("\n")))
}
