//! Handles the commands of the handle, and sends the offers that result from them.

use std::pin::Pin;

use livekit_protocol::{
    DataChannelInfo, MuteTrackRequest, Ping, SubscriptionPermission, SyncState, TrackPublishedResponse,
    TrickleRequest, UpdateSubscription, signal_request, signal_response,
};
use serde_json::json;
use str0m::media::{Direction, MediaKind, Mid};

use crate::connect::{self, description};
use crate::engine::{Command, Engine, Reply};
use crate::publish::Outgoing;
use crate::socket::Socket;
use crate::transport::add_channels;
use crate::{Error, SignalPath};

/// A new socket and its first message.
type Resumed = Result<(Socket, signal_response::Message), Error>;

/// A resume that waits for the server.
pub struct Resuming {
    work: Pin<Box<dyn Future<Output = Resumed> + Send>>,
    reply: Reply<()>,
}

/// Waits for the running resume; forever without one.
pub async fn resumed(resuming: &mut Option<Resuming>) -> Resumed {
    match resuming {
        Some(resuming) => resuming.work.as_mut().await,
        None => std::future::pending().await,
    }
}

impl Engine {
    pub async fn on_command(&mut self, command: Command) {
        match command {
            Command::Request(message) => self.outbox.push(*message),
            Command::Publish(track, reply) => {
                let outgoing = Outgoing::new(*track, reply);
                self.outbox.push(signal_request::Message::AddTrack(outgoing.request()));
                // Added at once, although it has no sid yet: the answer is matched by its cid.
                self.tracks.push(outgoing);
            }
            Command::Unpublish(sid) => self.unpublish(&sid),
            Command::Mute(sid, muted) => self.mute(sid, muted),
            Command::Level(sid, level) => {
                if let Some(track) = self.track(&sid) {
                    track.set_level(level);
                }
            }
            Command::Data(packet, reliable) => self.send_data(*packet, reliable),
            Command::Garbage(bytes) => {
                if let Some(socket) = &mut self.socket {
                    let _ = socket.send_garbage(bytes).await;
                }
            }
            Command::Resume(options, reply) => {
                self.options = *options;
                self.resume(reply);
            }
            Command::CutSocket { close_frame } => {
                // Taken, so that it is dropped without a close frame unless one was asked for.
                if let Some(mut socket) = self.socket.take()
                    && close_frame
                {
                    let _ = socket.close().await;
                }
                self.on_closed(None);
            }
            Command::Udp(on) => self.set_udp(on),
        }
    }

    pub fn track(&mut self, sid: &str) -> Option<&mut Outgoing> {
        self.tracks.iter_mut().find(|track| track.sid.as_deref() == Some(sid))
    }

    /// Unpublishes a track. There is no message for it: the next offer removes the section.
    pub fn unpublish(&mut self, sid: &str) {
        if let Some(track) = self.track(sid) {
            track.removed = true;
            self.wanted.offer = true;
        }
    }

    pub fn mute(&mut self, sid: String, muted: bool) {
        if let Some(track) = self.track(&sid) {
            track.muted = muted;
            // A receiver cannot decode what comes after a pause without a key frame.
            track.keyframe_wanted(None);
        }
        self.outbox.push(signal_request::Message::Mute(MuteTrackRequest { sid, muted }));
    }

    /// Starts a resume. Media continues meanwhile, and other commands wait.
    fn resume(&mut self, reply: Reply<()>) {
        self.socket = None;
        let sid = self.shared.read(|seen| seen.participant.sid.clone());
        let options = self.options.clone();
        let work = Box::pin(async move { connect::resume(&options, &sid).await });
        self.resuming = Some(Resuming { work, reply });
    }

    pub async fn on_resumed(&mut self, resumed: Resumed) {
        let Some(resuming) = self.resuming.take() else { return };
        // An error means that the caller no longer waits.
        let _ = resuming.reply.send(resumed.and_then(|(socket, first)| self.continue_on(socket, first)));
        // Stops at a deferred resume; commands after it wait for that one.
        while self.resuming.is_none()
            && let Some(command) = self.deferred.pop_front()
        {
            self.on_command(command).await;
        }
    }

    fn continue_on(&mut self, socket: Socket, first: signal_response::Message) -> Result<(), Error> {
        self.socket = Some(socket);
        self.socket_number += 1;
        self.shared.change(|seen| (seen.end, seen.closed) = (None, false));
        let signal_response::Message::Reconnect(reconnect) = &first else {
            return Err(Error::UnexpectedMessage);
        };
        // Read before `on_message` takes the message.
        let last = reconnect.last_message_seq;
        self.on_message(first);
        self.outbox.push(signal_request::Message::SyncState(self.sync_state()));
        self.permit_subscriptions();
        // A resume restarts ICE, and only an offer can say so. Without media there is nothing to restart.
        (self.wanted.offer, self.wanted.restart) = (self.publisher.started(), true);
        self.replay_after(last);
        Ok(())
    }

