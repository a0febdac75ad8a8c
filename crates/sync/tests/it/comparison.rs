//! The comparison finds rows that differ without a mark, and only marks them.

use domain::LiveStatus;
use proto::sync::v1::GetStatusRequest;
use testkit::{
    eventually,
    seed::live::{live_room, live_session},
};

use crate::harness::*;

#[testkit::test]
async fn drift_is_found_and_only_marked(world: World) {
    let (one, other) = (live_room(&world.pool, "ada").await, live_room(&world.pool, "bob").await);
    live_session(&world.pool, &one, LiveStatus::Live).await;
    live_session(&world.pool, &other, LiveStatus::Ended).await;
    let compared = sync::compare(&world.pool).await.unwrap();
    assert_eq!((compared.rooms, compared.marked), (2, 0), "marked rows are only pending");
    sync::drain(&world.pool).await.unwrap();

    drift(&world.pool, one.id).await;
    world.execute("begin; set local greenroom.sync = 'on'; delete from community_live_streams where status = 'ended'; commit").await;
    let before = world.version(one.id).await;
    assert_eq!(world.marks().await, 0, "marks that are left");
    assert_eq!(sync::compare(&world.pool).await.unwrap().marked, 2, "rows that the comparison marked");
    assert_eq!((world.marks().await, world.unaligned().await), (2, 2));
    assert_eq!(world.version(one.id).await, before, "the comparison wrote a row");
    assert_eq!(sync::drain(&world.pool).await.unwrap().written, 2, "rows that were written");
    assert_eq!(sync::compare(&world.pool).await.unwrap().marked, 0, "rows that the comparison marked");
}

#[testkit::test]
async fn comparison_covers_many_rows_in_pages(world: World) {
    live_rooms(&world.pool, 12_000).await;
    world.execute("insert into community_live_streams (id, status) select gen_random_uuid(), 'live' from generate_series(1, 6000)").await;
    world.execute("truncate live_stream_dirty").await;
    let compared = sync::compare(&world.pool).await.unwrap();
    assert_eq!((compared.rooms, compared.marked, compared.strays), (12_000, 12_000, 6_000));
    assert_eq!(sync::compare(&world.pool).await.unwrap().marked, 0, "a row was marked twice");
    assert_eq!(sync::drain(&world.pool).await.unwrap().written, 12_000, "rows that were written");
    assert_eq!(world.unaligned().await, 0, "rows that differ from the view");
}

#[testkit::test]
async fn service_compares_in_the_background_and_reports_drift(world: World) {
    let room = live_room(&world.pool, "ada").await;
    live_session(&world.pool, &room, LiveStatus::Live).await;
    let service = world.service().await;
    world.aligned().await;
    let status =
        async || service.client.clone().get_status(GetStatusRequest::default()).await.unwrap().into_inner();
    eventually("the first comparison is complete", async || status().await.compared_at).await;
    drift(&world.pool, room.id).await;
    eventually("drift is reported", async || status().await.drift.eq(&1).then_some(())).await;
    world.aligned().await;
    eventually("drift is repaired", async || status().await.drift.eq(&0).then_some(())).await;
    let status = status().await;
    assert_eq!((status.dirty, status.set_aside, status.lag_seconds), (0, 0, 0.0));
}
