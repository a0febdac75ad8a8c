//! A client that changes live rooms, one after the other, and measures how long each change takes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::load::Load;

const ROOMS: i64 = 1_000;
const PAUSE: Duration = Duration::from_millis(2);

pub struct Writer {
    stop: CancellationToken,
    writing: JoinHandle<Result<Load>>,
}

impl Writer {
    pub async fn start(pool: &PgPool) -> Result<Self> {
        // Spread over the whole range of keys, as the pages of the comparison are.
        let rooms = sqlx::query_scalar!(
            "select r.id from live_rooms r
             where r.room_slug in (select 'live-' || i * (select count(*) from live_rooms) / $1::bigint
                                   from generate_series(1, $1::bigint) i)",
            ROOMS
        );
        let rooms = rooms.fetch_all(pool).await?;
        ensure!(!rooms.is_empty(), "no live room to write");
        let stop = CancellationToken::new();
        let writing = tokio::spawn(write(pool.clone(), rooms, stop.clone()));
        Ok(Self { stop, writing })
    }

    pub async fn stop(self) -> Result<Load> {
        self.stop.cancel();
        self.writing.await?
    }
}

async fn write(pool: PgPool, rooms: Vec<Uuid>, stop: CancellationToken) -> Result<Load> {
    let mut connection = pool.acquire().await?;
    let (mut waits, started) = (Vec::new(), Instant::now());
    for (number, room) in rooms.into_iter().cycle().enumerate() {
        if stop.is_cancelled() {
            break;
        }
        let sent = Instant::now();
        let write = sqlx::query!(
            "update live_rooms set description = $2, updated_at = app_now() where id = $1",
            room,
            format!("Written {number} times")
        );
        write.execute(&mut *connection).await?;
        waits.push(sent.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(Load::of(waits, 0, started.elapsed()))
}