    fn sync_state(&self) -> SyncState {
        let published = self.tracks.iter().filter(|track| !track.removed && track.mid.is_some());
        let channels = ["_lossy", "_reliable"];
        SyncState {
            answer: self.last_answer.clone().map(|sdp| description("answer", sdp, 0)),
            offer: self.last_offer.clone().map(|sdp| description("offer", sdp, 0)),
            subscription: Some(UpdateSubscription::default()),
            publish_tracks: published
                .map(|track| TrackPublishedResponse { cid: track.cid.clone(), track: track.info.clone() })
                .collect(),
            data_channels: channels
                .into_iter()
                .map(|label| DataChannelInfo { label: label.to_owned(), ..DataChannelInfo::default() })
                .collect(),
            ..SyncState::default()
        }
    }

    pub fn permit_subscriptions(&mut self) {
        let all = SubscriptionPermission { all_participants: true, ..SubscriptionPermission::default() };
        self.outbox.push(signal_request::Message::SubscriptionPermission(all));
    }

    /// Sends the next offer, if one is needed and no offer waits for its answer.
    pub fn negotiate(&mut self) {
        if !self.wanted.offer || self.publisher.negotiating() || !self.options.media || self.socket.is_none()
        {
            return;
        }
        let wanted = std::mem::take(&mut self.wanted);
        let receiving = self.options.path == SignalPath::V1;
        let sections: Vec<(Mid, Direction)> = self.receive_sections();
        // Preferably a section without a track: its direction changes for a moment below.
        let free = sections.iter().map(|(mid, _)| *mid).find(|mid| !self.carries(*mid));
        let (tracks, channels) = (&mut self.tracks, !self.channels_offered);
        let offer = self.publisher.offer(|api| {
            if channels {
                add_channels(api);
            }
            for track in tracks.iter_mut().filter(|track| track.sid.is_some()) {
                match track.mid {
                    None if !track.removed => track.add_section(api),
                    Some(mid) if track.removed => api.set_direction(mid, Direction::Inactive),
                    _ => {}
                }
            }
            for (mid, direction) in &sections {
                if *direction != Direction::RecvOnly {
                    api.set_direction(*mid, Direction::RecvOnly);
                }
            }
            for (kind, count) in [(MediaKind::Audio, wanted.audios), (MediaKind::Video, wanted.videos)] {
                for _ in 0..count {
                    api.add_media(kind, Direction::RecvOnly, None, None, None);
                }
            }
            if wanted.restart {
                api.ice_restart(true);
            }
            // The server waits for an offer even when nothing changes.
            if receiving
                && !api.has_changes()
                && let Some(mid) = free.or(sections.first().map(|(mid, _)| *mid))
            {
                api.set_direction(mid, Direction::Inactive);
                api.set_direction(mid, Direction::RecvOnly);
            }
        });
        self.channels_offered = true;
        // Kept after a track was removed, so that its section is never taken for one that receives.
        self.sent_mids =
            self.tracks.iter().filter_map(|track| track.mid).chain(self.sent_mids.drain(..)).collect();
        self.sent_mids.sort_unstable();
        self.sent_mids.dedup();
        // Only now, because the offer above had to make their sections inactive.
        self.tracks.retain(|track| !track.removed);
        let Some(sdp) = offer else { return };
        self.offers += 1;
        self.last_offer = Some(sdp.clone());
        self.outbox.push(signal_request::Message::Offer(description("offer", sdp, self.offers)));
        if wanted.restart {
            self.trickle();
        }
    }

    /// The sections in which this client only receives, with their current direction.
    fn receive_sections(&self) -> Vec<(Mid, Direction)> {
        let own: Vec<Mid> = self.tracks.iter().filter_map(|track| track.mid).collect();
        self.received_mids
            .iter()
            .filter(|mid| !own.contains(mid))
            .filter_map(|mid| Some((*mid, self.publisher.rtc.media(*mid)?.direction())))
            .collect()
    }

    fn carries(&self, mid: Mid) -> bool {
        self.shared.read(|seen| seen.sections.contains_key(&mid.to_string()))
    }

    /// Sends this client's address to the server; the SDP contains it too.
    pub fn trickle(&mut self) {
        let Some(candidate) = self.publisher.local_candidate() else { return };
        let init = json!({"candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0});
        let trickle = TrickleRequest { candidate_init: init.to_string(), ..TrickleRequest::default() };
        self.outbox.push(signal_request::Message::Trickle(trickle));
    }

    pub fn ping(&mut self) {
        self.pings += 1;
        self.outbox.push(signal_request::Message::Ping(self.pings));
        // Servers answer the form that they know.
        self.outbox.push(signal_request::Message::PingReq(Ping { timestamp: self.pings, rtt: 0 }));
    }
}
