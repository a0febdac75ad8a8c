use tokio::sync::oneshot;

use super::*;

const PACE: Pace = Pace { quick: Duration::from_millis(20), limit: Duration::from_mins(1) };

fn lanes(quick: usize, slow: usize) -> Lanes<u8> {
    Lanes::new("test", Width { quick, slow }, PACE)
}

/// Work that waits for LiveKit until it is released.
fn held() -> (oneshot::Sender<()>, impl Future<Output = u8> + Send + 'static) {
    let (release, held) = oneshot::channel::<()>();
    (release, async move {
        waiting(held).await.unwrap();
        7
    })
}

async fn slow(lanes: &Lanes<u8>, key: u8) -> (oneshot::Sender<()>, Rest<u8>) {
    let (release, work) = held();
    let Run::Slow(rest) = lanes.run(&key, work).await else { panic!("the work is not slow") };
    (release, rest)
}

#[tokio::test]
async fn slow_work_frees_its_permit_and_continues() {
    let lanes = lanes(1, 1);
    let (release, rest) = slow(&lanes, 1).await;
    assert!(matches!(lanes.run(&2, async { 2 }).await, Run::Done(2)), "the only quick permit is free again");
    release.send(()).unwrap();
    assert_eq!(rest.await, Some(7));
}

#[tokio::test]
async fn slow_key_takes_no_quick_permit_until_a_run_is_quick() {
    let lanes = lanes(1, 1);
    let (release, rest) = slow(&lanes, 1).await;
    release.send(()).unwrap();
    rest.await.unwrap();
    let quick = lanes.quick.acquire().await.unwrap();
    let Run::Slow(rest) = lanes.run(&1, async { 1 }).await else {
        panic!("the work waits for a quick permit")
    };
    assert_eq!(rest.await, Some(1), "this run is quick");
    drop(quick);
    assert!(matches!(lanes.run(&1, async { 2 }).await, Run::Done(2)));
}

#[tokio::test]
async fn slow_work_is_dropped_when_the_slow_lane_is_full() {
    let lanes = lanes(1, 1);
    let (_release, _rest) = slow(&lanes, 1).await;
    let (released, work) = held();
    assert!(matches!(lanes.run(&2, work).await, Run::Dropped));
    assert!(released.is_closed());
    assert!(matches!(lanes.run(&2, async { 2 }).await, Run::Busy), "slow keys wait for the slow lane");
    assert!(matches!(lanes.run(&3, async { 3 }).await, Run::Done(3)), "other keys use the quick lane");
}

#[tokio::test]
async fn key_in_progress_is_not_started_again() {
    let lanes = lanes(2, 2);
    let (release, rest) = slow(&lanes, 1).await;
    assert!(matches!(lanes.run(&1, async { 2 }).await, Run::Busy));
    release.send(()).unwrap();
    rest.await.unwrap();
    assert!(!matches!(lanes.run(&1, async { 2 }).await, Run::Busy));
}

#[tokio::test]
async fn work_is_dropped_at_its_limit() {
    let pace = Pace { limit: Duration::from_millis(50), ..PACE };
    let lanes = Lanes::new("test", Width { quick: 1, slow: 1 }, pace);
    let (release, rest) = slow(&lanes, 1).await;
    assert_eq!(rest.await, None);
    assert!(release.is_closed());
    assert!(!matches!(lanes.run(&1, async { 2 }).await, Run::Busy), "the key is free again");
}

#[tokio::test]
async fn work_without_livekit_calls_is_slow_after_ten_times_as_long() {
    let lanes = lanes(1, 1);
    let other = tokio::time::sleep(PACE.quick * 5);
    assert!(matches!(lanes.run(&1, other).await, Run::Done(())));
    assert!(matches!(lanes.run(&1, std::future::pending::<()>()).await, Run::Slow(_)));
}

#[test]
fn back_off_grows_and_ends_with_a_success() {
    let lanes = lanes(1, 1);
    let now = OffsetDateTime::UNIX_EPOCH;
    let waits: Vec<i64> = (0..6).map(|_| lanes.note(&1, true, now).whole_seconds()).collect();
    assert_eq!(waits, [0, 2, 4, 8, 8, 8]);
    let at = |seconds| now + time::Duration::seconds(seconds);
    assert!(lanes.is_backing_off(&1, at(7)) && !lanes.is_backing_off(&1, at(8)));
    assert!(!lanes.is_backing_off(&1, at(-1)), "the clock was set back");
    assert!(!lanes.is_backing_off(&2, now));
    assert_eq!(lanes.note(&1, false, now), time::Duration::ZERO);
    assert!(!lanes.is_backing_off(&1, at(1)));
}
