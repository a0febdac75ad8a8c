//! Notifications: two workers deliver 1,000 due ones to a local receiver, and each is marked exactly once. Measured
//! without and with a history of delivered ones.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use axum::{Router, extract::State, http::HeaderMap, routing::post};
use booking::{NotificationSettings, Outbox, Webhook};
use parking_lot::Mutex;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    fixture::Fixture,
    table::{Table, median},
};

const DUE: i64 = 1000;
/// Passes with nothing due. Their median counts.
const IDLE: usize = 50;

type Ids = Arc<Mutex<Vec<String>>>;

pub async fn measure(fixture: &Fixture) -> Result<String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (url, ids) = receiver().await?;
    let secret = format!("whsec_{}", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, [7; 32]));
    let webhook = Webhook { url: url.parse()?, secrets: vec![secret.into()], allow_private: true };
    let notifications = NotificationSettings {
        webhook: Some(webhook),
        reminders: vec![Duration::from_hours(24), Duration::from_mins(15)],
        ..NotificationSettings::default()
    };
    let pool = &fixture.database.pool;
    let title = format!("{DUE} due webhooks, two workers in one thread, a receiver in the same");
    let columns =
        ["delivered before", "s until all are marked (< 5)", "per second", "a pass with nothing due, ms"];
    let mut table = Table::new(&title, &columns);
    for history in [0, fixture.settings.history] {
        eprintln!("deliveries with {history} delivered ones");
        seed_delivered(pool, history).await?;
        let mut seconds = Vec::new();
        for _ in 0..fixture.settings.rounds {
            seconds.push(drained(pool, &notifications, &ids).await?);
        }
        let seconds = median(seconds);
        #[expect(clippy::cast_precision_loss, reason = "a count of a benchmark")]
        let rate = DUE as f64 / seconds;
        table.row(&[
            history.to_string(),
            format!("**{seconds:.2}**"),
            format!("{rate:.0}"),
            format!("{:.2}", idle(pool, &notifications).await?),
        ]);
    }
    Ok(format!("## Notifications\n\n{}", table.finish()))
}

/// Returns the seconds from the first claim until the last notification is marked.
async fn drained(pool: &PgPool, notifications: &NotificationSettings, ids: &Ids) -> Result<f64> {
    ids.lock().clear();
    sqlx::query!(
        "insert into notifications (user_id, kind, dedupe_key)
         select 'user ' || i, 'booking_created', gen_random_uuid() from generate_series(1, $1::bigint) i",
        DUE
    )
    .execute(pool)
    .await?;
    let running = CancellationToken::new();
    let (one, other) =
        (Outbox::new(notifications, pool, &running)?, Outbox::new(notifications, pool, &running)?);
    let started = Instant::now();
    while ids.lock().len() < usize::try_from(DUE)? {
        tokio::try_join!(one.pass(), other.pass())?;
    }
    let took = started.elapsed().as_secs_f64();
    let waiting = sqlx::query_scalar!(
        r#"select count(*) as "n!" from notification_deliveries
           where delivered_at is null and dead_at is null and dropped_at is null"#
    );
    ensure!(waiting.fetch_one(pool).await? == 0, "some are not marked");
    let ids = ids.lock();
    let distinct: HashSet<&String> = ids.iter().collect();
    ensure!(distinct.len() == ids.len(), "{} repeats", ids.len() - distinct.len());
    Ok(took)
}

/// Returns the milliseconds of a pass that finds nothing due.
async fn idle(pool: &PgPool, notifications: &NotificationSettings) -> Result<f64> {
    let outbox = Outbox::new(notifications, pool, &CancellationToken::new())?;
    let mut passes = Vec::new();
    for _ in 0..IDLE {
        let started = Instant::now();
        ensure!(outbox.pass().await? == 0, "something was due");
        passes.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(passes))
}

async fn seed_delivered(pool: &PgPool, rows: i64) -> Result<()> {
    sqlx::query!(
        "with delivered as (
             insert into notifications (user_id, kind, dedupe_key, expanded_at)
             select 'user ' || i, 'booking_created', gen_random_uuid(), app_now()
             from generate_series(1, $1::bigint) i
             returning id)
         insert into notification_deliveries (notification_id, channel, stream_key, delivered_at)
         select id, 'webhook', id, app_now() from delivered",
        rows
    )
    .execute(pool)
    .await?;
    sqlx::raw_sql("vacuum analyze").execute(pool).await?;
    Ok(())
}

/// Starts a receiver that accepts every webhook and keeps the ids.
async fn receiver() -> Result<(String, Ids)> {
    let ids = Ids::default();
    let router = Router::new().route("/", post(receive)).with_state(Arc::clone(&ids));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((url, ids))
}

async fn receive(State(ids): State<Ids>, headers: HeaderMap) {
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    ids.lock().push(id.to_owned());
}
