//! Failovers from the view of clients: a primary that becomes read-only, and a proxy that leads to a standby for a
//! while.

use std::{fs, path::Path, process::Command};

use chassis::db::{MIGRATOR, ROLES};
use postgres_dev::Postgres;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, PgPool, postgres::PgConnectOptions};
use testkit::Wire;

use crate::{
    program::open_directory,
    world::{Replica, World},
};

const READ_ONLY: &str = "do $$ begin
    execute format('alter database %I set default_transaction_read_only = on', current_database()); end $$";
const WRITABLE: &str = "do $$ begin
    execute format('alter database %I reset default_transaction_read_only', current_database()); end $$";
const END_SESSIONS: &str = "select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()";
/// Makes the last observation of each room too old for a token.
const STALE: &str = "update livekit_rooms set confirmed_at = app_now() - interval '1 minute'";

/// A session that was opened before a setting is changed: the setting applies only to later ones.
async fn outside(connect: &PgConnectOptions) -> PgConnection {
    PgConnection::connect_with(connect).await.unwrap()
}

async fn run(outside: &mut PgConnection, statements: &'static str) {
    sqlx::raw_sql(statements).execute(outside).await.unwrap();
}

fn token_of(id: &str) -> String {
    format!("/api/sessions/{id}/livekit/access-token")
}

/// The state of each service's database, and whether the process is ready.
async fn readiness(replica: &Replica) -> (StatusCode, Value) {
    replica.get("reader", "/readyz").await
}

/// Waits until the databases of these services, and of no others, are down.
async fn are_down(replica: &Replica, services: &[&str]) {
    testkit::eventually("readiness follows", || async {
        let (status, report) = readiness(replica).await;
        let matches = ["booking", "room-lifecycle", "token", "sync"].into_iter().all(|service| {
            let database = &report["dependencies"][format!("{service} database")];
            let is_down = services.contains(&service);
            database["state"] == if is_down { "down" } else { "up" }
                && database["problem"].as_str() == is_down.then_some("the database is read-only")
        });
        let expected = if services.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        if matches && status == expected { Ok(()) } else { Err(report) }
    })
    .await;
}

