//! Webhook queues: retries, limits, and faults of events.

use std::time::Duration;

use livekit_dev::{ClockHandle, Order, Outcome, WebhookFault};

use crate::support::{KEY, SECRET, Served};

fn outcomes(served: &Served) -> Vec<(String, u32, Outcome)> {
    let deliveries = served.server.deliveries();
    deliveries.into_iter().map(|delivery| (delivery.event, delivery.attempts, delivery.outcome)).collect()
}

#[tokio::test]
async fn failed_webhook_is_attempted_five_times() {
    let mut served = Served::start().await;
    served.receiver.answer([500, 503, 429, 502, 500]);
    served.join("a", "ann");
    served.server.webhooks_idle().await;
    let attempts = served.receiver.pending();
    assert_eq!(attempts.len(), 6, "five of the first event, one of the second");
    let first = &attempts[0];
    assert!(attempts[..5].iter().all(|attempt| attempt.body == first.body));
    assert!(
        attempts[..5].iter().all(|attempt| attempt.header("authorization") == first.header("authorization"))
    );
    let expected = [
        ("room_started".to_owned(), 5, Outcome::GaveUp),
        ("participant_joined".to_owned(), 1, Outcome::Delivered(200)),
    ];
    assert_eq!(outcomes(&served), expected);
}

#[tokio::test]
async fn refused_webhook_counts_as_delivered() {
    let served = Served::start().await;
    served.receiver.answer([400, 501]);
    served.join("a", "ann");
    served.server.webhooks_idle().await;
    let outcomes: Vec<_> = outcomes(&served).into_iter().map(|(_, _, outcome)| outcome).collect();
    assert_eq!(outcomes, [Outcome::Delivered(400), Outcome::Delivered(501)]);
}

#[tokio::test]
async fn hanging_receiver_delays_only_its_room() {
    let mut served = Served::start().await;
    served.receiver.answer([0]);
    served.join("a", "ann");
    assert_eq!(served.receiver.next().await.json()["room"]["name"], "a");
    served.join("b", "bob");
    for _ in 0..2 {
        assert_eq!(served.receiver.next().await.json()["room"]["name"], "b");
    }
    assert!(served.receiver.pending().is_empty(), "the join in room a waits behind its start");
}

#[tokio::test]
async fn full_queue_drops_the_next_event() {
    let mut served = Served::with(|config| config.webhooks.max_depth = 1).await;
    served.receiver.answer([0]);
    served.join("a", "ann");
    served.receiver.next().await;
    for _ in 0..2 {
        served.server.publish("a", "ann", livekit_protocol::TrackSource::Camera).unwrap();
    }
    let full = outcomes(&served).into_iter().filter(|(_, _, outcome)| *outcome == Outcome::QueueFull);
    assert!(full.count() >= 1);
}

#[tokio::test]
async fn old_event_is_dropped_before_its_first_attempt() {
    let served = Served::start().await;
    served
        .server
        .inject_fault_into_next_webhook("room_started", WebhookFault::Delay(Duration::from_millis(50)));
    served.join("a", "ann");
    served.server.advance(ClockHandle::Webhooks, Duration::from_secs(31));
    served.server.webhooks_idle().await;
    assert!(
        outcomes(&served).iter().all(|(_, attempts, outcome)| (*attempts, *outcome) == (0, Outcome::TooOld))
    );
}

#[tokio::test]
async fn event_can_be_lost() {
    let mut served = Served::start().await;
    served.server.inject_fault_into_next_webhook("room_started", WebhookFault::Drop);
    served.join("a", "ann");
    assert_eq!(served.receiver.names(1).await, ["participant_joined"]);
    assert_eq!(outcomes(&served)[0], ("room_started".to_owned(), 0, Outcome::Dropped));
    assert_eq!(served.server.events().len(), 2, "the event did happen");
}

#[tokio::test]
async fn event_can_be_duplicated_with_the_same_id() {
    let mut served = Served::start().await;
    served.server.inject_fault_into_next_webhook("room_started", WebhookFault::Duplicate);
    served.join("a", "ann");
    let (first, second) = (served.receiver.next().await, served.receiver.next().await);
    assert_eq!(first.body, second.body);
    assert_eq!(first.header("authorization"), second.header("authorization"));
    assert_eq!(second.verified(KEY, SECRET).event, "room_started");
}

#[tokio::test]
async fn event_can_be_swapped_with_the_next_of_its_room() {
    let mut served = Served::start().await;
    served.server.inject_fault_into_next_webhook("room_started", WebhookFault::Swap);
    served.join("a", "ann");
    assert_eq!(served.receiver.names(2).await, ["participant_joined", "room_started"]);
}

#[tokio::test]
async fn events_can_be_held_and_released_in_another_order() {
    let mut served = Served::start().await;
    served.server.hold_webhooks();
    served.join("a", "ann");
    served.server.leave("a", "ann").unwrap();
    served.server.webhooks_idle().await;
    assert!(served.receiver.pending().is_empty());
    served.server.release_webhooks(Order::Reversed);
    let reversed = ["participant_left", "participant_joined", "room_started"];
    assert_eq!(served.receiver.names(3).await, reversed);
    served.server.leave("a", "absent").unwrap_err();
    served.join("a", "ann");
    assert_eq!(served.receiver.names(1).await, ["participant_joined"], "no event is held now");
}

#[tokio::test]
async fn restart_loses_queued_events() {
    let mut served = Served::start().await;
    served.receiver.answer([0]);
    served.join("a", "ann");
    served.receiver.next().await;
    served.server.restart();
    served.server.webhooks_idle().await;
    assert!(served.server.rooms().is_empty());
    served.join("a", "ann");
    assert_eq!(served.receiver.names(2).await, ["room_started", "participant_joined"]);
    assert!(served.receiver.pending().is_empty());
}

#[tokio::test]
async fn every_url_has_its_own_queue() {
    let mut served = Served::start().await;
    let mut other = crate::receiver::Receiver::start().await;
    served.server.set_webhook_urls(vec![served.receiver.url.clone(), other.url.clone()]);
    served.receiver.answer([0]);
    served.join("a", "ann");
    assert_eq!(other.names(2).await, ["room_started", "participant_joined"]);
    assert_eq!(served.receiver.names(1).await, ["room_started"]);
}
