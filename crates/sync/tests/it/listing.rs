//! The listing in pages: its order, its filters, and who may read what.

use chassis::status::Reason;
use domain::{LiveStatus, StreamStatus};
use proto::sync::v1::ListStreamsRequest;
use testkit::seed::live::{live_room, live_session};

use crate::harness::*;

fn request() -> ListStreamsRequest {
    ListStreamsRequest::default()
}

#[testkit::test]
async fn pages_start_with_the_latest_and_have_every_row_once(world: World) {
    live_rooms(&world.pool, 25).await; // all at the same time: the id decides
    world.execute("insert into community_live_streams (id, title, status, scheduled_for) values (gen_random_uuid(), 'Alien', 'live', now())").await;
    sync::drain(&world.pool).await.unwrap();
    let service = world.service().await;
    let (mut listed, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = service.list(ListStreamsRequest { limit: Some(10), cursor, ..request() }).await.unwrap();
        pages += 1;
        listed.extend(page.streams.into_iter().map(|stream| {
            assert_ne!(stream.title, "Alien", "the page has a row that sync did not write");
            (stream.scheduled_for.unwrap().seconds, stream.id)
        }));
        if page.next_cursor.is_none() {
            break;
        }
        cursor = page.next_cursor;
    }
    assert_eq!((pages, listed.len()), (3, 25));
    assert!(listed.is_sorted_by(|a, b| a > b), "{listed:?}");
}

