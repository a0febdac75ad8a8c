//! The text search of the listing: complete with few and with many matches, and by index.

use domain::{StreamStatus, page::Cursor};
use proto::types::v1::Caller;
use sqlx::PgPool;
use sync::{
    store::{Filter, Search, list_streams},
    viewer::Viewer,
};
use uuid::Uuid;

use crate::harness::*;

/// Reads all pages of a search, or of the whole listing.
async fn all(
    pool: &PgPool,
    caller: &Caller,
    search: Option<Search>,
    status: Option<StreamStatus>,
) -> Vec<Uuid> {
    let viewer = Viewer::of(Some(caller.clone())).unwrap();
    let (mut found, mut filter) = (Vec::new(), Filter { status, search, after: None });
    loop {
        let page = list_streams(pool, viewer.reader(), &filter, 250).await.unwrap();
        let Some(last) = page.last() else { return found };
        filter.after = Some(Cursor { at: last.scheduled_for, id: last.id });
        found.extend(page.iter().map(|row| row.id));
    }
}

/// More matches than are sorted, and fewer: both plans find the rows that the viewer may read, in the same order.
#[testkit::test]
async fn search_finds_the_same_rows_however_many_match(world: World) {
    live_rooms(&world.pool, 1_200).await;
    world
        .execute(
            "update live_rooms set metadata = '{\"groups\": [\"staff\"]}' where host_user_id like 'host-%7'",
        )
        .await;
    world.execute("update live_room_sessions set access_level = 'group' where created_by like 'host-%7' or created_by like 'host-%8'").await;
    world.execute("update live_room_sessions set starts_at = now() - interval '1 hour' where created_by like 'host-%5'").await;
    sync::drain(&world.pool).await.unwrap();
    for few in [false, true] {
        if few {
            world.execute("update live_rooms set title = 'Another', description = '' where host_user_id like 'host-1%'").await;
            sync::drain(&world.pool).await.unwrap();
        }
        let matching = all(&world.pool, &admin(), Search::of("room "), None).await.len();
        assert_eq!(matching <= 1_000, few, "the matches are on the wrong side of the limit: {matching}");
        for (caller, expected) in
            [(person("eve"), 960), (person("host-8"), 961), (member("eve", "staff"), 1_080), (admin(), 1_200)]
        {
            for status in [None, Some(StreamStatus::Live)] {
                let rows = all(&world.pool, &caller, None, status).await;
                assert_eq!(rows.len(), expected, "{caller:?}");
                let titled: Vec<Uuid> = sqlx::query_scalar!(
                    "select id from community_live_streams where id = any($1) and title like 'Room%'
                     order by array_position($1, id)",
                    &rows
                )
                .fetch_all(&world.pool)
                .await
                .unwrap();
                for query in ["ROOM ", "ro"] {
                    let found = all(&world.pool, &caller, Search::of(query), status).await;
                    assert_eq!(found, titled, "{query} {caller:?} {status:?}");
                }
            }
        }
    }
}

/// Counts the rows of the table that this transaction has read.
async fn read(tx: &mut sqlx::PgTransaction<'_>) -> i64 {
    sqlx::query_scalar!(
        r#"select pg_stat_get_xact_tuples_fetched(c) + pg_stat_get_xact_tuples_returned(c) as "n!"
           from (select 'community_live_streams'::regclass::oid as c) listing"#
    )
    .fetch_one(&mut **tx)
    .await
    .unwrap()
}

#[testkit::test]
async fn search_reads_few_rows_of_many(world: World) {
    live_rooms(&world.pool, 20_000).await;
    world.execute("update live_rooms set title = 'Zebra crossing' where host_user_id = 'host-77'").await;
    sync::drain(&world.pool).await.unwrap();
    world.execute("analyze").await;
    let viewer = Viewer::of(Some(person("eve"))).unwrap();
    for (query, rows, most) in [
        ("crossing", 1, 10),
        ("zebra", 1, 10),
        ("no such room", 0, 200),
        ("Z", 1, 10),
        ("ze", 1, 10),
        ("q", 0, 10),
        ("room", 20, 1_200),
        ("ro", 20, 1_200),
    ] {
        for status in [None, Some(StreamStatus::Live)] {
            let filter = Filter { status, search: Search::of(query), after: None };
            let mut tx = chassis::db::begin(&world.pool).await.unwrap();
            sqlx::raw_sql("set local plan_cache_mode = force_generic_plan; set local random_page_cost = 1.1")
                .execute(&mut *tx)
                .await
                .unwrap();
            let before = read(&mut tx).await;
            let found = list_streams(&mut *tx, viewer.reader(), &filter, 20).await.unwrap();
            let read = read(&mut tx).await - before;
            assert_eq!(found.len(), rows, "{query}");
            assert!(read <= most, "{query} {status:?}: {read} rows were read");
        }
    }
}

/// The search text changes with its row, whichever writer changed the row.
#[testkit::test]
async fn search_text_follows_every_writer(world: World) {
    live_rooms(&world.pool, 1).await;
    sync::drain(&world.pool).await.unwrap();
    let text = async || {
        sqlx::query_scalar!("select search_text from community_live_streams")
            .fetch_one(&world.pool)
            .await
            .unwrap()
    };
    assert_eq!(text().await, "room 1\n\n");
    world.execute("update community_live_streams set title = 'By Hand', tags = '{One,NULL,Two}'").await;
    assert_eq!(text().await, "by hand\n\none two");
    sync::drain(&world.pool).await.unwrap();
    assert_eq!(text().await, "room 1\n\n", "sync restored the title");
}
