//! Serving: sockets, health, faults of the database, the database role.

use std::time::Duration;

use chassis::service::StartError;
use sqlx::{PgPool, postgres::PgConnectOptions};
use testkit::eventually;
use tokio::net::TcpListener;
use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use domain::LiveStatus;
use testkit::seed::live::{live_room, live_session};

use crate::harness::{World, config, drift};

#[testkit::test]
async fn service_starts_reports_serving_and_stops(connect: PgConnectOptions) {
    let runtime = testkit::runtime();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (config, own) = (config(&connect), chassis::service::Runtime::clone(&runtime));
    let served = tokio::spawn(async move { sync::serve(config, listener, &own).await });

    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let request = HealthCheckRequest { service: "greenroom.sync.v1.SyncService".into() };
    let answer = eventually("health answers", || {
        let (mut client, request) = (HealthClient::new(channel.clone()), request.clone());
        async move { client.check(request).await }
    })
    .await;
    assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    eventually("the service is ready", async || runtime.readiness.report().is_ready().then_some(())).await;

    assert_eq!(runtime.lifecycle.stop(Duration::from_secs(5)).await, 0, "a task panicked");
    served.await.unwrap().unwrap();
}

#[testkit::test]
async fn service_is_unavailable_while_the_database_is_down(connect: PgConnectOptions) {
    let runtime = testkit::runtime();
    let _routes = sync::start(&config(&connect), &runtime).await.unwrap();
    let status = async |wanted: &str| {
        eventually(wanted, async || {
            let report = runtime.readiness.report();
            if report.status == wanted { Ok(()) } else { Err(report) }
        })
        .await;
    };
    status("ok").await;
    set_open(&connect, false).await;
    status("unavailable").await;
    set_open(&connect, true).await;
    status("ok").await;
}

#[testkit::test(empty)]
async fn start_refuses_a_database_that_is_behind(connect: PgConnectOptions) {
    let refused = sync::start(&config(&connect), &testkit::runtime()).await;
    assert!(matches!(refused, Err(StartError::Behind(_))));
}

/// Allows or forbids connections to the test's database. Forbidding also ends the open connections. It does so
/// afterwards, because clients may connect until then.
async fn set_open(connect: &PgConnectOptions, open: bool) {
    let name = connect.get_database().unwrap();
    let outside = PgPool::connect_with(connect.clone().database("postgres")).await.unwrap();
    let change = format!("alter database \"{name}\" with allow_connections {open}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(change)).execute(&outside).await.unwrap();
    if open {
        return;
    }
    let end = format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'");
    eventually("no connection is open", async || {
        let ended = sqlx::raw_sql(sqlx::AssertSqlSafe(end.clone())).fetch_all(&outside).await.unwrap();
        ended.is_empty().then_some(())
    })
    .await;
}

#[testkit::test]
async fn database_role_has_exactly_the_needed_permissions(world: World, connect: PgConnectOptions) {
    let own = chassis::db::pool(&config(&connect).database).unwrap();
    assert!(chassis::db::check_role(&own, sync::ROLE).await.unwrap());
    let room = live_room(&world.pool, "ada").await;
    live_session(&world.pool, &room, LiveStatus::Live).await;
    assert_eq!(sync::drain(&own).await.unwrap().written, 1, "rows that were written");
    drift(&world.pool, room.id).await;
    assert_eq!(sync::compare(&own).await.unwrap().marked, 1, "rows that the comparison marked");
    assert_eq!(sync::drain(&own).await.unwrap().written, 1, "rows that were written");

    for foreign in [
        "update live_rooms set title = 'mine'",
        "delete from live_room_sessions",
        "insert into live_room_bans (live_room_id, user_id, banned_by) select id, 'x', 'x' from live_rooms",
        "select setval('live_stream_version', 1)",
        "truncate community_live_streams",
    ] {
        let error = sqlx::raw_sql(foreign).execute(&own).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().unwrap(), "42501", "{foreign}");
    }
}
