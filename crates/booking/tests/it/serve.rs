//! Serving: sockets, the internal token, message limits, the database role, faults of the database.

use chassis::{
    grpc::InternalTokens,
    service::Runtime,
    status::{Reason, Refusal},
    transport::Transport,
};
use proto::booking::v1::{booking_service_client::BookingServiceClient, *};
use proto::types::v1::RoomStatus;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::net::TcpListener;
use tonic::{Code, transport::Endpoint};

use testkit::eventually;

use crate::harness::*;

#[testkit::test]
async fn service_serves_on_a_socket_and_stops(world: World) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let (config, runtime) = (world.config.clone(), Runtime::clone(&world.runtime));
    let server = tokio::spawn(async move { booking::serve(config, listener, &runtime).await });
    let mut client = BookingServiceClient::new(Transport::to(endpoint.clone(), &world.config.grpc.tokens));
    let booking = created(client.create_booking(world.request(10).await).await);
    assert_eq!(booking.room.unwrap().status(), RoomStatus::Active);

    let huge =
        CreateBookingRequest { description: Some("d".repeat(1024 * 1024)), ..world.request(100).await };
    assert_eq!(reason(client.create_booking(huge).await), Reason::TooLarge);
    let wrong = InternalTokens::parse(&"w".repeat(32)).unwrap();
    let mut outsider = BookingServiceClient::new(Transport::to(endpoint, &wrong));
    let refused = outsider.create_booking(world.request(100).await).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);

    assert_eq!(
        world.runtime.lifecycle.stop(std::time::Duration::from_secs(10)).await,
        0,
        "background tasks that panicked"
    );
    server.await.unwrap().unwrap();
}

#[testkit::test]
async fn database_role_cannot_write_foreign_tables(pool: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(pool, connect).await;
    let own = chassis::db::pool(&world.config.database).unwrap();
    assert!(chassis::db::check_role(&own, "greenroom_booking").await.unwrap());
    let foreign = sqlx::query!("update livekit_rooms set last_error = 'mine'");
    let error = foreign.execute(&own).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().unwrap(), "42501");
}

#[testkit::test]
async fn service_recovers_from_lost_database_connections(world: World) {
    let booking = world.book(10).await;
    let request = GetBookingRequest { caller: Some(person("ada")), booking_id: booking.id.clone() };
    sqlx::query!(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'greenroom_booking'"
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    eventually("the service answers again", async || {
        match world.client.clone().get_booking(request.clone()).await {
            Ok(_) => Some(()),
            Err(status) => {
                let refusal = Refusal::from_status(&status);
                assert_eq!(refusal.reason, Reason::DatabaseUnavailable);
                assert!(refusal.facts.contains_key("retry_after"));
                None
            }
        }
    })
    .await;
}
