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
    plan::{Sight, Why},
    store::{
        Record, closing,
        people::{self, Lacking},
    },
};

/// So far apart are the checks that both have to lack the participants of a room that lives.
const APART: Duration = Duration::seconds(5);
/// The same where LiveKit lists some participants and counts more: its number may be 5 s old.
const APART_BY_COUNT: Duration = Duration::seconds(8);
/// The same while someone has to be removed from a room in which LiveKit lists nobody: that is done within 5 s.
const APART_FOR_REMOVAL: Duration = Duration::seconds(2);
/// An earlier check than this was of another time.
const LONGEST_APART: Duration = Duration::MINUTE;

/// What is to be thought of LiveKit's list of a room's participants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Whole,
    /// It lacks participants that LiveKit counts: who is not listed may be there.
    Partial,
    /// It lacked them in two checks: the room was closed, and its next generation is pending.
    Replaced,
}

/// What LiveKit says of the participants of a room that lives.
#[derive(Debug, Default)]
struct Check {
    /// How many it lists.
    listed: u32,
    /// Its number of them, up to 5 s old.
    counted: u32,
    /// Who is known to be there, and not listed.
    lacking: Lacking,
    /// Someone has to be removed whom LiveKit does not find.
    removal: bool,
    /// LiveKit's list lacked the room, now or in an earlier check.
    unlisted: bool,
    /// Someone was in the room.
    occupied: bool,
}

impl Check {
    fn excess(&self) -> i64 {
        i64::from(self.counted) - i64::from(self.listed)
    }

    /// Whether LiveKit counts participants that it does not list, and that are known to be there.
    fn is_partial(&self) -> bool {
        self.excess() > 0 && self.lacking.joined > 0
    }

    fn lacks_people(&self) -> bool {
        let explained = self.lacking.joined + self.lacking.left;
        (self.excess() > 0 && self.lacking.lasting > 0)
            || (self.removal && self.excess() > explained)
            || (self.unlisted && self.listed == 0 && (self.occupied || self.removal))
    }

    fn apart(&self) -> Duration {
        match (self.removal, self.listed) {
            (true, 0) => APART_FOR_REMOVAL,
            (true, _) => APART,
            (false, 0) if self.unlisted => APART,
            (false, _) => APART_BY_COUNT,
        }
    }
}

/// Recorders and agents are listed and not counted.
fn listed(inside: &[ParticipantInfo]) -> u32 {
    let dependent = [participant_info::Kind::Egress as i32, participant_info::Kind::Agent as i32];
    let listed = inside.iter().filter(|one| !dependent.contains(&one.kind)).count();
    u32::try_from(listed).unwrap_or(u32::MAX)
}

impl Rooms {
    /// Gives a room that was lost its next generation. False: it lives, and is kept. A list without the room may be wrong.
    pub(crate) async fn replace_missing(&self, record: &Record) -> Result<bool, Error> {
        let inside = self.livekit.list_participants(&record.room_name).await?;
        if !self.livekit.may_delete() {
            return self.replace_unless_inhabited(record, &inside).await;
        }
        let removal = self.awaits_removal(record).await?;
        let occupied = record.occupied || self.was_entered(record).await?;
        if inside.is_empty() && !occupied && !removal && record.unlisted_since.is_none() {
            return self.give_up(record, Why::Missing, false).await;
        }
        let blueprint = self.blueprint(record, record.closes_at + AFTERGLOW).await?;
        let there = self.livekit.create_room(blueprint).await?;
        let (listed, counted) = (listed(&inside), there.num_participants);
        if record.room_sid.as_ref() != Some(&there.sid) {
            if listed.max(counted) == 0 {
                return self.give_up(record, Why::Missing, true).await;
            }
            self.adopt(record, &there.sid).await?; // it was created again, and clients have come back to it
            return Ok(false);
        }
        let lacking = self.find_lacking(record, &inside).await?;
        let check = Check { listed, counted, lacking, removal, unlisted: true, occupied };
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

    /// Compares LiveKit's list of a room that it lists with its number of participants. Nothing is closed where deletion
    /// is off.
    pub(crate) async fn check_list(
        &self,
        record: &Record,
        sight: &Sight,
        inside: &[ParticipantInfo],
    ) -> Result<List, Error> {
        let removal = self.awaits_removal(record).await?;
        let listed = listed(inside);
        if !removal && record.unlisted_since.is_none() && sight.counted() <= listed {
            return Ok(List::Whole);
        }
        let again = self.livekit.list_rooms(vec![record.room_name.clone()]).await?;
        let room = again.iter().find(|room| room.name == record.room_name);
        let check = Check {
            listed,
            counted: room.map_or(0, |room| room.num_participants),
            lacking: self.find_lacking(record, inside).await?,
            removal,
            unlisted: record.unlisted_since.is_some() && listed == 0,
            occupied: record.occupied,
        };
        if self.livekit.may_delete() && self.is_unruled(record, &check).await? {
            self.give_up(record, Why::Unlisted, true).await?;
            return Ok(List::Replaced);
        }
        Ok(if check.is_partial() { List::Partial } else { List::Whole })
    }

    async fn find_lacking(&self, record: &Record, inside: &[ParticipantInfo]) -> Result<Lacking, Error> {
        let identities: Vec<String> = inside.iter().map(|one| one.identity.clone()).collect();
        let lacking = people::find_lacking(&self.pool, record.id, &identities, record.unlisted_since).await?;
        let is_repeated = is_repeated(record);
        Ok(Lacking { lasting: if is_repeated { lacking.lasting } else { lacking.joined }, ..lacking })
    }

    /// Whether someone has joined whom no check has found yet.
    async fn was_entered(&self, record: &Record) -> Result<bool, Error> {
        match &record.room_sid {
            Some(sid) => Ok(people::was_entered(&self.pool, record.id, sid).await?),
            None => Ok(false),
        }
    }

    /// Whether the room was without its participants in this check and in an earlier one; notes the first.
    async fn is_unruled(&self, record: &Record, check: &Check) -> Result<bool, Error> {
        if !check.lacks_people() {
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

/// Whether an earlier check, not long ago, has noted that participants are lacking.
fn is_repeated(record: &Record) -> bool {
    record.unlisted_since.is_some_and(|since| since < record.now && record.now - since <= LONGEST_APART)
}

#[cfg(test)]
#[path = "missing_tests.rs"]
mod tests;
