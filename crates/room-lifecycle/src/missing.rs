//! A room that LiveKit's list lacks: lost, or alive where nobody rules it (docs/decisions/0020).
//!
//! While LiveKit runs on and its Redis has lost the data, lists are empty, RemoveParticipant and DeleteRoom answer 404,
//! and the participants talk on. CreateRoom with the old name tells: another SID, the room was lost; the SID of the
//! record, it lives (it stays unlisted). One list that lacks something never ends a meeting: two do, 5 s apart.

use domain::OwnerKind;
use livekit_protocol::{ParticipantInfo, participant_info};
use time::Duration;

use crate::{
    Rooms,
    ensure::AFTERGLOW,
    error::Error,
    plan::Why,
    store::{Record, closing, people},
};

/// So far apart are the checks that both have to lack the participants of a room that lives.
const APART: Duration = Duration::seconds(5);
/// The same while someone has to be removed whom LiveKit does not find: that is done within 5 s.
const APART_FOR_REMOVAL: Duration = Duration::seconds(2);

/// What LiveKit says of the participants of a room that lives.
struct Check<'a> {
    inside: &'a [ParticipantInfo],
    /// Its number of them, up to 5 s old.
    counted: u32,
    /// Someone has to be removed whom LiveKit does not find.
    removal: bool,
    /// LiveKit's list lacked the room, now or in an earlier check.
    unlisted: bool,
}

impl Check<'_> {
    /// Recorders and agents are listed and not counted.
    fn listed(&self) -> usize {
        let dependent = [participant_info::Kind::Egress as i32, participant_info::Kind::Agent as i32];
        self.inside.iter().filter(|one| !dependent.contains(&one.kind)).count()
    }

    fn lacks_people(&self, record: &Record) -> bool {
        let listed = self.listed();
        usize::try_from(self.counted).is_ok_and(|counted| counted > listed)
            || (self.unlisted && listed == 0 && (record.occupied || self.removal))
    }

    fn apart(&self) -> Duration {
        if self.removal && self.listed() == 0 { APART_FOR_REMOVAL } else { APART }
    }
}

impl Rooms {
    /// Gives a room that was lost its next generation. False: it lives, and is kept. A list without the room may be wrong.
    pub(crate) async fn replace_missing(&self, record: &Record) -> Result<bool, Error> {
        let inside = self.livekit.list_participants(&record.room_name).await?;
        if !self.livekit.may_delete() {
            return self.replace_unless_inhabited(record, &inside).await;
        }
        let removal = self.awaits_removal(record).await?;
        if inside.is_empty() && !record.occupied && !removal && record.unlisted_since.is_none() {
            return self.give_up(record, Why::Missing, false).await;
        }
        let blueprint = self.blueprint(record, record.closes_at + AFTERGLOW).await?;
        let there = self.livekit.create_room(blueprint).await?;
        if record.room_sid.as_ref() != Some(&there.sid) {
            return self.give_up(record, Why::Missing, true).await;
        }
        let check = Check { inside: &inside, counted: there.num_participants, removal, unlisted: true };
        if self.is_unruled(record, &check).await? {
            return self.give_up(record, Why::Unlisted, true).await;
        }
        self.drop_if_retired(record).await?; // the record is an old one: CreateRoom has created what nobody needs
        Ok(false)
    }

    /// Where nothing is deleted, nothing is created under an old name either.
    async fn replace_unless_inhabited(
        &self,
        record: &Record,
        inside: &[ParticipantInfo],
    ) -> Result<bool, Error> {
        if inside.is_empty() { self.give_up(record, Why::Missing, false).await } else { Ok(false) }
    }

    async fn give_up(&self, record: &Record, why: Why, to_close: bool) -> Result<bool, Error> {
        if self.retire(record, why, to_close).await? {
            if record.kind != OwnerKind::Nest || record.occupied {
                metrics::counter!("greenroom_rooms_missing_total").increment(1);
            }
        } else if to_close {
            self.drop_if_retired(record).await?;
        }
        Ok(true)
    }

    /// After a check of a listed room: whether LiveKit still lacks participants of it, and the room was given up.
    pub(crate) async fn close_unlisted(
        &self,
        record: &Record,
        inside: &[ParticipantInfo],
    ) -> Result<bool, Error> {
        let removal = self.awaits_removal(record).await?;
        if !self.livekit.may_delete() || !removal && record.unlisted_since.is_none() {
            return Ok(false);
        }
        let listed = self.livekit.list_rooms(vec![record.room_name.clone()]).await?;
        let counted = listed.iter().find(|room| room.name == record.room_name);
        let counted = counted.map_or(0, |room| room.num_participants);
        let check = Check { inside, counted, removal, unlisted: record.unlisted_since.is_some() };
        if !self.is_unruled(record, &check).await? {
            return Ok(false);
        }
        self.give_up(record, Why::Unlisted, true).await
    }

    /// Whether the room was without its participants in this check and in an earlier one; notes the first.
    async fn is_unruled(&self, record: &Record, check: &Check<'_>) -> Result<bool, Error> {
        if !check.lacks_people(record) {
            if record.unlisted_since.is_some() {
                closing::set_listed(&self.pool, record).await?;
            }
            return Ok(false);
        }
        let apart = check.apart();
        let since = closing::set_unlisted(&self.pool, record, apart).await?;
        Ok(since.is_some_and(|since| record.now - since >= apart))
    }

    /// Whether someone was kicked or banned whom LiveKit did not find, and who was not seen to leave.
    pub(crate) async fn awaits_removal(&self, record: &Record) -> Result<bool, Error> {
        let watched = record.watched_until.is_some_and(|until| until > record.now);
        Ok(watched && people::awaits_removal(&self.pool, record.id).await?)
    }
}
