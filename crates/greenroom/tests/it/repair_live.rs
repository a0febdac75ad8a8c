//! `greenroom repair live-rooms` on a database with every stuck state that the replaced systems left, and
//! `greenroom repair listing` on a listing that was changed without a mark.

use sqlx::{ConnectOptions, PgPool};

use crate::program::{CommandResult, greenroom};

/// One room for each stuck state, as old writers leave it.
const STUCK: &str = "
    insert into live_rooms (host_user_id, room_name, room_slug)
    select kind, kind, kind from unnest(array[
        'nothing', 'ended', 'cancelled', 'foreign', 'forgotten', 'half-open', 'half-over', 'seats', 'stream', 'well',
        'well-idle']) kind;
    insert into live_room_sessions (room_id, status, created_by, starts_at, started_at, ended_at)
    select id, case room_slug when 'ended' then 'ended' when 'cancelled' then 'cancelled' when 'half-over' then 'ended'
                              when 'seats' then 'ended' when 'stream' then 'ended' else 'live' end,
           host_user_id, app_now() - interval '1 day', app_now() - interval '1 day',
           case when room_slug in ('ended', 'cancelled', 'half-open', 'seats', 'stream') then app_now() - interval '1 h' end
    from live_rooms where room_slug not in ('nothing', 'foreign', 'well-idle');
    update live_rooms set status = 'live' where room_slug = 'nothing';
    update live_rooms r set status = 'lobby', current_session_id = s.id, host_present = true
    from live_room_sessions s where s.room_id = r.id and r.room_slug in ('ended', 'cancelled', 'half-open', 'half-over');
    update live_rooms set status = 'scheduled', current_session_id =
        (select s.id from live_room_sessions s join live_rooms o on o.id = s.room_id where o.room_slug = 'well')
    where room_slug = 'foreign';
    update live_rooms r set status = 'live', current_session_id = s.id
    from live_room_sessions s where s.room_id = r.id and r.room_slug = 'well';
    insert into live_room_attendance (session_id, live_room_id, user_id)
    select s.id, r.id, 'sitter' from live_rooms r join live_room_sessions s on s.room_id = r.id where room_slug = 'seats';
    insert into community_live_streams (id, title, status)
    select id, room_slug, 'live' from live_rooms where room_slug in ('nothing', 'stream', 'ended', 'well');
    insert into community_live_streams (id, title, status) values (gen_random_uuid(), 'no live room', 'live');";

async fn repair(pool: &PgPool, arguments: &[&str]) -> CommandResult {
    repair_what(pool, &[&["live-rooms"], arguments].concat()).await
}

async fn repair_what(pool: &PgPool, what: &[&str]) -> CommandResult {
    let database = pool.connect_options().to_url_lossy().to_string();
    greenroom(&[&["repair"], what].concat(), &[("DATABASE_URL", &database)]).await
}

