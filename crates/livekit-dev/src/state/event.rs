//! What happened, with the snapshots that the webhook about it carries.

use livekit_protocol::{EgressInfo, ParticipantInfo, Room, TrackInfo};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    RoomStarted,
    RoomFinished,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantConnectionAborted,
    TrackPublished,
    TrackUnpublished,
    EgressStarted,
    EgressUpdated,
    EgressEnded,
}

impl EventKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RoomStarted => "room_started",
            Self::RoomFinished => "room_finished",
            Self::ParticipantJoined => "participant_joined",
            Self::ParticipantLeft => "participant_left",
            Self::ParticipantConnectionAborted => "participant_connection_aborted",
            Self::TrackPublished => "track_published",
            Self::TrackUnpublished => "track_unpublished",
            Self::EgressStarted => "egress_started",
            Self::EgressUpdated => "egress_updated",
            Self::EgressEnded => "egress_ended",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub kind: EventKind,
    pub room: Room,
    pub participant: Option<ParticipantInfo>,
    pub track: Option<TrackInfo>,
    pub egress: Option<EgressInfo>,
}

impl Event {
    pub(crate) fn about_room(kind: EventKind, room: Room) -> Self {
        Self { kind, room, participant: None, track: None, egress: None }
    }

    pub(crate) fn about_participant(kind: EventKind, room: Room, participant: ParticipantInfo) -> Self {
        Self { participant: Some(participant), ..Self::about_room(kind, room) }
    }

    pub(crate) fn about_track(
        kind: EventKind,
        room: Room,
        participant: &ParticipantInfo,
        track: TrackInfo,
    ) -> Self {
        // Track events name the participant and say nothing else about them.
        let participant = ParticipantInfo {
            sid: participant.sid.clone(),
            identity: participant.identity.clone(),
            ..ParticipantInfo::default()
        };
        Self { participant: Some(participant), track: Some(track), ..Self::about_room(kind, room) }
    }

    /// The room is named, and nothing else is said about it.
    pub(crate) fn about_egress(kind: EventKind, egress: EgressInfo) -> Self {
        let (sid, name) = (egress.room_id.clone(), egress.room_name.clone());
        let room = Room { sid, name, ..Room::default() };
        Self { egress: Some(egress), ..Self::about_room(kind, room) }
    }
}
