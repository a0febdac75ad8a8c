//! A live session or a nest that stays empty ends by itself, in two steps, because LiveKit can lack somebody who is
//! there (livekit.md §3): the end is announced, and only a later look that finds nobody, after the announced time and
//! with nothing heard meanwhile, carries it out. Whoever asks for a token, is seen or heard of takes the announcement
//! back.

use chassis::db::retried;
use domain::{EndReason, LiveStatus, NestId, OwnerKind};

use crate::{
    Rooms,
    error::Error,
    live::count_ended,
    store::{
        Record, auto_end,
        live::{attendance, seats, sessions},
        nests,
    },
};

/// Ends that one pass announces.
const ANNOUNCED: i64 = 1_000;

impl Rooms {
    /// Announces the end of live sessions and nests that nobody is in.
    pub async fn announce_ends(&self) -> Result<(), Error> {
        let announced = auto_end::set_closing(&self.pool, ANNOUNCED).await?;
        if announced > 0 {
            tracing::info!(rooms = announced, "rooms are empty; they end unless somebody comes");
        }
        Ok(())
    }

    /// After a look into a room that succeeded; `inside_empty`: LiveKit lists no person there, in whatever state.
    /// Ends the owner if its end was announced for a time before the look, and LiveKit's count agrees. True: it has
    /// ended.
    pub async fn finish_auto_end(&self, record: &Record, inside_empty: bool) -> Result<bool, Error> {
        let Some(closing_at) = record.closing_at else { return Ok(false) };
        if inside_empty && closing_at > record.now {
            return Ok(false);
        }
        if inside_empty && self.counts_nobody(record).await? && retried(|| self.auto_end(record)).await? {
            tracing::info!(room.owner = %record.owner_id, "what stayed empty has ended");
            count_auto_ended(record.kind);
            self.close(record.id).await?;
            return Ok(true);
        }
        auto_end::set_open(&self.pool, record.id, closing_at).await?;
        Ok(false)
    }

    /// What LiveKit counts. A list without the room may be wrong; then those who are inside it tell.
    async fn counts_nobody(&self, record: &Record) -> Result<bool, Error> {
        let counted = match self.livekit.list_rooms(vec![record.room_name.clone()]).await {
            Ok(rooms) => match rooms.iter().find(|room| room.name == record.room_name) {
                Some(room) => Ok(room.num_participants == 0),
                None => {
                    self.livekit.list_participants(&record.room_name).await.map(|inside| inside.is_empty())
                }
            },
            Err(error) => Err(error),
        };
        if counted.is_err() {
            self.abandon_auto_end(record).await?;
        }
        Ok(counted?)
    }

    /// After a look that failed, or when somebody asks for the room: an announced end is taken back.
    pub async fn abandon_auto_end(&self, record: &Record) -> Result<(), Error> {
        if let Some(closing_at) = record.closing_at {
            auto_end::set_open(&self.pool, record.id, closing_at).await?;
        }
        Ok(())
    }

    /// What the host's end does, if nobody came since the announcement.
    async fn auto_end(&self, record: &Record) -> Result<bool, Error> {
        match record.kind {
            OwnerKind::Session => Ok(false), // ends with its window
            OwnerKind::LiveSession => self.auto_end_session(record).await,
            OwnerKind::Nest => self.auto_end_nest(record).await,
        }
    }

    async fn auto_end_session(&self, record: &Record) -> Result<bool, Error> {
        let mut transaction = chassis::db::begin(&self.pool).await?;
        let Some(live) = attendance::lock_room(&mut *transaction, record.id).await? else { return Ok(false) };
        let open = seats::lock_session(&mut *transaction, live.session).await?;
        if !open || !auto_end::lock_closing(&mut *transaction, record).await? {
            return Ok(false);
        }
        let reason =
            sessions::set_session_over(&mut *transaction, live.session, LiveStatus::Ended, EndReason::Empty)
                .await?;
        sessions::refresh_projection(&mut *transaction, live.room).await?;
        transaction.commit().await?;
        reason.into_iter().for_each(count_ended);
        Ok(true)
    }

    async fn auto_end_nest(&self, record: &Record) -> Result<bool, Error> {
        let nest = record.owner_id;
        let mut transaction = chassis::db::begin(&self.pool).await?;
        let open = nests::lock_nest(&mut *transaction, NestId(nest)).await?.is_some();
        if !open || !auto_end::lock_closing(&mut *transaction, record).await? {
            return Ok(false);
        }
        nests::set_ended(&mut *transaction, NestId(nest)).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

fn count_auto_ended(kind: OwnerKind) {
    match kind {
        OwnerKind::Session => {}
        OwnerKind::LiveSession => {
            metrics::counter!("greenroom_live_sessions_auto_ended_total").increment(1);
        }
        OwnerKind::Nest => metrics::counter!("greenroom_nests_auto_ended_total").increment(1),
    }
}
