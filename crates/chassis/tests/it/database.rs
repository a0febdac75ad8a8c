//! Pools, roles, migrations and what database errors mean.

use std::{
    future::Future as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use chassis::{
    db::{self, Schema},
    service::{self, Runtime, StartError},
    status::Reason,
};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::sync::{Barrier, Semaphore};

#[testkit::test]
async fn pool_acts_under_the_role_of_its_service(connect: PgConnectOptions) {
    let pool = db::pool(&testkit::database(&connect, "greenroom_token")).unwrap();
    let user = sqlx::query_scalar!("select current_user::text as \"user!\"").fetch_one(&pool).await.unwrap();
    assert_eq!(user, "greenroom_token");
    let refused = sqlx::query!("delete from sessions").execute(&pool).await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "42501");
}

#[testkit::test]
async fn missing_role_is_skipped(connect: PgConnectOptions) {
    let pool = db::pool(&testkit::database(&connect, "greenroom_missing")).unwrap();
    assert!(!db::check_role(&pool, "greenroom_missing").await.unwrap());
}

#[testkit::test(empty)]
async fn service_refuses_a_database_that_is_behind(connect: PgConnectOptions) {
    let refused =
        service::database(&testkit::database(&connect, "greenroom_token"), &Runtime::default()).await;
    assert!(matches!(refused, Err(StartError::Behind(missing)) if missing.to_string().starts_with("0001 ")));
}

#[testkit::test]
async fn service_refuses_a_migration_that_differs(pool: PgPool) {
    assert_eq!(db::schema(&pool).await.unwrap(), Schema::Current);
    tamper(&pool).await;
    assert_eq!(db::schema(&pool).await.unwrap(), Schema::Differs(1));
}

/// A replica of the version before restarts after `migrate`.
#[testkit::test]
async fn service_accepts_a_database_that_is_ahead(pool: PgPool, connect: PgConnectOptions) {
    let later = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                 values (9000, 'later', true, 'x'::bytea, 0)";
    sqlx::raw_sql(later).execute(&pool).await.unwrap();
    assert_eq!(db::schema(&pool).await.unwrap(), Schema::Ahead(9000));
    service::database(&testkit::database(&connect, "greenroom_token"), &Runtime::default()).await.unwrap();
}

/// With and without a role: services, `migrate`, `doctor` and `repair`.
#[testkit::test(empty)]
async fn pools_have_generic_plans_and_no_jit(options: PgPoolOptions, connect: PgConnectOptions) {
    // The private Postgres has JIT off; the owner of another server may have turned it on.
    let on = "do $$ begin execute format('alter database %I set jit = on', current_database()); end $$";
    sqlx::raw_sql(on).execute(&options.connect_with(connect.clone()).await.unwrap()).await.unwrap();
    let service = testkit::database(&connect, "greenroom_token");
    for settings in [db::Settings { role: None, ..service.clone() }, service] {
        let plans = sqlx::query!(
            r#"select current_setting('jit') as "jit!", current_setting('plan_cache_mode') as "mode!""#
        );
        let plans = plans.fetch_one(&db::pool(&settings).unwrap()).await.unwrap();
        assert_eq!((plans.jit.as_str(), plans.mode.as_str()), ("off", "force_generic_plan"));
    }
}

#[expect(clippy::disallowed_methods, reason = "sqlx's own table is in no schema to check against")]
async fn tamper(pool: &PgPool) {
    sqlx::query("update _sqlx_migrations set checksum = 'x'::bytea where version = 1")
        .execute(pool)
        .await
        .unwrap();
}

/// The statement of a caller that gave up still runs, and keeps its connection.
#[testkit::test]
async fn locked_row_does_not_block_the_pool(options: PgPoolOptions, connect: PgConnectOptions) {
    let outside = options.connect_with(connect.clone()).await.unwrap();
    let settings =
        db::Settings { max_connections: 2, ..testkit::database(&connect, "greenroom_room_lifecycle") };
    let pool = db::pool(&settings).unwrap();
    let mut holding = chassis::db::begin(&outside).await.unwrap();
    sqlx::query!("update deployment set livekit_url = 'held'").execute(&mut *holding).await.unwrap();
    let update = || sqlx::query!("update deployment set livekit_url = 'mine'").execute(&pool);
    let giving_up = async {
        let waited = tokio::time::timeout(std::time::Duration::from_millis(100), update()).await;
        assert!(waited.is_err(), "the row is held");
        testkit::eventually("the pool serves others while the row is held", || {
            let answer = sqlx::query_scalar!("select true").fetch_one(&pool);
            async move { answer.await.map(drop) }
        })
        .await;
    };
    let (refused, ()) = tokio::join!(update(), giving_up);
    assert_eq!(db::refusal(&refused.unwrap_err()).reason, Reason::DatabaseBusy);
    holding.rollback().await.unwrap();
}

