//! Requests on the socket with special answers.

use std::{sync::Arc, time::Instant};

use livekit_protocol::{
    AddTrackRequest, AudioTrackFeature, DisconnectReason, MuteTrackRequest, SessionDescription, SyncState,
    TrackInfo, TrackPublishedResponse, TrackSource, TrackType, UpdateLocalAudioTrack, UpdateLocalVideoTrack,
    UpdateParticipantMetadata, leave_request::Action, request_response::Reason, signal_request,
    signal_response::Message,
};
use rtc_client::{Client, Track};
use serde_json::json;
use str0m::{
    Rtc, RtcConfig,
    change::SdpOffer,
    media::{Direction, MediaKind},
};

use crate::clients::{PATHS, served, settled};

/// The client's side of a connection, for descriptions that a test writes.
fn rtc() -> Rtc {
    RtcConfig::new().set_crypto_provider(Arc::new(rtc_crypto::provider())).build(Instant::now())
}

fn description(kind: &str, sdp: String) -> SessionDescription {
    SessionDescription { r#type: kind.to_owned(), sdp, id: 1, ..SessionDescription::default() }
}

/// The reasons of all answers to requests so far.
fn reasons(client: &Client) -> Vec<Reason> {
    let reason = |message: &Message| match message {
        Message::RequestResponse(response) => Some(response.reason()),
        _ => None,
    };
    client.seen(|seen| seen.messages.iter().filter_map(|(_, message)| reason(message)).collect())
}

/// The SIDs of the tracks that were accepted under this cid so far.
fn accepted(client: &Client, cid: &str) -> Vec<String> {
    let sid = |message: &Message| match message {
        Message::TrackPublished(published) if published.cid == cid => {
            published.track.as_ref().map(|track| track.sid.clone())
        }
        _ => None,
    };
    client.seen(|seen| seen.messages.iter().filter_map(|(_, message)| sid(message)).collect())
}

#[tokio::test]
async fn second_request_of_a_cid_waits_for_the_first() {
    let served = served().await;
    for path in PATHS {
        let room = format!("queued-{path:?}");
        let ann = Client::join(served.options(&room, "ann").over(path).without_media()).await.unwrap();
        let request = AddTrackRequest {
            cid: "cid".to_owned(),
            r#type: TrackType::Audio as i32,
            source: TrackSource::Microphone as i32,
            ..AddTrackRequest::default()
        };
        for _ in 0..2 {
            ann.request(signal_request::Message::AddTrack(request.clone()));
        }
        settled(&ann).await;
        assert_eq!(reasons(&ann), [Reason::Queued], "{path:?}");
        assert_eq!(accepted(&ann, "cid").len(), 1, "{path:?}");
        let mut rtc = rtc();
        let mut api = rtc.sdp_api();
        let (stream, cid) = (Some("stream".to_owned()), Some("cid".to_owned()));
        api.add_media(MediaKind::Audio, Direction::SendOnly, stream, cid, None);
        let (offer, _) = api.apply().unwrap();
        ann.request(signal_request::Message::Offer(description("offer", offer.to_sdp_string())));
        settled(&ann).await;
        let sids = accepted(&ann, "cid");
        assert_eq!(sids.len(), 2, "the first has a section, so the second is accepted");
        assert_ne!(sids[0], sids[1], "{path:?}");
    }
}

#[tokio::test]
async fn state_with_an_unknown_track_asks_to_join_again() {
    let served = served().await;
    for path in PATHS {
        let room = format!("state-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let track = TrackInfo { sid: "TR_unknown".to_owned(), ..TrackInfo::default() };
        let published = TrackPublishedResponse { cid: "cid".to_owned(), track: Some(track) };
        let state = SyncState { publish_tracks: vec![published], ..SyncState::default() };
        ann.request(signal_request::Message::SyncState(state));
        ann.until("the end", |seen| seen.closed).await.unwrap();
        let leave = ann.seen(|seen| seen.end.clone()).unwrap().leave.unwrap();
        assert_eq!(
            (leave.reason(), leave.action()),
            (DisconnectReason::StateMismatch, Action::Reconnect),
            "{path:?}"
        );
        settled(&bob).await;
        let again = served.client_over(path, &room, "ann").await;
        assert_ne!(again.sid(), ann.sid(), "{path:?}");
    }
}

#[tokio::test]
async fn own_update_is_limited_in_each_field() {
    let served = served().await;
    let ann = served.client_with(PATHS[0], "limits", "ann", &json!({"canUpdateOwnMetadata": true})).await;
    let update = |name: usize, metadata: usize, attribute: usize| UpdateParticipantMetadata {
        name: "n".repeat(name),
        metadata: "m".repeat(metadata),
        attributes: [("k".to_owned(), "a".repeat(attribute))].into(),
        ..UpdateParticipantMetadata::default()
    };
    for (name, metadata, attribute, reason) in [
        (256, 524_288, 65_535, Reason::Ok),
        (257, 1, 1, Reason::LimitExceeded),
        (1, 524_289, 1, Reason::LimitExceeded),
        (1, 1, 65_536, Reason::LimitExceeded),
    ] {
        ann.request(signal_request::Message::UpdateMetadata(update(name, metadata, attribute)));
        settled(&ann).await;
        assert_eq!(reasons(&ann).last(), Some(&reason), "{name} {metadata} {attribute}");
    }
    let info = &served.server.participants("limits")[0];
    assert_eq!((info.name.len(), info.metadata.len(), info.attributes["k"].len()), (256, 524_288, 65_535));
}

/// A valid answer to the server's offer, padded with a line without meaning.
fn padded_answer(client: &Client, length: usize) -> String {
    let offer = client.seen(|seen| {
        seen.find(|message| match message {
            Message::Offer(offer) => Some(offer.sdp.clone()),
            _ => None,
        })
    });
    let offer = SdpOffer::from_sdp_string(&offer.unwrap()).unwrap();
    let mut sdp = rtc().sdp_api().accept_offer(offer).unwrap().to_sdp_string();
    let padding = length - sdp.len() - "a=x-padding:\r\n".len();
    sdp += &["a=x-padding:", &"x".repeat(padding), "\r\n"].concat();
    assert_eq!(sdp.len(), length);
    sdp
}

#[tokio::test]
async fn answer_over_256_kib_ends_one_connection_only() {
    let served = served().await;
    let bob = served.client("answer", "bob").await;
    let limit = 256 * 1024;
    for (length, closed) in [(limit, false), (limit + 1, true)] {
        let options = served.options("answer", "ann").over(rtc_client::SignalPath::V0).without_media();
        let ann = Client::join(options).await.unwrap();
        settled(&ann).await;
        let answer = padded_answer(&ann, length);
        ann.request(signal_request::Message::Answer(description("answer", answer)));
        if closed {
            ann.until("the end", |seen| seen.closed).await.unwrap();
        } else {
            settled(&ann).await;
        }
    }
    settled(&bob).await;
}

/// A valid offer, padded with a line without meaning.
fn padded_offer(length: usize) -> String {
    let mut rtc = rtc();
    let mut api = rtc.sdp_api();
    api.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
    let mut sdp = api.apply().unwrap().0.to_sdp_string();
    let padding = length - sdp.len() - "a=x-padding:\r\n".len();
    sdp += &["a=x-padding:", &"x".repeat(padding), "\r\n"].concat();
    sdp
}

#[tokio::test]
async fn offer_over_256_kib_ends_one_connection_only() {
    let served = served().await;
    let bob = served.client("offer", "bob").await;
    let limit = 256 * 1024;
    for path in PATHS {
        for (length, closed) in [(limit, false), (limit + 1, true)] {
            let ann = Client::join(served.options("offer", "ann").over(path).without_media()).await.unwrap();
            ann.request(signal_request::Message::Offer(description("offer", padded_offer(length))));
            if closed {
                ann.until("the end", |seen| seen.closed).await.unwrap();
            } else {
                settled(&ann).await;
            }
        }
    }
    settled(&bob).await;
}

#[tokio::test]
async fn change_of_an_own_track_reaches_others() {
    let served = served().await;
    for path in PATHS {
        let room = format!("tracks-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let microphone = ann.publish(Track::microphone()).await.unwrap();
        let screen = ann.publish(Track::screen()).await.unwrap();
        bob.until("both", |seen| seen.others.get("ann").is_some_and(|ann| ann.tracks.len() == 2))
            .await
            .unwrap();
        let features = vec![AudioTrackFeature::TfNoiseSuppression as i32];
        ann.request(signal_request::Message::UpdateAudioTrack(UpdateLocalAudioTrack {
            track_sid: microphone.sid.clone(),
            features: features.clone(),
        }));
        ann.request(signal_request::Message::UpdateVideoTrack(UpdateLocalVideoTrack {
            track_sid: screen.sid.clone(),
            width: 77,
            height: 55,
        }));
        let changed = |track: &TrackInfo| {
            (track.sid == microphone.sid && track.audio_features == features)
                || (track.sid == screen.sid && (track.width, track.height) == (77, 55))
        };
        bob.until("the changes", |seen| seen.others["ann"].tracks.iter().all(changed)).await.unwrap();
    }
}

#[tokio::test]
async fn unsupported_track_is_refused() {
    let served = served().await;
    for path in PATHS {
        let room = format!("refused-{path:?}");
        let ann = Client::join(served.options(&room, "ann").over(path).without_media()).await.unwrap();
        let data =
            AddTrackRequest { cid: "d".to_owned(), r#type: TrackType::Data as i32, ..Default::default() };
        ann.request(signal_request::Message::AddTrack(data));
        let mute = MuteTrackRequest { sid: "TR_unknown".to_owned(), muted: true };
        ann.request(signal_request::Message::Mute(mute));
        settled(&ann).await;
        assert_eq!(reasons(&ann), [Reason::UnsupportedType, Reason::NotFound], "{path:?}");
    }
}

#[tokio::test]
async fn message_over_2_mib_ends_one_connection_only() {
    let served = served().await;
    for path in PATHS {
        let room = format!("message-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let limit = 2 * 1024 * 1024;
        let of = |metadata: usize| {
            let metadata = "m".repeat(metadata);
            let update = UpdateParticipantMetadata { metadata, ..UpdateParticipantMetadata::default() };
            signal_request::Message::UpdateMetadata(update)
        };
        ann.request(of(limit - 100));
        settled(&ann).await;
        assert_eq!(reasons(&ann), [Reason::NotAllowed], "{path:?}");
        ann.request(of(limit));
        ann.until("the end", |seen| seen.closed).await.unwrap();
        settled(&bob).await;
        ann.resume().await.unwrap();
    }
}
