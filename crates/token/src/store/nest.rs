//! Reads what a user's or a guest's join of a nest depends on.

use chassis::db::Statement;
use domain::{NestId, RoomId, RoomStatus};
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::{Record, StoredProfile};

/// A nest, the caller's roles in it and its room, as one snapshot.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one row")]
pub struct NestJoin {
    /// The database's clock, and the same without the offset of drills, as for bookings.
    pub now: OffsetDateTime,
    pub signed_at: OffsetDateTime,
    pub nest_id: NestId,
    pub open: bool,
    pub guests_allowed: bool,
    pub is_participant: bool,
    pub is_admin: bool,
    pub is_speaker: bool,
    pub room_id: Option<RoomId>,
    pub room_status: Option<RoomStatus>,
    pub room_name: Option<String>,
    pub generation: Option<i32>,
    pub confirmed_at: Option<OffsetDateTime>,
    pub closing_at: Option<OffsetDateTime>,
}

impl NestJoin {
    pub fn record(&self) -> Record<'_> {
        Record {
            id: self.room_id,
            status: self.room_status,
            name: self.room_name.as_deref(),
            generation: self.generation,
            confirmed_at: self.confirmed_at,
            closing_at: self.closing_at,
        }
    }

    /// Only the key of a participant is known, and nothing about a guest.
    pub fn profile(&self) -> Option<StoredProfile<'_>> {
        self.is_participant.then(StoredProfile::default)
    }
}

/// One round trip. Each table is read by a unique key. A guest has no `pubkey`.
pub async fn find_nest_join(
    executor: impl PgExecutor<'_>,
    nest_id: NestId,
    pubkey: Option<&str>,
) -> Result<Option<NestJoin>, sqlx::Error> {
    sqlx::query_as!(
        NestJoin,
        r#"
        select app_now() as "now!", clock_timestamp() as "signed_at!",
               n.id as nest_id, n.status = 'open' as "open!", n.guests_allowed,
               p.pubkey is not null as "is_participant!",
               coalesce(p.is_admin, false) as "is_admin!", coalesce(p.is_speaker, false) as "is_speaker!",
               r.id as "room_id?: RoomId", r.status as "room_status?: RoomStatus", r.room_name as "room_name?",
               r.generation as "generation?", r.confirmed_at as "confirmed_at?", r.closing_at as "closing_at?"
        from nests n
        left join nest_participants p on p.nest_id = n.id and p.pubkey = $2
        left join livekit_rooms r on r.owner = n.id
        where n.id = $1
        "#,
        nest_id.0,
        pubkey
    )
    .fetch_optional(executor)
    .statement("SELECT find_nest_join")
    .await
}