#[testkit::test]
async fn statement_timeout_applies_only_to_services(connect: PgConnectOptions) {
    let service = testkit::database(&connect, "greenroom_token");
    for (role, bound) in [(service.role, "15s"), (None, "0")] {
        let pool = db::pool(&db::Settings { role, ..service.clone() }).unwrap();
        let found = sqlx::query_scalar!("select current_setting('statement_timeout') as \"found!\"");
        assert_eq!(found.fetch_one(&pool).await.unwrap(), bound, "as {role:?}");
    }
}

/// Two serializable transactions, each reading what the other one writes: one of them must be retried.
#[testkit::test]
async fn serialization_failure_is_retried_once(pool: PgPool) {
    let (attempts, barrier) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(2)));
    let done = Arc::new(Semaphore::new(0));
    let transfer = |mine: &'static str, other: &'static str| {
        let (pool, attempts, barrier) = (pool.clone(), Arc::clone(&attempts), Arc::clone(&barrier));
        let done = Arc::clone(&done);
        async move {
            db::retry_on_contention(|| async {
                let first = attempts.fetch_add(1, Ordering::SeqCst) < 2;
                if !first {
                    done.acquire().await.unwrap().forget(); // the other transaction committed
                }
                let mut tx = chassis::db::begin(&pool).await?;
                sqlx::query!("set transaction isolation level serializable").execute(&mut *tx).await?;
                sqlx::query!("select count(*) as n from app_users where id = $1", other)
                    .fetch_one(&mut *tx)
                    .await?;
                if first {
                    barrier.wait().await;
                }
                sqlx::query!("insert into app_users (id) values ($1)", mine).execute(&mut *tx).await?;
                tx.commit().await.inspect(|()| done.add_permits(1))
            })
            .await
        }
    };
    let (one, two) = tokio::join!(transfer("one", "two"), transfer("two", "one"));
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
}

