//! Nests and their people, written with SQL as if room-lifecycle had.

use domain::{NestId, Owner, RoomStatus};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Room, record};

/// A nest that was made.
#[derive(Clone, Debug)]
pub struct Nest {
    pub id: Uuid,
    /// The creator's public key, hex.
    pub host: String,
}

/// A public key for tests: no key that anybody has, 64 hex digits all the same.
#[must_use]
pub fn key(letter: char) -> String {
    letter.to_string().repeat(64)
}

/// The open nest of a host who is admin and speaker, without a room.
pub async fn nest(pool: &PgPool, host: &str) -> Nest {
    let id = sqlx::query_scalar!("insert into nests (created_by) values ($1) returning id", host)
        .fetch_one(pool)
        .await
        .expect("a nest");
    let nest = Nest { id, host: host.to_owned() };
    participant(pool, &nest, host, true, true).await;
    nest
}

/// Somebody in the nest.
pub async fn participant(pool: &PgPool, nest: &Nest, pubkey: &str, is_admin: bool, is_speaker: bool) {
    sqlx::query!(
        "insert into nest_participants (nest_id, pubkey, is_admin, is_speaker) values ($1, $2, $3, $4)",
        nest.id,
        pubkey,
        is_admin,
        is_speaker
    )
    .execute(pool)
    .await
    .expect("a participant");
}

/// The nest's room, generation 1, seen on LiveKit just now (in the record: LiveKit itself is not told).
pub async fn active_room(pool: &PgPool, nest: &Nest) -> Room {
    record(pool, Owner::Nest(NestId(nest.id)), RoomStatus::Active).await
}
