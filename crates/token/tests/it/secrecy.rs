//! Tokens are never logged, at any level, also after failures.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use chassis::status::{Reason, Refusal};
use sqlx::postgres::PgConnectOptions;
use testkit::seed::{self, State};
use tracing_subscriber::fmt::format::FmtSpan;

use crate::{
    live_issuing::on_air,
    logs,
    world::{FakeRoom, SlowClock, run, world},
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[testkit::test]
async fn no_token_is_ever_logged(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let booking = seed::booking(&pool, State::OpenNow).await;
    seed::active_room(&pool, &booking).await;
    let (room, _, _) = on_air(&pool).await;
    let down = Refusal::unavailable(Reason::LivekitUnavailable, 1);
    let log = Log::default();
    let written = log.clone();
    // Local to this thread: the test, the service and its tasks all run on it.
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_writer(move || written.clone())
        .finish();
    let _guard = logs::listen(subscriber);
    let world = world(&connect, &FakeRoom::refusing(&down)).await;
    let booked = world.issue(&booking.host, &booking).await.unwrap().token;
    let live = world.enter("gus", &room).await.unwrap().token;
    run(&pool, "update livekit_rooms set confirmed_at = null").await;
    world.enter("gus", &room).await.unwrap_err();

    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(log.contains("find_live_join"), "the log lacks the statement: {} bytes", log.len());
    for token in [booked, live] {
        for part in token.split('.').skip(1) {
            assert!(!log.contains(part), "a token was logged");
        }
    }
}