#[testkit::test]
async fn status_and_text_filter_the_listing(world: World) {
    for (host, status) in [("a", LiveStatus::Scheduled), ("b", LiveStatus::Lobby), ("c", LiveStatus::Ended)] {
        let room = live_room(&world.pool, host).await;
        let session = live_session(&world.pool, &room, status).await;
        sqlx::query!(
            r"update live_room_sessions set session_title = $2, topic_keys = array[$3] where id = $1",
            session,
            format!(r"100% of_{host}\"),
            format!("Topic-{host}")
        )
        .execute(&world.pool)
        .await
        .unwrap();
    }
    world.execute("update live_rooms set description = 'Grüße aus Köln' where host_user_id = 'c'").await;
    sync::drain(&world.pool).await.unwrap();
    let service = world.service().await;
    let hosts = async |status: &str, query: &str| {
        let status = status.parse::<StreamStatus>().ok().map(Into::into);
        let wanted = ListStreamsRequest { status, query: Some(query.into()), ..request() };
        let streams = service.list(wanted).await.unwrap().streams;
        let mut hosts: Vec<_> = streams.into_iter().filter_map(|stream| stream.created_by).collect();
        hosts.sort();
        hosts.concat()
    };
    for (status, query, expected) in [
        ("", "", "abc"),
        ("pending", "", "a"),
        ("live", "", "b"),
        ("ended", "", "c"),
        ("", "0% OF_", "abc"),
        ("", "%%", ""),
        ("", "of__", ""),
        ("", "of_a\\", "a"),
        ("", "topic-B", "b"),
        ("", "opic-b evening", ""),
        ("", " 10 ", "abc"),
        ("", "00", ""),
        ("", "1%", ""),
        ("", "1_", ""),
        ("", "gr", ""),
        ("", "\\", ""),
        ("live", "1", "b"),
        ("ended", "1", "c"),
        ("", "  GRÜSSE", ""),
        ("", "grüße aus", "c"),
        ("live", "grüße", ""),
    ] {
        assert_eq!(hosts(status, query).await, expected, "{status} {query}");
    }
}

#[testkit::test]
async fn invalid_fields_are_refused_by_name(world: World) {
    let service = world.service().await;
    for (wrong, field) in [
        (ListStreamsRequest { status: Some(99), ..request() }, "status"),
        (ListStreamsRequest { query: Some("q".repeat(101)), ..request() }, "q"),
        (ListStreamsRequest { query: Some("\0\u{200b}".into()), ..request() }, "q"),
        (ListStreamsRequest { limit: Some(101), ..request() }, "limit"),
        (ListStreamsRequest { cursor: Some("here".into()), ..request() }, "cursor"),
    ] {
        assert_eq!(refused(service.list(wrong).await), (Reason::InvalidRequest, field.to_owned()));
    }
    let nameless = ListStreamsRequest { caller: Some(person("")), ..request() };
    assert_eq!(refused(service.list(nameless).await).0, Reason::Unauthenticated);
}

/// Inserts a room for each kind of access; its title names the kind.
pub async fn rooms_of_groups(world: &World) {
    for (host, access, metadata) in [
        ("public", "public", "{}"),
        ("array", "group", r#"{"groups": ["staff", 7]}"#),
        ("key", "group", r#"{"groups": {"staff": true}}"#),
        ("text", "group", r#"{"groups": "staff"}"#),
        ("number", "group", r#"{"groups": 7}"#),
        ("none", "group", "{}"),
    ] {
        let room = live_room(&world.pool, host).await;
        let session = live_session(&world.pool, &room, LiveStatus::Live).await;
        sqlx::query!(
            "with room as (update live_rooms set metadata = $3::text::jsonb where id = $4)
             update live_room_sessions set access_level = $2, session_title = created_by where id = $1",
            session,
            access,
            metadata,
            room.id
        )
        .execute(&world.pool)
        .await
        .unwrap();
    }
}

#[testkit::test]
async fn streams_of_groups_are_invisible_to_strangers(world: World) {
    rooms_of_groups(&world).await;
    sync::drain(&world.pool).await.unwrap();
    let service = world.service().await;
    let all = ["array", "key", "none", "number", "public", "text"];
    for (caller, expected) in [
        (None, &["public"][..]),
        (Some(person("eve")), &["public"]),
        (Some(member("eve", "other")), &["public"]),
        (Some(member("eve", "7")), &["public"]),
        (Some(member("eve", "st\0aff")), &["public"]),
        (Some(member("eve", "staff")), &["array", "key", "public", "text"]),
        (Some(person("none")), &["none", "public"]),
        (Some(admin()), &all),
    ] {
        assert_eq!(service.titles(caller.clone()).await, expected, "{caller:?}");
        // The feed sends each caller the rows that the listing shows them.
        let mut events = service.watch(caller.clone(), Some(0)).await;
        let mut sent = Vec::new();
        while let Some(proto::sync::v1::stream_event::Event::Stream(stream)) =
            events.message().await.unwrap().unwrap().event
        {
            assert_eq!(stream.groups, Vec::<String>::new(), "groups are only for services");
            sent.push(stream.title);
        }
        sent.sort();
        assert_eq!(sent, expected, "{caller:?}");
    }
}

/// Counts the rows and index entries of the listing that this transaction has read.
async fn scanned(tx: &mut sqlx::PgTransaction<'_>) -> i64 {
    sqlx::query_scalar!(
        r#"select (pg_stat_get_xact_tuples_fetched(c) + pg_stat_get_xact_tuples_returned(c)
                   + (select sum(pg_stat_get_xact_tuples_returned(indexrelid)) from pg_index where indrelid = c))::bigint as "n!"
           from (select 'community_live_streams'::regclass::oid as c) listing"#
    )
    .fetch_one(&mut **tx)
    .await
    .unwrap()
}

#[testkit::test]
async fn page_of_a_stranger_reads_no_rows_of_groups(world: World) {
    live_rooms(&world.pool, 20_000).await;
    world
        .execute(
            "update live_room_sessions set access_level = 'group' where created_by not like 'host-1999%'",
        )
        .await;
    sync::drain(&world.pool).await.unwrap();
    world.execute("analyze").await;
    for (caller, status, rows) in [
        (None, "", 11),
        (None, "live", 11),
        (Some(person("eve")), "", 11),
        (Some(person("host-5")), "live", 12),
    ] {
        let pool = &world.pool;
        let viewer = sync::viewer::Viewer::of(caller.clone()).unwrap();
        let status = Some(StreamStatus::Live).filter(|_| !status.is_empty());
        let filter = sync::store::Filter { status, ..sync::store::Filter::default() };
        let mut tx = chassis::db::begin(pool).await.unwrap();
        sqlx::raw_sql("set local plan_cache_mode = force_generic_plan").execute(&mut *tx).await.unwrap();
        let before = scanned(&mut tx).await;
        let found = sync::store::list_streams(&mut *tx, viewer.reader(), &filter, 100).await.unwrap();
        let read = usize::try_from(scanned(&mut tx).await - before).unwrap();
        assert_eq!(found.len(), rows, "{caller:?}");
        assert!((rows..=40).contains(&read), "{read} rows were read for {caller:?}");
    }
}

#[testkit::test]
async fn rows_with_infinite_times_or_large_texts_are_readable(world: World) {
    live_rooms(&world.pool, 60).await;
    world
        .execute(
            "update live_rooms set description = repeat('ß', 5000), topic_keys = array[repeat('x', 9000)]",
        )
        .await;
    world.execute("update live_room_sessions set started_at = 'infinity' where created_by = 'host-7'").await;
    sync::drain(&world.pool).await.unwrap();
    world
        .execute("update community_live_streams set metadata = jsonb_build_object('a', repeat('x', 100000))")
        .await;
    let service = world.service().await;
    let (mut cursor, mut rows, mut pages) = (None, 0, 0);
    loop {
        let page = service.list(ListStreamsRequest { limit: Some(100), cursor, ..request() }).await.unwrap();
        rows += page.streams.len();
        pages += 1;
        assert!(page.streams.iter().all(|stream| stream.metadata_json == "{}"));
        if page.next_cursor.is_none() {
            break;
        }
        cursor = page.next_cursor;
    }
    assert!(rows == 60 && pages > 1, "{rows} rows in {pages} pages: each fits into a message");
}
