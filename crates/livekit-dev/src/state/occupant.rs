//! One participant of one room: what the server's memory holds (`connected`) and what its store lists
//! (`listed`) are two things, and they drift apart after a restart or a late close.

use std::collections::HashMap;

use livekit_protocol::{
    DisconnectReason, ParticipantInfo, ParticipantPermission, TrackInfo, TrackSource, TrackType,
    participant_info::{Kind, State},
};

use super::notice::Effect;
use crate::ids;

#[derive(Clone, Debug)]
pub(crate) struct Occupant {
    pub info: ParticipantInfo,
    /// Does not keep the room open (agents, recorders, egress).
    pub dependent: bool,
    /// A live object on this node answers for them.
    pub connected: bool,
    /// The store has their row.
    pub listed: bool,
    /// The late close of the session that this one replaced, sent right after this one becomes active.
    pub late_close: Vec<Effect>,
}

/// Why a track was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error("participant does not exist")]
    Absent,
    #[error("the participant is not connected yet")]
    NotActive,
    #[error("the participant may not publish this source")]
    NotAllowed,
}

impl Occupant {
    pub(crate) fn is_active(&self) -> bool {
        self.connected && self.info.state == State::Active as i32
    }

    /// Whether this is a recorder: while one is there the room has an active recording.
    #[expect(deprecated, reason = "servers still read the grant")]
    pub(crate) fn records(&self) -> bool {
        let granted = self.info.permission.as_ref().is_some_and(|permission| permission.recorder);
        granted || self.info.kind == Kind::Egress as i32
    }

    pub(crate) fn publish(&mut self, track: TrackInfo) -> Result<(), PublishError> {
        if !self.is_active() {
            return Err(PublishError::NotActive);
        }
        if !self.may_publish(track.source()) {
            return Err(PublishError::NotAllowed);
        }
        self.info.tracks.push(track);
        self.info.is_publisher = true;
        self.touch();
        Ok(())
    }

    pub(crate) fn unpublish(&mut self, track_sid: &str) -> Option<TrackInfo> {
        let at = self.info.tracks.iter().position(|track| track.sid == track_sid)?;
        let track = self.info.tracks.remove(at);
        self.touch();
        Some(track)
    }

    pub(crate) fn set_muted(&mut self, track_sid: &str, muted: bool) -> Option<TrackInfo> {
        let track = self.info.tracks.iter_mut().find(|track| track.sid == track_sid)?;
        track.muted = muted;
        let track = track.clone();
        self.touch();
        Some(track)
    }

    /// Replaces the whole set. Returns the tracks that it no longer allows; they are still there.
    pub(crate) fn set_permission(&mut self, permission: ParticipantPermission) -> Vec<TrackInfo> {
        // Stored first: the tracks are judged by the new permission.
        self.info.permission = Some(permission);
        let forbidden = |track: &&TrackInfo| !self.may_publish(track.source());
        self.info.tracks.iter().filter(forbidden).cloned().collect()
    }

    /// With permission to publish, an active participant is a publisher from now on, even without a track.
    pub(crate) fn count_as_publisher(&mut self) {
        let may = self.info.permission.as_ref().is_some_and(|permission| permission.can_publish);
        self.info.is_publisher = self.is_active() && may;
    }

    /// An empty value deletes its key. Any change counts, also one to the same values.
    pub(crate) fn merge_attributes(&mut self, changes: HashMap<String, String>) -> bool {
        let counts = !changes.is_empty();
        for (key, value) in changes {
            if value.is_empty() {
                self.info.attributes.remove(&key);
            } else {
                self.info.attributes.insert(key, value);
            }
        }
        counts
    }

    /// A change of what the others see; the node writes it to the store.
    pub(crate) fn touch(&mut self) {
        self.listed = true;
        self.info.version += 1;
    }

    /// The last snapshot of a session, without its tracks: their events came before.
    pub(crate) fn farewell(mut self, reason: DisconnectReason) -> ParticipantInfo {
        self.info.tracks.clear();
        self.info.state = State::Disconnected as i32;
        self.info.disconnect_reason = reason as i32;
        self.touch();
        self.info
    }

    /// An empty list of sources allows all; a list only narrows.
    pub(crate) fn may_publish(&self, source: TrackSource) -> bool {
        self.info.permission.as_ref().is_some_and(|permission| {
            let sources = &permission.can_publish_sources;
            permission.can_publish && (sources.is_empty() || sources.contains(&(source as i32)))
        })
    }
}

/// The track of a participant without a client.
pub(crate) fn new_track(source: TrackSource, name: &str) -> TrackInfo {
    let kind = match source {
        TrackSource::Camera | TrackSource::ScreenShare => TrackType::Video,
        TrackSource::Microphone | TrackSource::ScreenShareAudio | TrackSource::Unknown => TrackType::Audio,
    };
    let (mime_type, width, height) = match kind {
        TrackType::Video => ("video/VP8", 1280, 720),
        TrackType::Audio | TrackType::Data => ("audio/opus", 0, 0),
    };
    TrackInfo {
        sid: ids::track(kind, source),
        r#type: kind as i32,
        source: source as i32,
        name: name.to_owned(),
        mime_type: mime_type.to_owned(),
        width,
        height,
        ..TrackInfo::default()
    }
}
