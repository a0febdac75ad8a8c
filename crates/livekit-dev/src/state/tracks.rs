//! The tracks that participants publish, with a client or without one.

use livekit_protocol::{TrackInfo, TrackSource};

use super::{
    World,
    event::{Event, EventKind},
    notice::{Changed, Effect, Notice},
    occupant::{Occupant, PublishError, new_track},
    participants::Session,
    room::Room,
};

impl World {
    /// A track of a participant without a client.
    pub(crate) fn publish(
        &mut self,
        room: &str,
        identity: &str,
        source: TrackSource,
        name: &str,
    ) -> Result<(TrackInfo, Vec<Effect>), PublishError> {
        let room = self.rooms.get_mut(room).ok_or(PublishError::Absent)?;
        let track = new_track(source, name);
        let effects = room.publish(identity, track.clone())?;
        Ok((track, effects))
    }

    /// A track that a client sends.
    pub(crate) fn publish_track(
        &mut self,
        session: &Session,
        track: TrackInfo,
    ) -> Result<Vec<Effect>, PublishError> {
        let room = self.session_room(session).ok_or(PublishError::Absent)?;
        room.publish(&session.identity, track)
    }

    /// What is known of a published track is not what it was: layers that arrived, a mute, features.
    pub(crate) fn update_track(
        &mut self,
        session: &Session,
        track_sid: &str,
        update: impl FnOnce(&mut TrackInfo),
    ) -> Option<Vec<Effect>> {
        let room = self.session_room(session)?;
        let occupant = room.connected_mut(&session.identity)?;
        update(occupant.info.tracks.iter_mut().find(|track| track.sid == track_sid)?);
        occupant.touch();
        room.store();
        Some(room.updated(&session.identity, Changed::Tracks).into_iter().collect())
    }

    pub(crate) fn unpublish(
        &mut self,
        room: &str,
        identity: &str,
        track_sid: &str,
    ) -> Option<(TrackInfo, Vec<Effect>)> {
        self.rooms.get_mut(room)?.unpublish(identity, track_sid)
    }

    /// A client stopped sending the track.
    pub(crate) fn unpublish_track(&mut self, session: &Session, track_sid: &str) -> Option<Vec<Effect>> {
        let room = self.session_room(session)?;
        room.unpublish(&session.identity, track_sid).map(|(_, effects)| effects)
    }

    /// The server mutes or unmutes: the publisher's client hears of it first.
    pub(crate) fn mute_by_server(
        &mut self,
        room: &str,
        identity: &str,
        track_sid: &str,
        muted: bool,
    ) -> Option<(TrackInfo, Vec<Effect>)> {
        let room = self.rooms.get_mut(room)?;
        let occupant = room.connected_mut(identity)?;
        let track = occupant.set_muted(track_sid, muted)?;
        let participant = occupant.info.sid.clone();
        let mut effects = vec![Notice::Muted { participant, track: track.sid.clone(), muted }.into()];
        effects.extend(room.updated(identity, Changed::Tracks));
        Some((track, effects))
    }

    /// The room of a session that is connected.
    pub(crate) fn session_room(&mut self, session: &Session) -> Option<&mut Room> {
        // A request of an older session must not change the newer one.
        let connected = self.is_session(&session.room, &session.identity, &session.sid);
        self.rooms.get_mut(&session.room).filter(|_| connected)
    }

    pub(crate) fn session(&self, session: &Session) -> Option<&Occupant> {
        let occupant = self.rooms.get(&session.room)?.connected(&session.identity)?;
        (occupant.info.sid == session.sid).then_some(occupant)
    }
}

impl Room {
    /// Two updates, as the real server sends them: for the track, and for the participant that has it.
    fn publish(&mut self, identity: &str, track: TrackInfo) -> Result<Vec<Effect>, PublishError> {
        let occupant = self.connected_mut(identity).ok_or(PublishError::Absent)?;
        occupant.publish(track.clone())?;
        let participant = occupant.info.clone();
        self.store();
        let kind = EventKind::TrackPublished;
        let mut effects = vec![Event::about_track(kind, self.snapshot(), &participant, track).into()];
        effects.extend(self.updated(identity, Changed::Tracks));
        if let Some(occupant) = self.connected_mut(identity) {
            occupant.touch();
        }
        effects.extend(self.updated(identity, Changed::Tracks));
        effects.push(self.changed(false));
        Ok(effects)
    }

    fn unpublish(&mut self, identity: &str, track_sid: &str) -> Option<(TrackInfo, Vec<Effect>)> {
        let occupant = self.connected_mut(identity)?;
        let track = occupant.unpublish(track_sid)?;
        let participant = occupant.info.clone();
        self.store();
        let kind = EventKind::TrackUnpublished;
        let event = Event::about_track(kind, self.snapshot(), &participant, track.clone());
        let mut effects = vec![event.into()];
        effects.extend(self.updated(identity, Changed::Tracks));
        effects.push(self.changed(false));
        Some((track, effects))
    }
}
