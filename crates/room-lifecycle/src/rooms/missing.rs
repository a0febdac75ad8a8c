//! Rooms that LiveKit's list lacks: lost, or in use and out of LiveKit's control (docs/decisions/0020).
//!
//! When Redis has lost its data and LiveKit still runs, lists are empty, RemoveParticipant and DeleteRoom answer 404,
//! and the participants continue to talk. CreateRoom with the old name shows which it is. Another SID: the room was
//! lost. The SID of the record: the room exists and stays unlisted. One incomplete list never ends a meeting. Two do,
//! 5 s apart.

use livekit_protocol::{ParticipantInfo, participant_info};
use time::Duration;

use super::{
    Rooms,
    closing::Deletion,
    plan::{Observed, Why},
    policy::{CONFIRM_AFTER, CONFIRM_COUNT_AFTER, CONFIRM_REMOVAL_AFTER, TIMER_MARGIN},
    store::{
        Record, closing,
        participants::{self, Lacking},
    },
};
use crate::{error::Error, kinds};

/// A check that is older than this belongs to an earlier incident.
const MAX_CHECK_AGE: Duration = Duration::MINUTE;

/// How complete LiveKit's list of a room's participants is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Whole,
    /// It lacks participants that LiveKit counts: a participant that is not listed may be in the room.
    Partial,
    /// It lacked participants in two checks: the room was retired, and its next generation is pending.
    Replaced,
}

/// What LiveKit says about the participants of a room that exists.
#[derive(Debug, Default)]
struct Check {
    /// How many participants it lists.
    listed: u32,
    /// How many it counts; up to 5 s old.
    counted: u32,
    /// Participants that are in the room as far as we know, and are not listed.
    lacking: Lacking,
    /// A participant has to be removed and LiveKit does not find them.
    removal: bool,
    /// LiveKit's list lacked the room, now or in an earlier check.
    unlisted: bool,
    /// The room had participants.
    occupied: bool,
}

impl Check {
    /// How many participants LiveKit counts and does not list.
    fn excess(&self) -> i64 {
        i64::from(self.counted) - i64::from(self.listed)
    }

    /// Whether LiveKit counts participants that it does not list, and that are in the room as far as we know.
    fn is_partial(&self) -> bool {
        self.excess() > 0 && self.lacking.joined > 0
    }

    /// Whether participants are in the room that the list lacks. One such check is not enough to act.
    fn lacks_participants(&self) -> bool {
        let explained = self.lacking.joined + self.lacking.left;
        (self.excess() > 0 && self.lacking.lasting > 0)
            || (self.removal && self.excess() > explained)
            || (self.unlisted && self.listed == 0 && (self.occupied || self.removal))
    }

    /// The shortest time between this check and the one that confirms it.
    fn confirm_after(&self) -> Duration {
        match (self.removal, self.listed) {
            (true, 0) => CONFIRM_REMOVAL_AFTER,
            (true, _) => CONFIRM_AFTER,
            (false, 0) if self.unlisted => CONFIRM_AFTER,
            (false, _) => CONFIRM_COUNT_AFTER,
        }
    }
}

/// How many of these participants LiveKit counts: it lists recorders and agents, and does not count them.
fn listed(participants: &[ParticipantInfo]) -> u32 {
    let dependent = [participant_info::Kind::Egress as i32, participant_info::Kind::Agent as i32];
    let listed = participants.iter().filter(|one| !dependent.contains(&one.kind)).count();
    u32::try_from(listed).unwrap_or(u32::MAX)
}

impl Rooms {
    /// Replaces a lost room by its next generation. False: it exists and is kept, because a list without it may be
    /// wrong.
    pub(crate) async fn replace_missing(&self, record: &Record) -> Result<bool, Error> {
        // Asked first: participants prove that the room exists, whatever ListRooms says.
        let participants = self.livekit.list_participants(&record.room_name).await?;
        if !self.livekit.may_delete() {
            return self.replace_if_empty(record, &participants).await;
        }
        let removal = self.awaits_removal(record).await?;
        let occupied = record.occupied || self.was_entered(record).await?;
        // Nothing says that anyone is in it, so one list is enough. If Redis has lost it, its node still has it.
        if participants.is_empty() && !occupied && !removal && record.unlisted_since.is_none() {
            return self.retire_missing(record, Why::Missing, Deletion::Later).await;
        }
        let room_options = self.room_options(record, record.closes_at + TIMER_MARGIN).await?;
        // CreateRoom returns the existing room with its SID, also if the lists lack it.
        let created = self.livekit.create_room(room_options).await?;
        let (listed, counted) = (listed(&participants), created.num_participants);
        // Another SID: the room was lost, and this call or a client has created it again.
        if record.room_sid.as_ref() != Some(&created.sid) {
            if listed.max(counted) == 0 {
                return self.retire_missing(record, Why::Missing, Deletion::Now).await;
            }
            self.adopt(record, &created.sid).await?; // LiveKit has recreated it, and clients have joined it again
            return Ok(false);
        }
        let lacking = self.find_lacking(record, &participants).await?;
        let check = Check { listed, counted, lacking, removal, unlisted: true, occupied };
        if self.is_confirmed_unlisted(record, &check).await? {
            return self.retire_missing(record, Why::Unlisted, Deletion::Now).await;
        }
        // The record may be an old one: then CreateRoom has created a room that is not needed.
        self.delete_if_retired(record).await?;
        Ok(false)
    }

