//! What clients ask for on their sockets.

use livekit_protocol::{
    DisconnectReason, LeaveRequest, Pong, RequestResponse, SimulateScenario, TrackInfo,
    UpdateLocalAudioTrack, UpdateLocalVideoTrack, UpdateParticipantMetadata, UpdateTrackSettings,
    request_response::{Reason, Request},
    signal_request,
    signal_response::Message,
    simulate_scenario::Scenario,
};

use super::{client::Sid, engine::Engine, layers::Wanted};
use crate::{
    clock::{self, ClockHandle},
    limits,
    state::participants::ClaimsUpdate,
};

impl Engine {
    pub(super) fn request(&mut self, sid: &Sid, request: signal_request::Message) {
        use signal_request::Message as Asked;
        match request {
            Asked::Offer(offer) => self.offer(sid, &offer),
            Asked::Answer(answer) => self.answer(sid, &answer),
            Asked::AddTrack(request) => self.add_track(sid, request),
            Asked::Mute(mute) => self.mute(sid, &mute.sid, mute.muted),
            Asked::Subscription(update) => self.update_subscription(sid, &update),
            Asked::TrackSetting(settings) => self.settings(sid, &settings),
            Asked::Leave(leave) => self.client_leaves(sid, &leave),
            Asked::SubscriptionPermission(permission) => self.subscription_permission(sid, permission),
            Asked::SyncState(state) => self.sync_state(sid, &state),
            Asked::Simulate(scenario) => self.simulate(sid, &scenario),
            // The time of the server, not an echo.
            Asked::Ping(_) => self.send(sid, Message::Pong(clock::wall_ms())),
            Asked::PingReq(asked) => {
                let answer = Pong { last_ping_timestamp: asked.timestamp, timestamp: clock::wall_ms() };
                self.send(sid, Message::PongResp(answer));
            }
            Asked::UpdateMetadata(update) => self.update_metadata(sid, update),
            Asked::UpdateAudioTrack(update) => self.update_audio(sid, &update),
            Asked::UpdateVideoTrack(update) => self.update_video(sid, &update),
            // Candidates come with the packets themselves; the rest is not played here.
            _ => {}
        }
    }

    pub(super) fn respond(
        &mut self,
        sid: &Sid,
        request_id: u32,
        reason: Reason,
        text: &str,
        request: Option<Request>,
    ) {
        let message = text.to_owned();
        let response = RequestResponse { request_id, reason: reason as i32, message, request };
        self.send_later(sid, Message::RequestResponse(response));
    }

    /// Clients may say that much about themselves. The other reasons are those of the server.
    fn client_leaves(&mut self, sid: &Sid, leave: &LeaveRequest) {
        let reason = match leave.reason() {
            reason @ (DisconnectReason::UserUnavailable
            | DisconnectReason::UserRejected
            | DisconnectReason::AgentError) => reason,
            // A client cannot claim a reason of the server, such as a removal.
            _ => DisconnectReason::ClientInitiated,
        };
        self.leave(sid, reason);
    }

    fn settings(&mut self, sid: &Sid, settings: &UpdateTrackSettings) {
        let UpdateTrackSettings { disabled, quality, height, .. } = *settings;
        self.track_setting(sid, &settings.track_sids, Wanted { disabled, quality, height });
    }

    fn update_metadata(&mut self, sid: &Sid, update: UpdateParticipantMetadata) {
        let Some(client) = self.clients.get(sid) else { return };
        let (id, echo) = (update.request_id, Request::UpdateMetadata(update.clone()));
        if let Some((reason, text)) = unwelcome(client.permission().can_update_metadata, &update) {
            return self.respond(sid, id, reason, text, Some(echo));
        }
        let session = client.session.clone();
        let UpdateParticipantMetadata { name, metadata, attributes, .. } = update;
        let claims = ClaimsUpdate { name, metadata, attributes, permission: None };
        // The world sends the update to everyone, and this client gets its answer after it.
        self.server.change(|world, _| ((), world.update_claims(&session, claims)));
        self.respond(sid, id, Reason::Ok, "", Some(echo));
    }

    fn update_audio(&mut self, sid: &Sid, update: &UpdateLocalAudioTrack) {
        self.update_info(sid, &update.track_sid, |info| info.audio_features.clone_from(&update.features));
    }

    fn update_video(&mut self, sid: &Sid, update: &UpdateLocalVideoTrack) {
        self.update_info(sid, &update.track_sid, |info| {
            info.width = update.width;
            info.height = update.height;
        });
    }

    fn update_info(&mut self, sid: &Sid, track: &str, update: impl FnOnce(&mut TrackInfo)) {
        let Some(client) = self.clients.get(sid) else { return };
        let session = client.session.clone();
        self.server.change(|world, _| ((), world.update_track(&session, track, update).unwrap_or_default()));
    }

    /// For tests of clients.
    fn simulate(&mut self, sid: &Sid, scenario: &SimulateScenario) {
        match scenario.scenario {
            Some(Scenario::ServerLeave(true)) => self.leave(sid, DisconnectReason::ServerShutdown),
            Some(Scenario::NodeFailure(true)) => self.leave_silently(sid, DisconnectReason::ServerShutdown),
            Some(Scenario::Migration(true)) => self.leave_silently(sid, DisconnectReason::Migration),
            Some(Scenario::DisconnectSignalOnResume(true)) => {
                if let Some(client) = self.clients.get_mut(sid) {
                    client.cut();
                }
            }
            // The real server does nothing about the others either.
            _ => {}
        }
    }

    /// The socket is closed without a leave, and the session is over.
    fn leave_silently(&mut self, sid: &Sid, reason: DisconnectReason) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        // Dropped without `leave`, as when a node dies.
        client.outgoing = None;
        let session = client.session.clone();
        let now_s = self.server.clock().now_s(ClockHandle::Rooms);
        self.server.change(|world, _| ((), world.drop_out(&session, reason, now_s)));
    }
}

/// None: the update is welcome.
fn unwelcome(allowed: bool, update: &UpdateParticipantMetadata) -> Option<(Reason, &'static str)> {
    let attributes: usize = update.attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    if !allowed {
        Some((Reason::NotAllowed, "does not have permission to update own metadata"))
    } else if update.name.len() > limits::NAME {
        Some((Reason::LimitExceeded, "exceeds name length limit"))
    } else if update.metadata.len() > limits::METADATA {
        Some((Reason::LimitExceeded, "exceeds metadata size limit"))
    } else if attributes > limits::ATTRIBUTES {
        Some((Reason::LimitExceeded, "exceeds attributes size limit"))
    } else {
        None
    }
}
