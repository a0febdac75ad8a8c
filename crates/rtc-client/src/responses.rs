//! Handles the messages of the server.

use livekit_protocol::{
    ParticipantInfo, SessionDescription, SignalTarget, TrackPublishedResponse, TrickleRequest,
    participant_info, request_response, signal_request, signal_response,
};
use serde_json::Value;

use crate::connect::description;
use crate::engine::Engine;
use crate::observed::End;
use crate::transport::Transport;
use crate::{Error, SignalPath};

impl Engine {
    pub fn on_message(&mut self, message: signal_response::Message) {
        let socket = self.socket_number;
        // Before the message is handled, so that a test that observes its effect also finds the message.
        self.shared.change(|seen| seen.messages.push((socket, message.clone())));
        match message {
            signal_response::Message::Join(join) => self.on_join(join),
            signal_response::Message::Answer(answer) => self.on_answer(answer),
            signal_response::Message::Offer(offer) => self.on_offer(&offer),
            signal_response::Message::Trickle(trickle) => self.on_trickle(&trickle),
            signal_response::Message::TrackPublished(published) => self.on_published(published),
            signal_response::Message::Update(update) => {
                for info in update.participants {
                    self.on_participant(info);
                }
            }
            signal_response::Message::RoomUpdate(update) => {
                self.shared.change(|seen| seen.room = update.room.unwrap_or_default());
            }
            signal_response::Message::RefreshToken(token) => {
                self.shared.change(|seen| seen.refreshed_token = Some(token));
            }
            signal_response::Message::MediaSectionsRequirement(missing) => {
                self.wanted.audios += missing.num_audios;
                self.wanted.videos += missing.num_videos;
                self.wanted.offer = true;
            }
            // SDKs answer a mute of the server with their own.
            signal_response::Message::Mute(mute) => self.mute(mute.sid, mute.muted),
            signal_response::Message::TrackUnpublished(gone) if !self.options.keeps_unpublished => {
                self.unpublish(&gone.track_sid);
            }
            signal_response::Message::SubscribedQualityUpdate(update) => {
                if let Some(track) = self.track(&update.track_sid) {
                    track.set_qualities(&update);
                }
            }
            signal_response::Message::RequestResponse(response) => self.on_refused(response),
            signal_response::Message::Leave(leave) => {
                self.shared.change(|seen| seen.end = Some(End { leave: Some(leave), code: None }));
            }
            _ => {}
        }
    }

    fn on_join(&mut self, join: livekit_protocol::JoinResponse) {
        self.subscriber_primary = join.subscriber_primary;
        // Over `/rtc` the server says whether the client may offer before it publishes.
        if self.options.path == SignalPath::V0 && join.fast_publish {
            self.wanted.offer = true;
        }
        self.shared.change(|seen| {
            seen.room = join.room.unwrap_or_default();
            seen.participant = join.participant.unwrap_or_default();
            seen.others =
                join.other_participants.into_iter().map(|info| (info.identity.clone(), info)).collect();
        });
    }

    fn on_participant(&mut self, info: ParticipantInfo) {
        self.shared.change(|seen| {
            if info.sid == seen.participant.sid {
                seen.participant = info;
            } else if info.state() == participant_info::State::Disconnected {
                // SDKs identify participants by identity: whatever session ended, the participant is removed.
                seen.others.remove(&info.identity);
                // An older session of this client has its own identity, and is not one of the others.
            } else if info.identity != seen.participant.identity {
                seen.others.insert(info.identity.clone(), info);
            }
        });
    }

    fn on_answer(&mut self, answer: SessionDescription) {
        // Without media the client stays JOINED; an answer would start ICE.
        if !self.options.media {
            return;
        }
        let first = self.last_answer.is_none();
        if let Err(error) = self.publisher.accept_answer(&answer.sdp) {
            tracing::warn!(%error, "answer refused");
            return;
        }
        if self.options.path == SignalPath::V1 {
            self.remember_sections(&answer);
        }
        self.last_answer = Some(answer.sdp);
        if first {
            self.trickle();
            self.permit_subscriptions();
        }
    }

    fn on_offer(&mut self, offer: &SessionDescription) {
        let Some(subscriber) = self.subscriber.as_mut().filter(|_| self.options.media) else { return };
        match subscriber.accept_offer(&offer.sdp) {
            Ok(answer) => {
                self.outbox.push(signal_request::Message::Answer(description("answer", answer, offer.id)));
                self.remember_sections(offer);
            }
            Err(error) => tracing::warn!(%error, "offer refused"),
        }
    }

    fn remember_sections(&mut self, description: &SessionDescription) {
        let sections = description.mid_to_track_id.clone().into_iter().collect();
        self.shared.change(|seen| seen.sections = sections);
        if self.options.path == SignalPath::V0 {
            return;
        }
        let own: Vec<_> = self.tracks.iter().filter_map(|track| track.mid).collect();
        for line in description.sdp.lines() {
            let Some(mid) = line.strip_prefix("a=mid:").map(str0m::media::Mid::from) else { continue };
            // Sections of this client's own tracks are not for receiving, also when they are inactive.
            if !own.contains(&mid) && !self.sent_mids.contains(&mid) && !self.received_mids.contains(&mid) {
                self.received_mids.push(mid);
            }
        }
    }

    fn on_trickle(&mut self, trickle: &TrickleRequest) {
        let init: Value = serde_json::from_str(&trickle.candidate_init).unwrap_or_default();
        let Some(candidate) = init.get("candidate").and_then(Value::as_str) else { return };
        let transport: Option<&mut Transport> = match trickle.target() {
            SignalTarget::Publisher => Some(&mut self.publisher),
            SignalTarget::Subscriber => self.subscriber.as_mut(),
        };
        if let Some(transport) = transport {
            transport.add_candidate(candidate.to_owned());
        }
    }

    fn on_published(&mut self, published: TrackPublishedResponse) {
        let Some(info) = published.track else { return };
        // By cid: the sid is known only from this answer.
        let Some(track) = self.tracks.iter_mut().find(|track| track.cid == published.cid) else { return };
        track.sid = Some(info.sid.clone());
        track.info = Some(info.clone());
        if let Some(reply) = track.reply.take() {
            let _ = reply.send(Ok(info));
        }
        // Now the server can match the section, so the offer may contain it.
        self.wanted.offer = true;
    }

    fn on_refused(&mut self, response: livekit_protocol::RequestResponse) {
        let Some(request_response::Request::AddTrack(refused)) = &response.request else { return };
        let Some(at) = self.tracks.iter().position(|track| track.cid == refused.cid) else { return };
        // Queued is no refusal: the server answers later.
        if response.reason() == request_response::Reason::Queued {
            return;
        }
        if let Some(reply) = self.tracks.remove(at).reply {
            let _ = reply.send(Err(Error::Request(Box::new(response))));
        }
    }

    pub fn on_closed(&mut self, code: Option<u16>) {
        self.socket = None;
        self.shared.change(|seen| {
            // A `leave` may have come before the close. It keeps its reason and gets the code.
            let end = seen.end.get_or_insert(End { leave: None, code });
            end.code = end.code.or(code);
            seen.closed = true;
        });
    }
}
