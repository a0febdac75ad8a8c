//! `greenroom migrate`. Each test has its own empty database.

use chassis::db::MIGRATOR;
use sqlx::{
    AssertSqlSafe, ConnectOptions, PgExecutor, PgPool, migrate::Migrator, postgres::PgConnectOptions,
};

use crate::program::{CommandResult, greenroom};

async fn migrate(connect: &PgConnectOptions, environment: &[(&str, &str)]) -> CommandResult {
    let url = connect.to_url_lossy().to_string();
    let mut environment = environment.to_vec();
    environment.push(("DATABASE_URL", &url));
    greenroom(&["migrate"], &environment).await
}

#[testkit::test(empty)]
async fn migrating_twice_applies_once(connect: PgConnectOptions) {
    let first = migrate(&connect, &[]).await;
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(first.out.starts_with("applied 0001 "), "{}", first.out);
    let second = migrate(&connect, &[]).await;
    assert_eq!((second.code, second.out.as_str()), (0, "the database is up to date\n"));
}

#[testkit::test(empty)]
async fn concurrent_migrations_both_succeed(connect: PgConnectOptions) {
    let (one, other) = tokio::join!(migrate(&connect, &[]), migrate(&connect, &[]));
    assert_eq!((one.code, other.code), (0, 0), "{}\n{}", one.err, other.err);
}

#[testkit::test(empty)]
async fn join_windows_are_stored_in_the_database(connect: PgConnectOptions) {
    let result = migrate(&connect, &[("JOIN_OPENS_BEFORE", "20min"), ("JOIN_CLOSES_AFTER", "90min")]).await;
    assert_eq!(result.code, 0, "{}", result.err);
    let pool = PgPool::connect_with(connect.clone()).await.unwrap();
    assert_eq!(window(&pool).await, ["00:20:00", "01:30:00"]);

    // A window that is not given keeps its stored value.
    let result = migrate(&connect, &[("JOIN_OPENS_BEFORE", ""), ("JOIN_CLOSES_AFTER", "3h")]).await;
    assert_eq!(result.code, 0, "{}", result.err);
    assert_eq!(window(&pool).await, ["00:20:00", "03:00:00"]);
}

/// How long before its start a booking of 30 min opens, and how long after its start it closes. The table function, the
/// scalar functions and the view must agree.
async fn window(executor: impl PgExecutor<'_>) -> [String; 2] {
    let mut windows = sqlx::query!(
        r#"with booking as (select timestamptz '2030-01-01 12:00Z' as start)
           select (start - opens_at)::text as "opens!", (closes_at - start)::text as "closes!"
           from booking, booking_window(start, 30)
           union
           select (start - booking_opens_at(start))::text, (booking_closes_at(start, 30) - start)::text from booking
           union
           select (s.scheduled_at - o.opens_at)::text, (o.closes_at - s.scheduled_at)::text
           from sessions s join room_owners o on o.owner = s.id"#
    )
    .fetch_all(executor)
    .await
    .unwrap();
    let window = windows.pop().unwrap();
    assert!(windows.is_empty(), "they differ: {window:?} {windows:?}");
    [window.opens, window.closes]
}

async fn add_booking(pool: &PgPool) {
    sqlx::query!(
        "insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url)
         values ('ada', 'bob', 'ada', 't', app_now(), 30, '')"
    )
    .execute(pool)
    .await
    .unwrap();
}

#[testkit::test]
async fn changed_window_applies_to_the_next_statement(pool: PgPool) {
    add_booking(&pool).await;
    let mut connection = pool.acquire().await.unwrap();
    assert_eq!(window(&mut *connection).await, ["00:15:00", "02:00:00"]);
    sqlx::query!("update settings set value = '1 h' where name = 'join_opens_before'")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query!("update settings set value = '90 min' where name = 'join_closes_after'")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(window(&mut *connection).await, ["01:00:00", "01:30:00"]);
    sqlx::query!("delete from settings").execute(&pool).await.unwrap();
    assert_eq!(window(&mut *connection).await, ["00:15:00", "02:00:00"], "the defaults");
    for wrong in ["soon", "infinity"] {
        let set = sqlx::query!("insert into settings (name, value) values ('join_opens_before', $1)", wrong);
        assert!(set.execute(&pool).await.is_err(), "{wrong}");
    }
}

#[expect(clippy::disallowed_methods, reason = "there is no macro for EXPLAIN")]
async fn explain(pool: &PgPool, statement: &str) -> String {
    let explain = AssertSqlSafe(format!("explain (analyze, verbose, costs off, timing off) {statement}"));
    let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(pool).await.unwrap();
    plan.join("\n")
}

