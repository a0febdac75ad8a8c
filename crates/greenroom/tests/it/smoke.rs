//! The shortest way through everything, over two replicas.

use reqwest::StatusCode;
use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::{Duration, format_description::well_known::Rfc3339};

use crate::world::World;

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn host_and_guest_meet_in_one_room_whichever_replica_they_ask(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let mut world = World::new(&connect).await;
    let (one, other) = (world.replica().await, world.replica().await);
    let soon = chassis::clock::Clock::default().now() + Duration::minutes(1);
    let booking = json!({"guestId": "gus", "title": "Meet", "scheduledAt": soon.format(&Rfc3339).unwrap(),
                         "durationMinutes": 30});
    let (status, booked) = one.post("una", "/api/bookings", booking).await;
    assert_eq!(status, StatusCode::CREATED, "{booked}");
    let id = booked["data"]["id"].as_str().unwrap();
    let path = format!("/api/sessions/{id}/livekit/access-token");
    let (host, guest) = (one.get("una", &path).await, other.get("gus", &path).await);
    assert_eq!((host.0, guest.0), (StatusCode::OK, StatusCode::OK), "{} {}", host.1, guest.1);
    assert_eq!(host.1["data"]["roomName"], guest.1["data"]["roomName"]);

    let (status, _) = other.post("una", &format!("/api/sessions/{id}/livekit/end-room"), json!({})).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(one.get("gus", &path).await.0, StatusCode::GONE);
    assert_eq!((one.stop().await, other.stop().await), (0, 0), "no background task panicked");
}
