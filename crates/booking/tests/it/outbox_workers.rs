//! Several workers on one outbox, and a worker that is killed after sending.

use std::collections::HashSet;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::eventually;

use crate::harness::outbox::*;

async fn many(post: &Post, count: i32) {
    sqlx::query!(
        "with made as (
             insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url)
             select 'h' || i, 'g' || i, 'h', 'Lesson', app_now() + interval '9 days', 45, 'https://a.example/m'
             from generate_series(1, $1::int) i returning id)
         insert into notifications (user_id, kind, session_id, dedupe_key)
         select 'h', 'booking_created', id, id from made",
        count
    )
    .execute(&post.pool)
    .await
    .unwrap();
}

#[testkit::test]
async fn two_workers_deliver_each_notification_once(ByWebhook(post): ByWebhook) {
    many(&post, 300).await;
    let (one, other) = (post.outbox(), post.outbox());
    let (mut tried, mut before) = (0, None);
    while before != Some(tried) {
        before = Some(tried); // a pass has a time limit: more may be due
        let (by_one, by_other) = tokio::try_join!(one.pass(), other.pass()).unwrap();
        tried += by_one + by_other;
    }
    assert_eq!(tried, 300);
    let hits = post.hook.hits();
    let ids: HashSet<_> = hits.iter().map(|hit| hit.header("webhook-id").to_owned()).collect();
    assert_eq!((hits.len(), ids.len()), (300, 300));
    assert!(post.states().await.iter().all(|state| state == "delivered"));
}

#[testkit::test]
async fn delivery_of_a_killed_worker_is_repeated_with_the_same_id(ByWebhook(post): ByWebhook) {
    many(&post, 1).await;
    post.hook.replies(|_| Reply::Hang);
    let outbox = post.outbox();
    let killed = tokio::spawn(async move { outbox.pass().await });
    eventually("the webhook is sent", async || (post.hook.hits().len() == 1).then_some(())).await;
    killed.abort();
    assert!(killed.await.unwrap_err().is_cancelled());
    post.hook.replies(|_| Reply::Status(200));
    assert_eq!(post.pass().await, 0, "the killed worker still has the lease");
    sqlx::query!("update notification_deliveries set leased_until = app_now()")
        .execute(&post.pool)
        .await
        .unwrap();
    assert_eq!(post.pass().await, 1, "deliveries of this pass");
    let hits = post.hook.hits();
    assert_eq!(hits[0].header("webhook-id"), hits[1].header("webhook-id"));
    assert_eq!(post.states().await, ["delivered"]);
}

#[testkit::test]
async fn worker_writes_nothing_after_it_lost_its_lease(ByWebhook(post): ByWebhook) {
    many(&post, 1).await;
    post.hook.replies(|_| Reply::Hang);
    let outbox = post.outbox();
    let slow = tokio::spawn(async move { outbox.pass().await });
    eventually("the webhook is sent", async || (post.hook.hits().len() == 1).then_some(())).await;
    sqlx::query!(
        "update notification_deliveries set lease_id = gen_random_uuid(), last_error = 'another has it'"
    )
    .execute(&post.pool)
    .await
    .unwrap();
    slow.await.unwrap().unwrap();
    assert_eq!(post.states().await, ["pending another has it"]);
}

/// Returns the rows that were read from `notification_deliveries` and `sessions`, by the statistics of the tables.
pub async fn rows_read(post: &Post) -> i64 {
    sqlx::query_scalar!("select pg_stat_force_next_flush()::text as flushed")
        .fetch_one(&post.pool)
        .await
        .unwrap();
    sqlx::query_scalar!(
        r#"select sum(seq_tup_read + idx_tup_fetch)::int8 as "read!" from pg_stat_user_tables
           where relname in ('notification_deliveries', 'sessions')"#
    )
    .fetch_one(&post.pool)
    .await
    .unwrap()
}

#[testkit::test]
async fn pass_reads_no_delivered_rows_and_no_far_bookings(pool: PgPoolOptions, connect: PgConnectOptions) {
    let post = Post::by_webhook(pool.max_connections(1), connect).await;
    many(&post, 20_000).await;
    sqlx::query!(
        "with expanded as (update notifications set expanded_at = app_now() returning id)
         insert into notification_deliveries (notification_id, channel, stream_key, delivered_at)
         select id, 'webhook', id, app_now() from expanded"
    )
    .execute(&post.pool)
    .await
    .unwrap();
    for table in
        ["vacuum analyze notification_deliveries", "vacuum analyze notifications", "vacuum analyze sessions"]
    {
        sqlx::raw_sql(table).execute(&post.pool).await.unwrap();
    }
    let before = rows_read(&post).await;
    let booking = post.booking("Lesson", 5000).await;
    post.happened("booking_created", booking, "ada").await;
    for _ in 0..10 {
        post.pass().await; // often enough for a generic plan
    }
    let read = rows_read(&post).await - before;
    assert!(read < 500, "{read} rows were read");
    assert_eq!(post.hook.hits().len(), 1, "calls of the webhook");
}