/// The next statement on the connection must run in its own transaction.
#[testkit::test(empty)]
async fn transaction_dropped_while_it_begins_is_rolled_back(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let pool = options.max_connections(1).test_before_acquire(false).connect_with(connect).await.unwrap();
    let transaction = async || {
        sqlx::query_scalar!(r#"select pg_current_xact_id()::text as "id!""#).fetch_one(&pool).await.unwrap()
    };
    for polls in 1..20 {
        let mut beginning = Box::pin(db::begin(&pool));
        let mut left = polls;
        let begun = std::future::poll_fn(|context| {
            left -= 1;
            match beginning.as_mut().poll(context) {
                Poll::Ready(begun) => Poll::Ready(Some(begun.unwrap())),
                Poll::Pending if left == 0 => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        drop((begun, beginning));
        assert_ne!(transaction().await, transaction().await, "after {polls} polls");
    }
}

#[testkit::test]
async fn lasting_contention_is_busy_after_one_retry(pool: PgPool) {
    let attempts = AtomicUsize::new(0);
    let error = db::retry_on_contention(|| async {
        attempts.fetch_add(1, Ordering::SeqCst);
        sqlx::query!("do $$ begin raise exception 'again' using errcode = '40001'; end $$")
            .execute(&pool)
            .await
    })
    .await
    .unwrap_err();
    assert_eq!(attempts.load(Ordering::SeqCst), 2);
    assert_eq!(db::refusal(&error).reason, Reason::DatabaseBusy);
}

/// Raises an error with this SQLSTATE, as Postgres would.
async fn raise(pool: &PgPool, sqlstate: &str) -> sqlx::Error {
    let mut connection = pool.acquire().await.unwrap();
    sqlx::query!("select set_config('testkit.sqlstate', $1, false) as sqlstate", sqlstate)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    sqlx::query!(
        "do $$ begin raise exception 'x' using errcode = current_setting('testkit.sqlstate'); end $$"
    )
    .execute(&mut *connection)
    .await
    .unwrap_err()
}

#[testkit::test(empty)]
async fn sqlstates_map_to_busy_unavailable_or_internal(pool: PgPool) {
    let meanings = [
        (Reason::DatabaseBusy, ["40001", "40P01", "55P03", "57014", "25P03"].as_slice()),
        (
            Reason::DatabaseUnavailable,
            &[
                "08000", "08006", "25006", "28000", "28P01", "3D000", "53000", "53100", "53200", "53300",
                "53400", "57P01", "57P02", "57P03", "57P04", "57P05",
            ],
        ),
        (Reason::Internal, &["23505", "42501", "25001", "3F000"]),
    ];
    for (reason, sqlstates) in meanings {
        for sqlstate in sqlstates {
            let error = raise(&pool, sqlstate).await;
            assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some(*sqlstate), "{sqlstate}");
            assert_eq!(db::refusal(&error).reason, reason, "{sqlstate}");
        }
    }
}

/// Two transactions that wait for each other's lock: Postgres ends one, and that one is retried.
#[testkit::test]
async fn deadlock_is_retried_once(pool: PgPool) {
    sqlx::query!("insert into app_users (id) values ('one'), ('two')").execute(&pool).await.unwrap();
    let (attempts, barrier) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(2)));
    let done = Arc::new(Semaphore::new(0));
    let rename = |first: &'static str, second: &'static str| {
        let (pool, attempts, barrier) = (pool.clone(), Arc::clone(&attempts), Arc::clone(&barrier));
        let done = Arc::clone(&done);
        async move {
            db::retry_on_contention(|| async {
                let is_first = attempts.fetch_add(1, Ordering::SeqCst) < 2;
                if !is_first {
                    done.acquire().await.unwrap().forget(); // the other transaction committed
                }
                let mut tx = chassis::db::begin(&pool).await?;
                sqlx::query!("update app_users set email = 'x' where id = $1", first)
                    .execute(&mut *tx)
                    .await?;
                if is_first {
                    barrier.wait().await;
                }
                sqlx::query!("update app_users set email = 'x' where id = $1", second)
                    .execute(&mut *tx)
                    .await?;
                tx.commit().await.inspect(|()| done.add_permits(1))
            })
            .await
        }
    };
    let (one, two) = tokio::join!(rename("one", "two"), rename("two", "one"));
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
}

#[testkit::test]
async fn readiness_names_the_database_of_each_service(connect: PgConnectOptions) {
    let runtime = testkit::runtime();
    for role in ["greenroom_token", "greenroom_room_lifecycle"] {
        service::database(&testkit::database(&connect, role), &runtime).await.unwrap();
    }
    let report = runtime.readiness.report();
    let names: Vec<&str> = report.dependencies.keys().map(String::as_str).collect();
    assert_eq!(names, ["room-lifecycle database", "token database"]);
}

#[tokio::test]
async fn unreachable_database_is_unavailable() {
    let settings = db::Settings {
        url: "postgres://unknown@127.0.0.1:1/none".into(),
        role: Some("greenroom_token"),
        max_connections: 1,
    };
    let pool = db::pool(&settings).unwrap();
    let error = sqlx::query!("select true as there").fetch_one(&pool).await.unwrap_err();
    assert_eq!(db::refusal(&error).reason, Reason::DatabaseUnavailable);
}

/// A refused login and a missing database, as after a failover to an unfinished server.
#[testkit::test(empty)]
async fn refused_connection_is_an_outage(connect: PgConnectOptions) {
    for wrong in
        [connect.clone().username("greenroom_stranger"), connect.clone().database("greenroom_nowhere")]
    {
        let settings = testkit::database(&wrong, "greenroom_token");
        let pool = db::pool(&settings).unwrap();
        let error = sqlx::query!("select true as there").fetch_one(&pool).await.unwrap_err();
        let code = error.as_database_error().unwrap().code().unwrap().into_owned();
        assert!(["28P01", "28000", "3D000"].contains(&code.as_str()), "{code}");
        let refusal = db::refusal(&error);
        assert_eq!(refusal.reason, Reason::DatabaseUnavailable, "{code}");
        assert!(refusal.facts.contains_key("retry_after"), "{code}");
        assert!(!db::is_outage(&error), "a start does not wait for this: {code}");
    }
}

#[testkit::test]
async fn database_clock_moves_with_its_setting(connect: PgConnectOptions) {
    let pool = db::pool(&testkit::database(&connect, "postgres")).unwrap();
    testkit::advance_database_clock(&pool, time::Duration::hours(3)).await;
    let later = db::pool(&testkit::database(&connect, "postgres")).unwrap();
    let ahead = sqlx::query_scalar!(r#"select app_now() - now() > interval '2 hours' as "ahead!""#);
    assert!(ahead.fetch_one(&later).await.unwrap());
}
