//! An outage of the database: readiness reports it, requests are refused with the right code, and the services recover
//! without a restart.

use reqwest::StatusCode;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use testkit::Wire;

use crate::world::{Replica, World};

async fn readiness(replica: &Replica) -> (StatusCode, Value) {
    replica.get("reader", "/readyz").await
}

#[testkit::test]
async fn outage_of_the_database_is_reported_and_recovered_from(connect: PgConnectOptions) {
    let wire = Wire::to(format!("{}:{}", connect.get_host(), connect.get_port())).await;
    let through = connect.clone().host("127.0.0.1").port(wire.address.port());
    let mut world = World::new(&through).await;
    let replica = world.replica().await;
    let id = replica.book("una", "gus", 1).await;
    replica.admit("gus", &id).await;

    wire.cut();
    // The gateway has no database. It learns of the outage from the health of the services, also as its own process.
    for suffix in [" database", ""] {
        testkit::eventually("readiness names the services without a database", || async {
            let (status, report) = readiness(&replica).await;
            let is_down = |service| report["dependencies"][format!("{service}{suffix}")]["state"] == "down";
            let all = ["booking", "room-lifecycle", "token", "sync"].into_iter().all(is_down);
            if all && status == StatusCode::SERVICE_UNAVAILABLE { Ok(()) } else { Err(report) }
        })
        .await;
    }
    assert_eq!(replica.get("reader", "/health").await.0, StatusCode::OK, "the process is alive");
    let token = format!("/api/sessions/{id}/livekit/access-token");
    for path in [token.as_str(), "/api/bookings", "/api/notifications"] {
        let (status, refused) = replica.get("gus", path).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {refused}");
        assert_eq!(refused["code"], "database_unavailable", "{path}");
        assert!(refused["retry_after"].as_u64().is_some(), "{path}");
    }
    let (status, refused) = replica.try_book("una", "gus", 120).await;
    assert_eq!(
        (status, refused["code"].as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("database_unavailable"))
    );

    wire.join();
    testkit::eventually("ready again", || async {
        let (status, report) = readiness(&replica).await;
        if status == StatusCode::OK { Ok(()) } else { Err(report) }
    })
    .await;
    testkit::eventually("tokens again", || async {
        let (status, answer) = replica.get("gus", &token).await;
        if status == StatusCode::OK { Ok(()) } else { Err(answer) }
    })
    .await;
    replica.book("una", "gus", 120).await;
    assert_eq!(replica.stop().await, 0, "no background task panicked");
}
