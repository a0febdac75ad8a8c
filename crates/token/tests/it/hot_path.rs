//! The hot path is one round trip: counted in the driver's own log of statements.

use std::sync::{Arc, Mutex};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::seed::{self, State};
use tracing_subscriber::{Layer, layer::SubscriberExt};

use crate::{
    live_issuing::on_air,
    logs,
    world::{FakeRoom, open, world},
};

/// Keeps the statements that sqlx reports, except the readiness probe's and a new connection's:
/// while the probe holds the pool's only connection, whoever asks next is given another.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl tracing::field::Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "summary" {
            self.0 = format!("{value:?}");
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let mut text = Text(String::new());
        if event.metadata().target() == "sqlx::query" {
            event.record(&mut text);
            if !text.0.contains("pg_is_in_recovery()") {
                self.0.lock().unwrap().push(text.0);
            }
        }
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_token_for_a_fresh_room_costs_one_statement(options: PgPoolOptions, connect: PgConnectOptions) {
    let pool = open(options, &connect).await;
    let booking = seed::booking(&pool, State::OpenNow).await;
    seed::active_room(&pool, &booking).await;
    let (live_room, _, _) = on_air(&pool).await;
    let world = world(&connect, &FakeRoom::silent()).await;
    world.issue(&booking.host, &booking).await.unwrap(); // the connection is made and its role set

    let statements = Statements::default();
    // For this thread only: the test, the service and its tasks all run on it.
    let _guard = logs::listen(tracing_subscriber::registry().with(statements.clone()));
    for _ in 0..3 {
        world.issue(&booking.guest, &booking).await.unwrap();
        world.enter("gus", &live_room).await.unwrap();
    }
    let statements = statements.0.lock().unwrap().clone();
    assert_eq!(statements.len(), 6, "{statements:?}");
    assert!(statements.iter().all(|statement| statement.contains("app_now()")), "{statements:?}");
}
