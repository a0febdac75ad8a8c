//! Nests and their participants. SQL writes the rows that room-lifecycle would write.

use domain::{NestId, Owner, RoomStatus};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Room, record};

/// A nest of a test.
#[derive(Clone, Debug)]
pub struct Nest {
    pub id: Uuid,
    /// The creator's public key, hex.
    pub host: String,
}

/// A public key for tests: 64 equal hex digits, which are not the key of any real user.
#[must_use]
pub fn key(letter: char) -> String {
    letter.to_string().repeat(64)
}

/// Writes the open nest of a host who is admin and speaker, without a room.
pub async fn nest(pool: &PgPool, host: &str) -> Nest {
    let id = sqlx::query_scalar!("insert into nests (created_by) values ($1) returning id", host)
        .fetch_one(pool)
        .await
        .expect("a nest");
    let nest = Nest { id, host: host.to_owned() };
    participant(pool, &nest, host, true, true).await;
    nest
}

/// Writes a participant of the nest.
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

/// Writes the nest's room: generation 1, observed on LiveKit just now. Only the record is written, no room is created.
pub async fn active_room(pool: &PgPool, nest: &Nest) -> Room {
    record(pool, Owner::Nest(NestId(nest.id)), RoomStatus::Active).await
}
