//! Recordings: what the store keeps of them, and what a worker does with them, step by step:
//! starting → active → ending → complete, and from each of those to failed, aborted or a reached limit.
//!
//! The worker is another process than the server: a restart of the server leaves the infos as they are, and a worker
//! that dies leaves them so for ever.

use livekit_protocol::{
    ClientInfo, DisconnectReason, EgressInfo, EgressSourceType, EgressStatus, egress_info::Request,
    participant_info::Kind,
};

use super::{
    World,
    event::{Event, EventKind},
    notice::Effect,
    participants::{Admission, occupant},
    room::{Room, RoomSpec},
};
use crate::{
    config::Worker,
    egress::output::{Output, Results},
    grants::VideoGrant,
    ids,
};

/// The store forgets an ended recording after a day.
const KEPT_NS: i64 = 24 * 3600 * 1_000_000_000;

#[derive(Clone, Debug)]
pub(crate) struct Egress {
    pub info: EgressInfo,
    pub output: Output,
    /// The store has it; its worker goes on either way.
    pub listed: bool,
}

/// Why a recording could not be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopError {
    Absent,
    Ended(EgressStatus),
    /// The worker is gone, and no other one knows.
    Silent,
}

/// How a recording ends.
#[derive(Debug)]
pub(crate) enum End {
    Complete(Results),
    Failed(String),
}

impl World {
    /// The worker has taken the job, and has not begun.
    pub(crate) fn start_egress(
        &mut self,
        room: &str,
        request: Request,
        output: Output,
        source: EgressSourceType,
        now_ns: i64,
    ) -> (EgressInfo, Vec<Effect>) {
        let mut info = EgressInfo {
            egress_id: ids::egress(),
            room_id: self.rooms.get(room).map(|room| room.info.sid.clone()).unwrap_or_default(),
            room_name: room.to_owned(),
            source_type: source as i32,
            updated_at: now_ns,
            started_at: now_ns,
            request: Some(request),
            ..EgressInfo::default()
        };
        let output = output.of(&info);
        // Its name may contain the time of the request. The recording itself has not begun.
        info.started_at = 0;
        let event = Event::about_egress(EventKind::EgressStarted, info.clone());
        self.egresses.insert(info.egress_id.clone(), Egress { info: info.clone(), output, listed: true });
        (info, vec![event.into()])
    }

    pub(crate) fn list_egress(&self, room: &str, active: bool) -> Vec<EgressInfo> {
        let listed = self.egresses.values().filter(|egress| egress.listed);
        listed
            .map(|egress| &egress.info)
            .filter(|info| (room.is_empty() || info.room_name == room) && (!active || !is_over(info)))
            .cloned()
            .collect()
    }

    pub(crate) fn find_egress(&self, id: &str) -> Option<EgressInfo> {
        self.egresses.get(id).filter(|egress| egress.listed).map(|egress| egress.info.clone())
    }

    pub(crate) fn stop_egress(
        &mut self,
        id: &str,
        now_ns: i64,
    ) -> Result<(EgressInfo, Vec<Effect>), StopError> {
        let info = self.egresses.get(id).ok_or(StopError::Absent)?.info.clone();
        if is_over(&info) {
            return Err(StopError::Ended(info.status()));
        }
        if self.switches.worker == Worker::Dead {
            return Err(StopError::Silent);
        }
        // A worker that has not begun has nothing to end.
        let (status, error) = match info.status() {
            EgressStatus::EgressStarting => (EgressStatus::EgressAborted, "Start signal not received"),
            _ => (EgressStatus::EgressEnding, ""),
        };
        self.move_egress(id, status, error, now_ns).ok_or(StopError::Absent)
    }

    /// To this state, whatever it was; with an event if it is another one. None: there is no such recording.
    pub(crate) fn move_egress(
        &mut self,
        id: &str,
        status: EgressStatus,
        error: &str,
        now_ns: i64,
    ) -> Option<(EgressInfo, Vec<Effect>)> {
        let egress = self.egresses.get_mut(id)?;
        // The same state again is no event.
        if egress.info.status() == status {
            return Some((egress.info.clone(), Vec::new()));
        }
        // The worker writes the recording to the store, also after a flush.
        egress.listed = true;
        egress.info.set_status(status);
        egress.info.updated_at = now_ns;
        error.clone_into(&mut egress.info.error);
        let mut events = Vec::new();
        match status {
            EgressStatus::EgressStarting | EgressStatus::EgressEnding => {}
            EgressStatus::EgressActive => egress.info.started_at = now_ns,
            _ => egress.info.ended_at = now_ns,
        }
        let info = egress.info.clone();
        // The recorder joins before the event that says that the recording runs.
        if status == EgressStatus::EgressActive {
            events.extend(self.enter_recorder(&info, now_ns));
        }
        let kind = if is_over(&info) { EventKind::EgressEnded } else { EventKind::EgressUpdated };
        events.push(Event::about_egress(kind, info.clone()).into());
        if is_over(&info) {
            let client = DisconnectReason::ClientInitiated;
            events.extend(self.leave(&info.room_name, &info.egress_id, client, now_ns / 1_000_000_000));
        }
        Some((info, events))
    }

