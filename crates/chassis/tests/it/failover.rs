//! A database that is read-only for a while: readiness reports it, and no connection of that time is kept.

use std::time::Duration;

use chassis::{
    db::{self, Needs},
    lifecycle::Lifecycle,
    notify,
    ops::State,
    reconcile::{self, Nudge},
    service,
    status::Reason,
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

const SIZE: u32 = 4;

async fn run(outside: &mut PgConnection, statements: &'static str) {
    sqlx::raw_sql(statements).execute(outside).await.unwrap();
}

/// Makes new sessions in this database read-only or writable. Open sessions do not change.
async fn set_read_only(outside: &mut PgConnection, read_only: bool) {
    let statement = if read_only {
        "do $$ begin execute format('alter database %I set default_transaction_read_only = on', current_database()); end $$"
    } else {
        "do $$ begin execute format('alter database %I reset default_transaction_read_only', current_database()); end $$"
    };
    run(outside, statement).await;
}

/// Ends all other sessions, as a failover does.
async fn end_other_sessions(outside: &mut PgConnection) {
    run(
        outside,
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .await;
}

/// A session that stays writable (the setting applies to new ones), and a table to write to.
async fn outside(connect: &PgConnectOptions) -> PgConnection {
    let mut outside = PgConnection::connect_with(connect).await.unwrap();
    run(&mut outside, "create table notes (n int); grant all on notes to public").await;
    outside
}

/// Writes as a request of the service does.
async fn write(pool: &PgPool, expiry: &db::Expiry) -> Result<(), Reason> {
    let writing = async {
        let written = sqlx::raw_sql("insert into notes values (1)").execute(pool).await;
        written.map(drop).map_err(|error| {
            let refusal = db::refusal(&error);
            assert!(refusal.facts.contains_key("retry_after"), "{refusal:?}");
            refusal.reason
        })
    };
    expiry.scope(writing).await
}

/// Opens all connections that the pool may have. Ok when all of them are writable, or none.
async fn open_all(pool: &PgPool, writable: bool) -> Result<(), Vec<Option<db::Server>>> {
    let (mut held, mut servers) = (Vec::new(), Vec::new());
    for _ in 0..SIZE {
        held.push(pool.acquire().await.unwrap());
    }
    for connection in &mut held {
        servers.push(db::ask(&mut **connection).await.ok());
    }
    let is_right = |server: &Option<db::Server>| server.is_some_and(|it| it.suits(Needs::Writes) == writable);
    if servers.iter().all(is_right) { Ok(()) } else { Err(servers) }
}

#[testkit::test(empty)]
async fn connections_of_a_read_only_time_are_replaced(connect: PgConnectOptions) {
    let mut outside = outside(&connect).await;
    let booking = testkit::database(&connect, "greenroom_booking");
    let (pool, probe) = db::probed_pool(&booking, Needs::Writes).unwrap();
    let expiry = probe.expiry(); // the probe itself is not used
    open_all(&pool, true).await.unwrap();
    set_read_only(&mut outside, true).await;
    end_other_sessions(&mut outside).await;
    testkit::eventually("every connection is a new one", || async {
        let _ = write(&pool, expiry).await;
        open_all(&pool, false).await
    })
    .await;
    assert_eq!(write(&pool, expiry).await, Err(Reason::DatabaseUnavailable));
    set_read_only(&mut outside, false).await;
    testkit::eventually("every connection takes writes", || async {
        let _ = write(&pool, expiry).await; // only this informs the pool: nothing probes it here
        open_all(&pool, true).await
    })
    .await;
    assert_eq!(write(&pool, expiry).await, Ok(()));
}

#[testkit::test(empty)]
async fn connection_of_a_failed_statement_is_not_kept(connect: PgConnectOptions) {
    let settings = db::Settings { max_connections: 1, ..testkit::database(&connect, "greenroom_booking") };
    let (pool, probe) = db::probed_pool(&settings, Needs::Writes).unwrap();
    let backend = async || sqlx::query_scalar!("select pg_backend_pid() as \"pid!\"").fetch_one(&pool).await;
    for failing in [
        "do $$ begin raise exception 'x' using errcode = '25006'; end $$",
        "do $$ begin raise exception 'x' using errcode = '53100'; end $$",
        "do $$ begin raise exception 'x' using errcode = '28000'; end $$",
    ] {
        let before = backend().await.unwrap();
        testkit::eventually("another connection", || async {
            let error = sqlx::raw_sql(failing).execute(&pool).await.unwrap_err();
            let refusal = probe.expiry().enter(|| db::refusal(&error));
            assert_eq!(refusal.reason, Reason::DatabaseUnavailable, "{failing}");
            let now = backend().await.unwrap();
            if now == before { Err(now) } else { Ok(()) }
        })
        .await;
    }
}

#[testkit::test(empty)]
async fn probe_refuses_a_server_that_does_not_suit(connect: PgConnectOptions) {
    let mut outside = outside(&connect).await;
    set_read_only(&mut outside, true).await;
    for (role, needs, is_ready) in
        [("greenroom_booking", Needs::Writes, false), ("greenroom_token", Needs::Reads, true)]
    {
        let (pool, probe) = db::probed_pool(&testkit::database(&connect, role), needs).unwrap();
        open_all(&pool, false).await.unwrap();
        let answer = probe.ask().await;
        assert_eq!(answer.is_ok(), is_ready, "{role}");
        let problem = answer.err().map(|unusable| unusable.to_string());
        assert_eq!(problem.as_deref(), (!is_ready).then_some("the database is read-only"), "{role}");
    }
    set_read_only(&mut outside, false).await;
}

#[testkit::test]
async fn readiness_follows_a_read_only_database(connect: PgConnectOptions) {
    let mut outside = outside(&connect).await;
    let runtime = testkit::runtime();
    let (booking, token) =
        (testkit::database(&connect, "greenroom_booking"), testkit::database(&connect, "greenroom_token"));
    let writing = service::database(&booking, &runtime).await.unwrap();
    let reading = service::database_for(&token, Needs::Reads, &runtime).await.unwrap();
    let becomes = async |state| {
        testkit::eventually("readiness follows", || async {
            match runtime.readiness.state(&booking.dependency()) {
                Some(found) if found == state => Ok(()),
                other => Err(other),
            }
        })
        .await;
        assert_eq!(runtime.readiness.state(&token.dependency()), Some(State::Up), "it only reads");
    };
    becomes(State::Up).await;
    set_read_only(&mut outside, true).await;
    // Only the sessions of the service that writes: one login alone can be affected.
    run(
        &mut outside,
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'greenroom_booking'",
    )
    .await;
    becomes(State::Down).await;
    let report = runtime.readiness.report();
    let down = &report.dependencies[&booking.dependency()];
    assert_eq!(down.problem.as_deref(), Some("the database is read-only"));
    assert!(db::ask(&reading).await.unwrap().suits(Needs::Reads));
    set_read_only(&mut outside, false).await;
    becomes(State::Up).await;
    let expiry = runtime.expiry(&booking.dependency());
    assert_eq!(runtime.readiness.report().dependencies[&booking.dependency()].problem, None);
    testkit::eventually("writes again", || write(&writing, &expiry)).await;
}

/// The number of sessions that were opened in this database.
async fn count_sessions(pool: &PgPool) -> i64 {
    let sessions = sqlx::query_scalar!(
        r#"select sessions as "n!" from pg_stat_database where datname = current_database()"#
    );
    sessions.fetch_one(pool).await.unwrap()
}

#[testkit::test(empty)]
async fn listener_leaves_a_read_only_server(options: PgPoolOptions, connect: PgConnectOptions) {
    let mut outside = outside(&connect).await;
    let url = testkit::database(&connect, "greenroom_booking").url;
    set_read_only(&mut outside, true).await;
    let (lifecycle, nudge) = (Lifecycle::new(), Nudge::default());
    let (passed, mut passes) = tokio::sync::mpsc::unbounded_channel();
    reconcile::spawn_periodic(&lifecycle, "test", Duration::from_hours(1), nudge.clone(), move || {
        let _ = passed.send(());
        async { Ok::<(), sqlx::Error>(()) }
    });
    passes.recv().await.unwrap(); // the first pass runs without a nudge
    notify::listen(&lifecycle, SecretString::from(url.expose_secret()), "notes", nudge);
    let counting = options.connect_with(connect).await.unwrap();
    let before = count_sessions(&counting).await;
    testkit::eventually("the listener connected and left", || async {
        match count_sessions(&counting).await {
            now if now >= before + 2 => Ok(()),
            few => Err(few),
        }
    })
    .await;
    assert!(passes.try_recv().is_err(), "a read-only server nudges nothing");
    set_read_only(&mut outside, false).await;
    tokio::time::timeout(Duration::from_secs(10), passes.recv())
        .await
        .expect("the listener reconnected")
        .unwrap();
    run(&mut outside, "notify notes").await;
    tokio::time::timeout(Duration::from_secs(10), passes.recv())
        .await
        .expect("the notification nudged")
        .unwrap();
    assert_eq!(lifecycle.stop(Duration::from_secs(5)).await, 0, "background tasks that panicked");
}
