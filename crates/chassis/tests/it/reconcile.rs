//! Passes: a nudge makes the next one start at once, and a lost connection loses no nudge.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chassis::{lifecycle::Lifecycle, notify, reconcile};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

fn counted(lifecycle: &Lifecycle, nudge: reconcile::Nudge) -> Arc<AtomicUsize> {
    let passes = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&passes);
    reconcile::spawn_periodic(lifecycle, "test", Duration::from_hours(1), nudge, move || {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Ok::<(), sqlx::Error>(()) }
    });
    passes
}

async fn more_than(passes: &AtomicUsize, n: usize) -> usize {
    testkit::eventually("another pass", || {
        let now = passes.load(Ordering::SeqCst);
        async move { if now > n { Ok(now) } else { Err(now) } }
    })
    .await
}

#[testkit::test]
async fn notify_nudges_also_after_a_reconnect(pool_options: PgPoolOptions, connect: PgConnectOptions) {
    let (lifecycle, nudge) = (Lifecycle::new(), reconcile::Nudge::default());
    let passes = counted(&lifecycle, nudge.clone());
    let url = testkit::database(&connect, "greenroom_token").url;
    let pool: PgPool = pool_options.connect_with(connect).await.unwrap();
    notify::listen(&lifecycle, url, "room_marks", nudge);
    let observed = more_than(&passes, 1).await; // the first pass, and the nudge of the subscription
    sqlx::query!("select pg_notify('room_marks', '')").execute(&pool).await.unwrap();
    let observed = more_than(&passes, observed).await;
    sqlx::query!(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where pid <> pg_backend_pid() and datname = current_database()"
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let observed = more_than(&passes, observed).await; // it reconnected, and nudged for missed notifications
    sqlx::query!("select pg_notify('room_marks', '')").execute(&pool).await.unwrap();
    more_than(&passes, observed).await;
    assert_eq!(lifecycle.stop(Duration::from_secs(5)).await, 0, "background tasks that panicked");
}

#[tokio::test]
async fn panicking_pass_is_counted_and_the_next_one_runs() {
    let (lifecycle, nudge) = (Lifecycle::new(), reconcile::Nudge::default());
    let passes = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&passes);
    reconcile::spawn_periodic(&lifecycle, "test", Duration::from_hours(1), nudge.clone(), move || {
        let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            assert!(!first, "on purpose");
            Ok::<(), sqlx::Error>(())
        }
    });
    nudge.now();
    more_than(&passes, 1).await;
    assert_eq!(lifecycle.stop(Duration::from_secs(5)).await, 1, "background tasks that panicked");
}

#[tokio::test]
async fn running_pass_finishes_and_is_the_last_on_stop() {
    let (lifecycle, nudge) = (Lifecycle::new(), reconcile::Nudge::default());
    let (begun, finished) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counter, done, stopping) = (begun.clone(), finished.clone(), lifecycle.stopping().clone());
    reconcile::spawn_periodic(&lifecycle, "test", Duration::from_hours(1), nudge.clone(), move || {
        counter.fetch_add(1, Ordering::SeqCst);
        let (done, stopping) = (done.clone(), stopping.clone());
        async move {
            stopping.cancelled().await;
            tokio::task::yield_now().await; // its last write
            done.fetch_add(1, Ordering::SeqCst);
            Ok::<(), sqlx::Error>(())
        }
    });
    more_than(&begun, 0).await;
    nudge.now();
    assert_eq!(lifecycle.stop(Duration::from_secs(5)).await, 0, "background tasks that panicked");
    assert_eq!((begun.load(Ordering::SeqCst), finished.load(Ordering::SeqCst)), (1, 1));
}
