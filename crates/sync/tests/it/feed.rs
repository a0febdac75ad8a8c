//! The change feed: it skips no change and waits for no follower.

use std::time::Duration;

use chassis::status::Reason;
use domain::LiveStatus;
use proto::{sync::v1::stream_event::Event, types::v1::StreamStatus};
use testkit::seed::live::{live_room, live_session};
use tonic::Code;

use crate::harness::*;

#[testkit::test]
async fn feed_sends_the_current_row_after_a_change(world: World) {
    let service = world.service().await;
    let (mut events, position) = service.follow(None).await;
    assert_eq!(position, 0);
    let room = live_room(&world.pool, "ada").await;
    live_session(&world.pool, &room, LiveStatus::Live).await;
    let sent = next_row(&mut events).await;
    assert_eq!((sent.id.as_str(), sent.status()), (room.id.to_string().as_str(), StreamStatus::Live));
    assert!(sent.version > position);
    // Written by another replica.
    world.execute("update live_room_sessions set session_title = 'Renamed'").await;
    sync::drain(&world.pool).await.unwrap();
    assert_eq!(next_row(&mut events).await.title, "Renamed");
}

#[testkit::test]
async fn versions_become_visible_in_their_order(world: World) {
    live_rooms(&world.pool, 2).await;
    sync::drain(&world.pool).await.unwrap();
    let service = world.service().await;
    let (mut events, position) = service.follow(None).await;
    // Writer A, a replica in the middle of its work, has drawn a version.
    let mut a = chassis::db::begin(&world.pool).await.unwrap();
    sqlx::query!(
        "select pg_advisory_xact_lock($1), set_config('greenroom.sync', 'on', true) as own",
        VERSIONS
    )
    .fetch_one(&mut *a)
    .await
    .unwrap();
    sqlx::query!(
        "update community_live_streams set total_messages = 1, version = nextval('live_stream_version')
         where title = 'Room 1'"
    )
    .execute(&mut *a)
    .await
    .unwrap();
    // Writer B has another room to write.
    world.execute("update live_rooms set description = 'new' where title = 'Room 2'").await;
    world.until_waiting(1).await;
    let early = tokio::time::timeout(Duration::from_millis(600), next_row(&mut events)).await;
    assert!(early.is_err(), "B waits for A: {early:?}");
    a.commit().await.unwrap();
    let (first, second) = (next_row(&mut events).await, next_row(&mut events).await);
    assert_eq!((first.title.as_str(), second.title.as_str()), ("Room 1", "Room 2"));
    assert!(position < first.version && first.version < second.version);
}

#[testkit::test]
async fn follower_gets_missed_changes_when_it_reconnects(world: World) {
    live_rooms(&world.pool, 300).await;
    sync::drain(&world.pool).await.unwrap();
    let service = world.service().await;
    let (events, position) = service.follow(None).await;
    drop(events);
    world.execute("update live_rooms set description = 'missed' where title <> 'Room 9'").await;
    sync::drain(&world.pool).await.unwrap();
    world.aligned().await;
    let mut events = service.watch(None, Some(position)).await;
    let (mut last, mut missed) = (position, 0);
    loop {
        let event = events.message().await.unwrap().unwrap();
        let Some(Event::Stream(stream)) = event.event else {
            assert_eq!((event.event, event.version), (None, last), "caught up");
            break;
        };
        assert!(event.version > last && stream.description == "missed");
        last = event.version;
        missed += 1;
    }
    assert_eq!(missed, 299, "each row once, as it is now");
    world.execute("update live_rooms set description = 'new' where title = 'Room 9'").await;
    assert_eq!(next_row(&mut events).await.title, "Room 9");
}

#[testkit::test]
async fn follower_is_reset_when_it_missed_too_much(world: World) {
    live_rooms(&world.pool, 1_001).await;
    sync::drain(&world.pool).await.unwrap();
    let service = world.service().await;
    let newest = service.follow(None).await.1;
    for foreign in [0, -7, newest + 1] {
        let mut events = service.watch(None, Some(foreign)).await;
        let event = events.message().await.unwrap().unwrap();
        assert!(
            matches!(event.event, Some(Event::Reset(_))) && event.version == newest,
            "{foreign}: {event:?}"
        );
        sqlx::query!("update live_rooms set description = $1 where title = 'Room 9'", foreign.to_string())
            .execute(&world.pool)
            .await
            .unwrap();
        assert_eq!(next_row(&mut events).await.description, foreign.to_string(), "changes follow the reset");
        world
            .execute(
                "begin; set local greenroom.sync = 'on';
                   update community_live_streams set version = 1 where title = 'Room 9'; commit",
            )
            .await;
    }
}

#[testkit::test]
async fn slow_follower_is_dropped_and_delays_no_other(world: World) {
    let service = world.service().await;
    let (mut slow, _) = service.follow(None).await;
    let (mut fast, _) = service.follow(None).await;
    live_rooms(&world.pool, 1_500).await;
    for _ in 0..1_500 {
        next_row(&mut fast).await;
    }
    let status = loop {
        match slow.message().await {
            Ok(event) => assert!(event.is_some(), "the stream ends with an error"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("come again"), "{status}");
    world.execute("update live_rooms set description = 'new' where title = 'Room 9'").await;
    assert_eq!(next_row(&mut fast).await.title, "Room 9");
}

#[testkit::test]
async fn system_caller_gets_all_rows_with_their_groups(world: World) {
    let service = world.service().await;
    let (mut ours, _) = service.follow(Some(chassis::grpc::system_caller())).await;
    crate::listing::rooms_of_groups(&world).await;
    let mut groups = std::collections::BTreeMap::new();
    while groups.len() < 6 {
        let stream = next_row(&mut ours).await;
        if stream.title == stream.created_by() {
            groups.insert(stream.title, stream.groups); // only after the row has its final title
        }
    }
    let of = |title: &str| groups[title].join(" ");
    assert_eq!(
        ["public", "array", "key", "text", "number", "none"].map(of),
        ["", "staff", "staff", "staff", "", ""]
    );
}

#[testkit::test]
async fn followers_get_unavailable_when_the_service_stops(world: World) {
    let service = world.service().await;
    let (mut events, _) = service.follow(None).await;
    assert_eq!(
        service.runtime.lifecycle.stop(Duration::from_secs(5)).await,
        0,
        "background tasks that panicked"
    );
    assert_eq!(refused(events.message().await).0, Reason::ServiceUnavailable);
}
