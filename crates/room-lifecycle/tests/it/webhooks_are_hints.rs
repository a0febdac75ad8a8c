//! Webhooks are hints: when they are lost, tripled or shuffled, the state after two passes is the same (I8).

use axum::{Router, body::Bytes, extract::State as Shared, http::HeaderMap, routing::post};
use livekit_dev::{Order, WebhookFault};
use time::Duration;
use tokio::net::TcpListener;

use crate::harness::{Booking, Service, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Kept,
    Lost,
    Tripled,
    Shuffled,
    Reversed,
}

/// Sends LiveKit's webhooks to this replica over HTTP, as through the gateway.
async fn receive(world: &World, rooms: &Service) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new().route("/", post(hook)).with_state(rooms.clone());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    world.server().set_webhook_urls(vec![url]);
}

async fn hook(Shared(rooms): Shared<Service>, headers: HeaderMap, body: Bytes) {
    let token = headers["authorization"].to_str().unwrap();
    rooms.webhooks.receive(token, &body).await.unwrap();
}

/// The status of host and guest, and the room's status and generation.
async fn state(world: &World, booking: &Booking) -> (String, String, String, i32) {
    let record = world.record(booking).await;
    (
        world.status(booking, &booking.host).await,
        world.status(booking, &booking.guest).await,
        record.status.as_str().to_owned(),
        record.generation,
    )
}

/// Guest and host join, leave and join again. Then one meeting ends, and the host leaves the other. Passes run
/// between the steps.
async fn scenario(world: &World, delivery: Delivery) -> Vec<(String, String, String, i32)> {
    let rooms = world.rooms().await;
    receive(world, &rooms).await;
    let server = world.server();
    match delivery {
        Delivery::Kept => {}
        Delivery::Lost => server.inject_webhook_fault(WebhookFault::Drop),
        Delivery::Tripled => server.inject_webhook_fault(WebhookFault::Duplicate),
        Delivery::Shuffled | Delivery::Reversed => server.hold_webhooks(),
    }
    let mut meetings = Vec::new();
    for ends in [true, false] {
        let (booking, record) = world.open_room(&rooms).await;
        let name = &record.room_name;
        for person in [&booking.guest, &booking.host] {
            world.join(name, person);
            rooms.pass().await.unwrap();
            server.leave(name, person).unwrap();
            rooms.pass().await.unwrap();
            world.join(name, person);
            rooms.pass().await.unwrap();
        }
        if ends {
            world.complete(&booking).await;
        } else {
            server.leave(name, &booking.host).unwrap();
        }
        meetings.push(booking);
    }
    match delivery {
        Delivery::Shuffled => server.release_webhooks(Order::Shuffled),
        Delivery::Reversed => server.release_webhooks(Order::Reversed),
        Delivery::Kept | Delivery::Lost | Delivery::Tripled => {}
    }
    server.webhooks_idle().await;
    if delivery == Delivery::Tripled {
        // A third delivery, much later.
        rooms.drain().await.unwrap();
        replay(world, &rooms).await;
    }
    rooms.pass().await.unwrap();
    world.advance(Duration::seconds(6));
    rooms.pass().await.unwrap();
    server.clear_mishaps();
    let mut states = Vec::new();
    for booking in &meetings {
        states.push(state(world, booking).await);
        world.complete(booking).await;
    }
    rooms.pass().await.unwrap();
    world.assert_one_room_per_open_owner().await;
    states
}

/// Delivers all stored webhooks once more.
async fn replay(world: &World, rooms: &Service) {
    let bodies = sqlx::query_scalar!("select payload from livekit_events where event_id not like 'GR\\_%'")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert!(!bodies.is_empty());
    for body in bodies {
        let body = body.to_string().into_bytes();
        rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
    }
}

#[testkit::test]
async fn final_state_does_not_depend_on_webhook_delivery(world: World) {
    let text = |host: &str, guest: &str, room: &str| (host.into(), guest.into(), room.into(), 1);
    let wanted = [text("left", "left", "ended"), text("left", "joined", "active")];
    for delivery in
        [Delivery::Kept, Delivery::Lost, Delivery::Tripled, Delivery::Shuffled, Delivery::Reversed]
    {
        assert_eq!(scenario(&world, delivery).await, wanted, "{delivery:?}");
    }
}