    pub(crate) fn end_egress(&mut self, id: &str, end: End, now_ns: i64) -> Vec<Effect> {
        // Ended by another way in between: its result stays.
        let Some(egress) = self.egresses.get_mut(id).filter(|egress| !is_over(&egress.info)) else {
            return Vec::new();
        };
        let (status, error) = match end {
            End::Complete(results) => {
                egress.info.file_results = results.files;
                egress.info.segment_results = results.segments;
                (EgressStatus::EgressComplete, String::new())
            }
            End::Failed(error) => (EgressStatus::EgressFailed, error),
        };
        self.move_egress(id, status, &error, now_ns).map(|(_, events)| events).unwrap_or_default()
    }

    /// Those whose files are to be written now.
    pub(crate) fn ending_egresses(&self) -> Vec<Egress> {
        self.at_work(EgressStatus::EgressEnding)
    }

    pub(crate) fn active_egresses(&self) -> Vec<Egress> {
        self.at_work(EgressStatus::EgressActive)
    }

    fn at_work(&self, status: EgressStatus) -> Vec<Egress> {
        // A worker that is absent goes on with the jobs that it has.
        let works = self.switches.worker != Worker::Dead && self.switches.worker != Worker::Waits;
        self.egresses.values().filter(|egress| works && egress.info.status() == status).cloned().collect()
    }

    /// What the worker does next; one that is dead has left its rooms.
    pub(crate) fn work(&mut self, now_ns: i64) -> Vec<Effect> {
        self.egresses.retain(|_, egress| !is_over(&egress.info) || now_ns - egress.info.ended_at < KEPT_NS);
        let mut events = Vec::new();
        let all: Vec<EgressInfo> = self.egresses.values().map(|egress| egress.info.clone()).collect();
        for info in all.into_iter().filter(|info| !is_over(info)) {
            let (room, id) = (&info.room_name, &info.egress_id);
            if self.switches.worker == Worker::Dead {
                let lost = DisconnectReason::ConnectionTimeout;
                events.extend(self.leave(room, id, lost, now_ns / 1_000_000_000));
            } else if let Some((status, error)) = self.next_step(&info) {
                let moved = self.move_egress(id, status, error, now_ns);
                events.extend(moved.map(|(_, events)| events).unwrap_or_default());
            }
        }
        events
    }

    /// What is starting becomes active, and a recording that lost its room ends.
    fn next_step(&self, info: &EgressInfo) -> Option<(EgressStatus, &'static str)> {
        let (room, id) = (&info.room_name, &info.egress_id);
        match info.status() {
            // First: a worker that waits does nothing by itself.
            _ if self.switches.worker == Worker::Waits => None,
            EgressStatus::EgressStarting
                if room.is_empty() || self.rooms.get(room).is_some_and(Room::is_live) =>
            {
                Some((EgressStatus::EgressActive, ""))
            }
            EgressStatus::EgressStarting => Some((EgressStatus::EgressAborted, "Start signal not received")),
            // The recorder was removed, or its room is over.
            EgressStatus::EgressActive if !room.is_empty() && !self.is_connected(room, id) => {
                Some((EgressStatus::EgressEnding, ""))
            }
            _ => None,
        }
    }

    /// The recorder is a participant that others do not see and that keeps no room open.
    fn enter_recorder(&mut self, info: &EgressInfo, now_ns: i64) -> Vec<Effect> {
        if info.room_name.is_empty() {
            return Vec::new();
        }
        let grant = VideoGrant { hidden: true, recorder: true, ..VideoGrant::default() };
        let admission = Admission {
            room: RoomSpec::default(),
            may_create: false,
            identity: info.egress_id.clone(),
            name: String::new(),
            metadata: String::new(),
            attributes: std::collections::HashMap::new(),
            // This kind makes the room count as recorded.
            kind: Kind::Egress,
            permission: grant.permission(),
            dependent: true,
            client: ClientInfo::default(),
        };
        let Some(room) = self.rooms.get_mut(&info.room_name).filter(|room| room.is_live()) else {
            return Vec::new();
        };
        room.enter(occupant(admission, now_ns / 1_000_000), now_ns / 1_000_000_000);
        self.activate(&info.room_name, &info.egress_id).map(|(_, events)| events).unwrap_or_default()
    }
}

/// Nothing comes after this state.
pub(crate) fn is_over(info: &EgressInfo) -> bool {
    info.status >= EgressStatus::EgressComplete as i32
}