    /// Replaces a room while deletion is off: without CreateRoom under the old name, which could not be undone.
    async fn replace_if_empty(
        &self,
        record: &Record,
        participants: &[ParticipantInfo],
    ) -> Result<bool, Error> {
        if participants.is_empty() {
            self.retire_missing(record, Why::Missing, Deletion::Skip).await
        } else {
            Ok(false)
        }
    }

    /// Retires the room. Returns true, also when the record has changed meanwhile.
    async fn retire_missing(&self, record: &Record, why: Why, deletion: Deletion) -> Result<bool, Error> {
        if self.retire(record, why, deletion).await? {
            if kinds::is_lost(record.kind, record.occupied) {
                metrics::counter!("greenroom_rooms_missing_total").increment(1);
            }
        } else if deletion == Deletion::Now {
            self.delete_if_retired(record).await?;
        }
        Ok(true)
    }

    /// Compares LiveKit's list of a room's participants with its count. Closes nothing while deletion is off.
    pub(crate) async fn check_list(
        &self,
        record: &Record,
        observed: &Observed,
        participants: &[ParticipantInfo],
    ) -> Result<List, Error> {
        let removal = self.awaits_removal(record).await?;
        let listed = listed(participants);
        if !removal && record.unlisted_since.is_none() && observed.counted() <= listed {
            return Ok(List::Whole);
        }
        // A newer number: the one that was observed may be older than the list of participants.
        let again = self.livekit.list_rooms(vec![record.room_name.clone()]).await?;
        let room = again.iter().find(|room| room.name == record.room_name);
        let check = Check {
            listed,
            counted: room.map_or(0, |room| room.num_participants),
            lacking: self.find_lacking(record, participants).await?,
            removal,
            unlisted: record.unlisted_since.is_some() && listed == 0,
            occupied: record.occupied,
        };
        if self.livekit.may_delete() && self.is_confirmed_unlisted(record, &check).await? {
            self.retire_missing(record, Why::Unlisted, Deletion::Now).await?;
            return Ok(List::Replaced);
        }
        Ok(if check.is_partial() { List::Partial } else { List::Whole })
    }

    async fn find_lacking(
        &self,
        record: &Record,
        participants: &[ParticipantInfo],
    ) -> Result<Lacking, Error> {
        let identities: Vec<String> = participants.iter().map(|one| one.identity.clone()).collect();
        let lacking =
            participants::find_lacking(&self.pool, record.id, &identities, record.unlisted_since).await?;
        let is_repeated = is_repeated(record);
        Ok(Lacking { lasting: if is_repeated { lacking.lasting } else { lacking.joined }, ..lacking })
    }

    /// Whether a participant has joined that no check has found yet.
    async fn was_entered(&self, record: &Record) -> Result<bool, Error> {
        match &record.room_sid {
            Some(sid) => Ok(participants::was_entered(&self.pool, record.id, sid).await?),
            None => Ok(false),
        }
    }

    /// Whether both this check and an earlier one lack the participants. Records the first such check.
    async fn is_confirmed_unlisted(&self, record: &Record, check: &Check) -> Result<bool, Error> {
        if !check.lacks_participants() {
            if record.unlisted_since.is_some() {
                closing::set_listed(&self.pool, record).await?;
            }
            return Ok(false);
        }
        let confirm_after = check.confirm_after();
        // The first check only records its time; a later one acts on it.
        let since = closing::set_unlisted(&self.pool, record, confirm_after).await?;
        Ok(since.is_some_and(|since| record.now - since >= confirm_after))
    }

    /// Whether a participant was kicked or banned that LiveKit did not find, and that has not left as far as we know.
    pub(crate) async fn awaits_removal(&self, record: &Record) -> Result<bool, Error> {
        let watched = record.watched_until.is_some_and(|until| until > record.now);
        Ok(watched && participants::awaits_removal(&self.pool, record.id).await?)
    }
}

/// Whether an earlier check of this incident has recorded that participants are lacking.
fn is_repeated(record: &Record) -> bool {
    record.unlisted_since.is_some_and(|since| since < record.now && record.now - since <= MAX_CHECK_AGE)
}

#[cfg(test)]
#[path = "missing_tests.rs"]
mod tests;