/// A function that is not inlined, or a setting that is read for each row, would cost time for each row.
#[testkit::test]
async fn window_is_inlined_and_its_settings_are_read_once(pool: PgPool) {
    add_booking(&pool).await;
    for statement in [
        "select booking_opens_at(scheduled_at), booking_closes_at(scheduled_at, duration_minutes) from sessions",
        "select w.* from sessions s cross join lateral booking_window(s.scheduled_at, s.duration_minutes) w",
        "select opens_at, closes_at, open from room_owners",
    ] {
        let plan = explain(&pool, statement).await;
        assert!(!plan.contains("booking_"), "{plan}");
    }
    let plan = explain(&pool, "select opens_at, closes_at, open, ended_reason from room_owners").await;
    let scan = plan.split_once("on public.sessions").unwrap_or_else(|| panic!("{plan}")).1;
    assert!(plan.contains("InitPlan") && !scan.contains("join_setting"), "{plan}");
}

/// Applies the migrations up to this version, as an earlier version of the program did.
async fn migrate_up_to(connect: &PgConnectOptions, version: i64) -> PgPool {
    let earlier = MIGRATOR.iter().filter(|migration| migration.version <= version).cloned().collect();
    let pool = PgPool::connect_with(connect.clone()).await.unwrap();
    Migrator::with_migrations(earlier).run(&pool).await.unwrap();
    pool
}

#[testkit::test(empty)]
async fn windows_of_earlier_versions_are_kept(connect: PgConnectOptions) {
    let pool = migrate_up_to(&connect, 7).await;
    sqlx::raw_sql(
        "do $$ begin
             execute format('alter database %I set greenroom.join_opens_before = %L', current_database(), '1200 s');
             execute format('alter database %I set greenroom.join_closes_after = %L', current_database(), '5400 s');
         end $$",
    )
    .execute(&pool)
    .await
    .unwrap();
    add_booking(&pool).await;
    let result = migrate(&connect, &[]).await;
    assert_eq!(result.code, 0, "{}", result.err);
    assert_eq!(window(&pool).await, ["00:20:00", "01:30:00"]);
    let left = sqlx::query_scalar!(
        r#"select count(*) as "left!" from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase
           where d.datname = current_database() and array_to_string(s.setconfig, ' ') like '%join%'"#
    );
    assert_eq!(left.fetch_one(&pool).await.unwrap(), 0);
}

#[testkit::test(empty)]
async fn missing_room_names_are_filled(connect: PgConnectOptions) {
    let pool = migrate_up_to(&connect, 7).await;
    sqlx::raw_sql(
        "with session as (
             insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url)
             select 'host' || n, 'guest' || n, 'ada', 't', app_now(), 30, '' from generate_series(1, 3) n
             returning id, host_id)
         insert into livekit_rooms (session_id, room_name, generation, max_participants)
         select id, host_id, 2, 7 from session;
         insert into livekit_room_names (room_name, room_id, generation)
         select room_name, id, generation from livekit_rooms where room_name = 'host1';
         insert into livekit_room_names (room_name, room_id, generation) values ('host2', gen_random_uuid(), 7)",
    )
    .execute(&pool)
    .await
    .unwrap();
    assert_eq!(migrate(&connect, &[]).await.code, 0);
    let known = sqlx::query_scalar!(
        r#"select count(*) as "known!" from livekit_rooms r
           join livekit_room_names n on (n.room_name, n.room_id, n.generation) = (r.room_name, r.id, r.generation)"#
    );
    assert_eq!(known.fetch_one(&pool).await.unwrap(), 3);
}

#[tokio::test]
async fn invalid_window_is_a_settings_error() {
    let environment = [("DATABASE_URL", "postgres://127.0.0.1:1/x"), ("JOIN_CLOSES_AFTER", "later")];
    let result = greenroom(&["migrate"], &environment).await;
    assert_eq!(result.code, 2, "the exit code");
    assert!(result.err.contains("JOIN_CLOSES_AFTER"), "{}", result.err);
}

#[tokio::test]
async fn password_is_never_printed() {
    let environment = [("DATABASE_URL", "postgres://una:hunter2@127.0.0.1:1/x"), ("RUST_LOG", "trace")];
    let result = greenroom(&["migrate", "--wait", "0s"], &environment).await;
    assert_eq!(result.code, 1, "the exit code");
    assert!(!result.err.contains("hunter2") && !result.out.contains("hunter2"), "{}", result.err);
}
