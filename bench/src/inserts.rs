//! The baseline of bookings: three statements with a commit each, and one call to LiveKit between the second and the
//! third. They write only the rows of a booking and its room. There are no checks, no locks and no answers.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use crate::{
    bookings::CONNECTIONS,
    fixture::Fixture,
    load::{Connection, Prepared},
    process::Process,
};

const SECONDS: &str = "BENCH_SECONDS";
const LIVEKIT: &str = "BENCH_PEER";
const BEARER: &str = "BENCH_BEARER";

/// Runs the child. Returns its bookings per second.
pub async fn run(fixture: &Fixture) -> Result<f64> {
    let claims = json!({
        "iss": fixture.shared.livekit_key, "exp": 4_102_444_800_u64, "video": { "roomCreate": true },
    });
    let key = EncodingKey::from_secret(fixture.shared.livekit_secret.as_bytes());
    let env = [
        ("DATABASE_URL".to_owned(), fixture.shared.database_url.clone()),
        (SECONDS.to_owned(), fixture.settings.time.as_secs().to_string()),
        (LIVEKIT.to_owned(), fixture.shared.livekit.to_string()),
        (BEARER.to_owned(), jsonwebtoken::encode(&Header::default(), &claims, &key)?),
    ];
    let mut child = Process::start("inserts", &std::env::current_exe()?, &["child", "inserts"], &env)?;
    let mut output = String::new();
    child.stdout().context("no stdout")?.read_to_string(&mut output).await?;
    output.trim().parse().with_context(|| format!("the baseline printed {output:?}"))
}

/// The child, which prints its bookings per second.
pub async fn child() -> Result<()> {
    let setting = |name: &'static str| std::env::var(name).with_context(|| format!("{name} is missing"));
    let pool = crate::database::service_pool(&setting("DATABASE_URL")?, None)?;
    let address: SocketAddr = setting(LIVEKIT)?.parse()?;
    let time = Duration::from_secs(setting(SECONDS)?.parse()?);
    let (bearer, created) = (setting(BEARER)?, Arc::new(AtomicU64::new(0)));
    let started = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (pool, bearer, created) = (pool.clone(), bearer.clone(), Arc::clone(&created));
        workers.spawn(async move {
            let mut livekit = Connection::open(address).await?;
            while started.elapsed() < time {
                one(&pool, &mut livekit, &bearer).await?;
                created.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
    let created = created.load(Ordering::Relaxed) as f64;
    println!("{}", created / started.elapsed().as_secs_f64());
    Ok(())
}

async fn one(pool: &PgPool, livekit: &mut Connection, bearer: &str) -> Result<()> {
    let id = Uuid::new_v4();
    insert_booking(pool, id).await?;
    let name = insert_room(pool, id).await?;
    let (status, answer) = livekit
        .ask(&Prepared::post(
            "/twirp/livekit.RoomService/CreateRoom".to_owned(),
            Some(bearer.to_owned()),
            json!({ "name": name, "metadata": "{}", "empty_timeout": 180_000 }).to_string(),
        ))
        .await?;
    ensure!(status == StatusCode::OK, "livekit-dev answered {status}");
    let answer: Value = serde_json::from_slice(&answer)?;
    set_active(pool, id, answer["sid"].as_str().context("a room without a SID")?).await
}

async fn insert_booking(pool: &PgPool, id: Uuid) -> Result<()> {
    sqlx::query!(
        "with host as (
             insert into app_users (id, display_name, email, avatar_url)
             values ('host-' || $1::uuid, 'Ana Ünal', $1 || '@example.org', 'https://example.org/' || $1 || '.png')),
         session as (
             insert into sessions (id, host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url)
             values ($1, 'host-' || $1, 'guest-' || $1, 'host-' || $1, 'A lesson', app_now() + interval '2 days', 60,
                     'https://app.example.org/meeting/' || $1)
             returning *),
         parties as (
             insert into session_participants (session_id, user_id, role, slot)
             select id, party.user_id, party.role, tstzrange(scheduled_at, scheduled_at + interval '60 min', '[)')
             from session cross join lateral (values (host_id, 'host'), (guest_id, 'guest')) party (user_id, role))
         insert into notifications (user_id, kind, session_id, payload, dedupe_key)
         select user_id, 'booking_created', id,
                jsonb_build_object('bookingId', id, 'title', title, 'durationMinutes', duration_minutes,
                                   'scheduledAt', scheduled_at, 'meetingUrl', meeting_url),
                'booking_created:' || id || ':' || user_id
         from session cross join lateral unnest(array[host_id, guest_id]) party (user_id)",
        id
    )
    .execute(pool)
    .await?;
    Ok(())
}

async fn insert_room(pool: &PgPool, session: Uuid) -> Result<String> {
    Ok(sqlx::query_scalar!(
        r#"with room as (
               insert into livekit_rooms (session_id, room_name, max_participants)
               values ($1, 'session-' || $1::uuid, 7)
               returning id, room_name),
           participants as (
               insert into livekit_participants (room_id, user_id, role)
               select id, party.user_id, party.role
               from room cross join lateral (values ('host-' || $1, 'host'), ('guest-' || $1, 'guest')) party (user_id, role))
           select room_name from room"#,
        session
    )
    .fetch_one(pool)
    .await?)
}

async fn set_active(pool: &PgPool, session: Uuid, sid: &str) -> Result<()> {
    sqlx::query!(
        "update livekit_rooms set status = 'active', room_sid = $2, confirmed_at = app_now() where session_id = $1",
        session,
        sid
    )
    .execute(pool)
    .await?;
    Ok(())
}