async fn count_unsettled(pool: &PgPool) -> i64 {
    sqlx::query_scalar!(r#"select count(*) as "count!" from unsettled_live_rooms"#)
        .fetch_one(pool)
        .await
        .unwrap()
}

#[testkit::test]
async fn repair_live_rooms_repairs_every_stuck_state_once(pool: PgPool) {
    sqlx::raw_sql(STUCK).execute(&pool).await.unwrap();
    let stuck = count_unsettled(&pool).await;
    assert_eq!(stuck, 8);

    let dry_run = repair(&pool, &["--dry-run"]).await;
    assert_eq!(dry_run.code, 0, "{}{}", dry_run.out, dry_run.err);
    assert_eq!(count_unsettled(&pool).await, stuck, "a dry run changes nothing");
    assert!(dry_run.out.ends_with("Nothing was changed (--dry-run)\n"), "{}", dry_run.out);

    let result = repair(&pool, &[]).await;
    let lines: Vec<&str> = result.out.lines().collect();
    assert_eq!(
        lines,
        [
            "Ended 2 stuck sessions",
            "Reset 7 stuck rooms to idle",
            "Pointed 1 rooms at their open session",
            "Synced 3 stuck streams to ended",
            "✅ Repair complete: no live room is stuck",
        ],
        "{}",
        result.err
    );
    assert_eq!(
        dry_run.out.lines().take(4).collect::<Vec<_>>(),
        lines[..4],
        "the dry run printed the same counts"
    );
    assert_eq!(count_unsettled(&pool).await, 0);
    let live = sqlx::query_scalar!("select room_slug from live_rooms where status <> 'idle' order by 1")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(live, ["forgotten", "well"], "open sessions stay open");
    let kept =
        sqlx::query_scalar!("select title from community_live_streams where status = 'live' order by 1")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(kept, ["no live room", "well"], "rows of no live room are not ours");

    let again = repair(&pool, &[]).await;
    assert_eq!(
        again.out,
        "Ended 0 stuck sessions\nReset 0 stuck rooms to idle\nPointed 0 rooms at their open session\n\
         Synced 0 stuck streams to ended\n✅ Repair complete: no live room is stuck\n"
    );
}

async fn titles(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar!("select title from community_live_streams order by 1").fetch_all(pool).await.unwrap()
}

#[testkit::test]
async fn repair_listing_marks_differing_rows_once_for_sync(pool: PgPool) {
    sqlx::raw_sql(STUCK).execute(&pool).await.unwrap();
    sync::drain(&pool).await.unwrap();
    let aligned = titles(&pool).await;
    assert_eq!(aligned.len(), 10, "eight rooms that had a session, and two rows that say live without one");
    sqlx::raw_sql(
        "set greenroom.sync = 'on'; update community_live_streams set title = 'by hand' where title in ('well', 'ended');
         reset greenroom.sync",
    )
    .execute(&pool)
    .await
    .unwrap();
    let changed = titles(&pool).await;

    let result = repair_what(&pool, &["listing"]).await;
    assert_eq!(result.code, 0, "{}{}", result.out, result.err);
    let stray = "⚠️  Rows that say live and belong to no live room, not changed: 2";
    let first = "Compared 11 rows\nMarked 2 rows that differ\n";
    let end = "✅ Repair complete: sync writes the marked rows as soon as it runs\n";
    assert_eq!(result.out, format!("{first}{stray}\n{end}"));
    assert_eq!(titles(&pool).await, changed, "it only marks rows");

    let again = repair_what(&pool, &["listing"]).await;
    assert!(again.out.contains("Marked 0 rows that differ\n"), "marked already: {}", again.out);

    sync::drain(&pool).await.unwrap();
    assert_eq!(titles(&pool).await, aligned);
    let end = "✅ Repair complete: no unmarked row differs\n";
    let aligned = repair_what(&pool, &["listing"]).await.out;
    assert_eq!(aligned, format!("Compared 11 rows\nMarked 0 rows that differ\n{stray}\n{end}"));
}

#[testkit::test]
async fn strays_of_the_listing_are_ended_when_requested(pool: PgPool) {
    sqlx::raw_sql(STUCK).execute(&pool).await.unwrap();
    sync::drain(&pool).await.unwrap();
    sqlx::raw_sql(
        "insert into community_live_streams (id, title, status, managed, version, viewer_count, created_by)
         values (gen_random_uuid(), 'managed', 'live', true, nextval('live_stream_version'), 7, 'una');
         insert into community_live_streams (id, title, status)
         select gen_random_uuid(), 'many', 'live' from generate_series(1, 1200);
         insert into community_live_streams (id, title, status) values (gen_random_uuid(), 'to come', 'pending')",
    )
    .execute(&pool)
    .await
    .unwrap();
    let live = async || {
        let live = sqlx::query_scalar!(
            "select distinct title from community_live_streams where status = 'live' order by 1"
        );
        live.fetch_all(&pool).await.unwrap()
    };
    let before = live().await;
    assert_eq!(before, ["forgotten", "half-open", "managed", "many", "no live room", "nothing", "well"]);

    let result = repair_what(&pool, &["listing", "--end-strays", "--dry-run"]).await;
    assert_eq!(result.code, 0, "{}{}", result.out, result.err);
    assert_eq!(result.out.matches("🔎 Would end: ").count(), 1203);
    assert!(result.out.ends_with("Nothing was changed (--dry-run)\n"), "{}", result.out);
    assert_eq!(live().await, before);

    let version = sqlx::query_scalar!("select last_value from live_stream_version");
    let version = version.fetch_one(&pool).await.unwrap();
    let result = repair_what(&pool, &["listing", "--end-strays"]).await;
    assert_eq!(result.code, 0, "{}{}", result.out, result.err);
    assert!(
        result.out.contains("Ended 1203 rows that said live and belong to no live room\n"),
        "{}",
        result.out
    );
    assert_eq!(live().await, ["forgotten", "half-open", "well"], "rooms with a session are not strays");
    let ended = sqlx::query!(
        "select status, ended_at, viewer_count, version from community_live_streams where title = 'managed'"
    );
    let ended = ended.fetch_one(&pool).await.unwrap();
    assert_eq!((ended.status.as_str(), ended.viewer_count), ("ended", 0));
    assert!(ended.ended_at.is_some() && ended.version > version, "followers of changes get the row");
    let pending = sqlx::query_scalar!(
        r#"select count(*) as "n!" from community_live_streams where title = 'to come' and status = 'pending'"#
    );
    assert_eq!(pending.fetch_one(&pool).await.unwrap(), 1);

    let again = repair_what(&pool, &["listing", "--end-strays"]).await;
    assert!(again.out.contains("Ended 0 rows that said live"), "{}", again.out);
    assert!(!again.out.contains("not changed"), "{}", again.out);
}

#[testkit::test]
async fn locked_stray_is_not_ended(pool: PgPool) {
    sqlx::raw_sql(
        "insert into community_live_streams (id, title, status)
         select gen_random_uuid(), title, 'live' from unnest(array['free', 'locked']) title",
    )
    .execute(&pool)
    .await
    .unwrap();
    let mut client = chassis::db::begin(&pool).await.unwrap();
    sqlx::query!("update community_live_streams set total_messages = 1 where title = 'locked'")
        .execute(&mut *client)
        .await
        .unwrap();
    let result = repair_what(&pool, &["listing", "--end-strays"]).await;
    assert_eq!(result.code, 1, "{}{}", result.out, result.err);
    assert!(result.out.contains("❌ 1 rows are locked by another client"), "{}", result.out);
    client.commit().await.unwrap();
    assert_eq!(repair_what(&pool, &["listing", "--end-strays"]).await.code, 0);
}

#[testkit::test]
async fn dry_run_of_the_comparison_marks_nothing(pool: PgPool) {
    sqlx::raw_sql(STUCK).execute(&pool).await.unwrap();
    sqlx::raw_sql("delete from live_stream_dirty").execute(&pool).await.unwrap();
    let result = repair_what(&pool, &["listing", "--dry-run"]).await;
    assert_eq!(result.code, 0, "{}{}", result.out, result.err);
    assert!(result.out.contains("🔎 Would mark 8 rows that differ\n"), "{}", result.out);
    let marks = sqlx::query_scalar!(r#"select count(*) as "n!" from live_stream_dirty"#);
    assert_eq!(marks.fetch_one(&pool).await.unwrap(), 0);
}