/// Checks that all writes are refused with `database_unavailable`, never as an internal error.
async fn writes_are_refused(replica: &Replica, id: &str) {
    for (method, path, body) in [
        (Method::POST, "/api/v1/live/rooms".to_owned(), json!({"title": "On air"})),
        (Method::POST, format!("/api/bookings/{id}/cancel"), json!({})),
        (Method::POST, format!("/api/sessions/{id}/livekit/end-room"), json!({})),
    ] {
        let (status, refused) = replica.ask("una", method, &path, Some(body)).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {refused}");
        let code = refused["code"].as_str().or(refused["error"].as_str()).map(str::to_lowercase);
        assert_eq!(code.as_deref(), Some("database_unavailable"), "{path}: {refused}");
    }
    let (status, refused) = replica.try_book("una", "gus", 240).await;
    assert_eq!(
        (status, &refused["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("database_unavailable")),
        "{refused}"
    );
    assert!(refused["retry_after"].as_u64().is_some(), "{refused}");
}

/// Waits until writes work again without a restart.
async fn writes_work(replica: &Replica, minutes: i64) {
    testkit::eventually("writes work", || async {
        match replica.try_book("una", "gus", minutes).await {
            (StatusCode::CREATED, _) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    testkit::eventually("writes of room-lifecycle work", || async {
        match replica.post("una", "/api/v1/live/rooms", json!({"title": "On air"})).await {
            (status, _) if status.is_success() => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[testkit::test]
async fn read_only_primary_refuses_writes_and_issues_tokens(connect: PgConnectOptions) {
    let mut outside = outside(&connect).await;
    let mut world = World::new(&connect).await;
    let replica = world.replica().await;
    let id = replica.book("una", "gus", 10).await;
    replica.admit("gus", &id).await;

    run(&mut outside, READ_ONLY).await;
    run(&mut outside, END_SESSIONS).await;
    are_down(&replica, &["booking", "room-lifecycle", "sync"]).await;
    writes_are_refused(&replica, &id).await;
    for user in ["gus", "una"] {
        run(&mut outside, STALE).await;
        let (status, issued) = replica.get(user, &token_of(&id)).await;
        assert_eq!(status, StatusCode::OK, "{user}: {issued}");
    }
    assert_eq!(replica.get("gus", &format!("/api/bookings/{id}")).await.0, StatusCode::OK, "reads work");

    run(&mut outside, WRITABLE).await; // open sessions stay read-only
    writes_work(&replica, 300).await;
    are_down(&replica, &[]).await;
    assert_eq!(replica.stop().await, 0, "no background task panicked");
}

/// Two servers with the same data: the first one accepts writes, the second one is a standby.
struct Pair {
    primary: (Postgres, PgConnectOptions),
    standby: (Postgres, PgConnectOptions),
}

async fn pair(folder: &Path) -> anyhow::Result<Pair> {
    let (first, second) = (folder.join("first"), folder.join("second"));
    let start = async |folder: &Path| {
        let folder = folder.to_owned();
        tokio::task::spawn_blocking(move || Postgres::kept(&folder)).await?
    };
    let server = start(&first).await?;
    let pool = PgPool::connect(server.database("greenroom").await?.expose_secret()).await?;
    sqlx::raw_sql(ROLES).execute(&pool).await?;
    MIGRATOR.run(&pool).await?;
    pool.close().await;
    tokio::task::spawn_blocking(move || drop(server)).await?;
    let copied = Command::new("cp").arg("-a").arg(&first).arg(&second).status()?;
    anyhow::ensure!(copied.success(), "the files of the server cannot be copied");
    fs::write(second.join("postgres/data/standby.signal"), "")?;
    let with_options = |server: Postgres| {
        let options = server.url("greenroom").expose_secret().parse::<PgConnectOptions>();
        options.map(|options| (server, options))
    };
    Ok(Pair { primary: with_options(start(&first).await?)?, standby: with_options(start(&second).await?)? })
}

#[tokio::test]
async fn service_recovers_when_the_address_led_to_a_standby() {
    let folder = open_directory();
    let Ok(Pair { primary, standby }) = pair(folder.path()).await.inspect_err(|error| {
        println!("skipped: no two Postgres servers can be started here: {error:#}");
    }) else {
        return;
    };
    let at = |server: &PgConnectOptions| format!("{}:{}", server.get_host(), server.get_port());
    let wire = Wire::to(at(&primary.1)).await;
    let through = primary.1.clone().host("127.0.0.1").port(wire.address.port());
    let mut world = World::new(&through).await;
    let replica = world.replica().await;
    let id = replica.book("una", "gus", 10).await;
    replica.admit("gus", &id).await;

    wire.set_target(at(&standby.1));
    wire.break_connections();
    are_down(&replica, &["booking", "room-lifecycle", "token", "sync"]).await;
    writes_are_refused(&replica, &id).await;
    let (status, refused) = replica.get("gus", &token_of(&id)).await;
    assert_eq!(
        (status, &refused["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("database_unavailable")),
        "the rows of a standby may be old"
    );

    wire.set_target(at(&primary.1)); // the connections to the standby stay open
    writes_work(&replica, 300).await;
    are_down(&replica, &[]).await;
    assert_eq!(replica.get("gus", &token_of(&id)).await.0, StatusCode::OK);

    // The primary is demoted while its connections stay open, and the standby is promoted.
    let mut demoted = outside(&primary.1).await;
    run(&mut demoted, "alter system set default_transaction_read_only = on").await;
    run(&mut demoted, "select pg_reload_conf()").await;
    let mut promoted = outside(&standby.1).await;
    run(&mut promoted, "select pg_promote()").await;
    wire.set_target(at(&standby.1));
    writes_work(&replica, 360).await;
    are_down(&replica, &[]).await;
    assert_eq!(replica.stop().await, 0, "no background task panicked");
    tokio::task::spawn_blocking(move || drop((primary, standby))).await.unwrap();
}
