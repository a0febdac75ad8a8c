//! Managed Postgres: the owner of the database is not a superuser and may not create roles. An administrator has
//! created them.

use chassis::db::Settings;
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sqlx::{AssertSqlSafe, ConnectOptions, PgPool, postgres::PgConnectOptions};

use crate::{
    program::greenroom,
    world::{Replica, World},
};

const OWNER: &str = "greenroom_test_owner";
const PASSWORD: &str = "only-for-tests";

/// Runs a statement as an administrator.
async fn administer(connect: &PgConnectOptions, statement: &str) {
    let pool = PgPool::connect_with(connect.clone()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&pool).await.unwrap();
    pool.close().await;
}

/// Gives the database a new owner. Returns the owner's connection options.
async fn owned(connect: &PgConnectOptions) -> PgConnectOptions {
    administer(connect, include_str!("../../../../deploy/postgres/roles.sql")).await;
    let database = connect.get_database().unwrap();
    administer(connect, &create_login(OWNER, &format!("alter role {OWNER} inherit;"))).await;
    administer(connect, &format!(r#"alter database "{database}" owner to {OWNER}"#)).await;
    connect.clone().username(OWNER).password(PASSWORD)
}

/// Creates a login without any right unless it exists. Roles belong to the cluster, so other tests may create it at the
/// same time.
fn create_login(name: &str, then: &str) -> String {
    format!(
        "do $$ begin
             create role {name} login noinherit nosuperuser nocreaterole nocreatedb password '{PASSWORD}';
             {then}
         exception when duplicate_object or unique_violation then null;
         end $$"
    )
}

async fn migrate(connect: &PgConnectOptions, environment: &[(&str, &str)]) {
    let url = connect.to_url_lossy().to_string();
    let mut environment = environment.to_vec();
    environment.push(("DATABASE_URL", &url));
    let result = greenroom(&["migrate"], &environment).await;
    assert_eq!(result.code, 0, "{}", result.err);
    assert!(!result.err.contains("WARN"), "{}", result.err);
}

/// Books a meeting with its tokens, ends it, and starts a live session that is listed.
async fn exercise(replica: &Replica) {
    let session = replica.book("ada", "bob", 10).await;
    for user in ["ada", "bob"] {
        assert!(replica.admit(user, &session).await["token"].is_string(), "{user}");
    }
    assert_eq!(replica.end("ada", &session).await.0, StatusCode::OK);
    let (_, mine) = replica.get("una", "/api/v1/live/rooms/me").await;
    let room = mine["room"]["id"].as_str().unwrap();
    let path = format!("/api/v1/live/rooms/{room}/sessions");
    let (status, answer) = replica.ask("una", Method::POST, &path, Some(json!({}))).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    testkit::eventually("the session is listed", async || {
        let (_, listed) = replica.get("eve", "/api/v1/live/streams?status=live").await;
        if listed.to_string().contains(room) { Ok(()) } else { Err(listed) }
    })
    .await;
}

async fn assert_powerless(connect: &PgConnectOptions) {
    let pool = PgPool::connect_with(connect.clone()).await.unwrap();
    let may = sqlx::query_scalar!(
        r#"select rolsuper or rolcreaterole or rolcreatedb as "may!" from pg_roles where rolname = current_user"#
    );
    assert!(!may.fetch_one(&pool).await.unwrap(), "the role has more rights than it needs");
    pool.close().await;
}

#[testkit::test(empty)]
async fn owner_without_superuser_migrates_and_serves(connect: PgConnectOptions) {
    let owner = owned(&connect).await;
    assert_powerless(&owner).await;
    migrate(&owner, &[("JOIN_OPENS_BEFORE", "20min")]).await;
    migrate(&owner, &[("JOIN_OPENS_BEFORE", "25min")]).await; // everything exists already
    let mut world = World::new(&owner).await;
    let replica = world.replica().await;
    exercise(&replica).await;

    let livekit = &world.services.room.livekit;
    let url = owner.to_url_lossy().to_string();
    let environment = [
        ("LIVEKIT_API_KEY", livekit.api_key.as_str()),
        ("LIVEKIT_API_SECRET", livekit.api_secret.expose_secret()),
        ("LIVEKIT_WS_URL", &livekit.ws_url),
        ("DATABASE_URL", &url),
        ("API_URL", world.url()),
    ];
    for command in [
        &["doctor"][..],
        &["repair", "rooms"],
        &["repair", "live-rooms"],
        &["repair", "listing"],
        &["repair", "listing", "--end-strays"],
        &["repair", "orphans", "--yes"],
        &["repair", "adopt"],
    ] {
        let result = greenroom(command, &environment).await;
        assert_eq!(result.code, 0, "{command:?}: {}{}", result.out, result.err);
    }
    replica.stop().await;
}

#[testkit::test(empty)]
async fn services_serve_with_their_own_logins(connect: PgConnectOptions) {
    let owner = owned(&connect).await;
    migrate(&owner, &[]).await;
    let mut world = World::new(&connect).await;
    let services = &mut world.services;
    let databases = [
        ("booking", &mut services.booking.database),
        ("room_lifecycle", &mut services.room.database),
        ("token", &mut services.token.database),
        ("sync", &mut services.sync.database),
    ];
    for (service, database) in databases {
        let login = format!("greenroom_test_{service}");
        administer(&connect, &create_login(&login, &format!("grant greenroom_{service} to {login};"))).await;
        let url = connect.clone().username(&login).password(PASSWORD).to_url_lossy().to_string();
        *database = Settings { url: SecretString::from(url), ..database.clone() };
    }
    let replica = world.replica().await;
    exercise(&replica).await;
    replica.stop().await;
}
