//! Issued tokens and refusals are counted, by the kind of room.

use metrics_exporter_prometheus::PrometheusBuilder;
use sqlx::postgres::PgConnectOptions;
use testkit::seed::{self, State, nest};

use crate::{
    live_issuing::on_air,
    world::{FakeRoom, SlowClock, world},
};

#[testkit::test]
async fn tokens_are_counted_by_owner_and_result(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let booking = seed::booking(&pool, State::OpensTomorrow).await;
    let (room, _, _) = on_air(&pool).await;
    let nest = nest::nest(&pool, &nest::key('a')).await;
    let recorder = PrometheusBuilder::new().build_recorder();
    // Local to this thread: the test, the service and its tasks all run on it.
    let _guard = metrics::set_default_local_recorder(&recorder);
    let world = world(&connect, &FakeRoom::silent()).await;
    world.issue(&booking.host, &booking).await.unwrap_err();
    world.enter("gus", &room).await.unwrap();
    world.enter("sam", &room).await.unwrap();
    world.enter("stranger", &room).await.unwrap_err();
    world.enter_nest(Some(&nest::key('c')), &nest).await.unwrap_err();
    let counted = recorder.handle().render();
    for line in [
        r#"greenroom_tokens_total{owner="session",result="too_early"} 1"#,
        r#"greenroom_tokens_total{owner="live_session",result="issued"} 2"#,
        r#"greenroom_tokens_total{owner="live_session",result="not_participant"} 1"#,
    ] {
        assert!(counted.contains(line), "{line} is not in:\n{counted}");
    }
    let nests = counted.lines().filter(|line| line.contains(r#"owner="nest""#));
    let counted: Vec<&str> = nests.filter(|line| !line.ends_with(" 0")).collect();
    assert!(counted.is_empty(), "the first step of joining a nest was counted as a refusal: {counted:?}");
}
