//! Two connections exchange data and RTP: SDP, ICE, DTLS, SCTP and SRTP with our primitives on both sides.

use std::time::Instant;

use str0m::Event;
use str0m::channel::ChannelConfig;
use str0m::config::DtlsVersion;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::rtp::RtpWrite;

use crate::peers::Peers;

#[test]
fn data_crosses_both_ways() {
    let mut peers = Peers::new(|config| config);
    let channel = peers.negotiate(|api| {
        api.add_channel_with_config(ChannelConfig { label: "_reliable".into(), ..ChannelConfig::default() })
    });
    peers.until("channel open on both sides", |peers| {
        let open = |event: &Event| matches!(event, Event::ChannelOpen(_, label) if label == "_reliable");
        peers.left.events.iter().any(open) && peers.right.events.iter().any(open)
    });
    let long = vec![7; 60_000];
    assert!(peers.left.rtc.channel(channel).unwrap().write(true, &long).unwrap());
    peers.left.drain();
    peers.until("60 kB on the right", |peers| {
        peers.right.events.iter().any(|event| matches!(event, Event::ChannelData(data) if data.data == long))
    });
    let opened = peers.right.events.iter().find_map(|event| match event {
        Event::ChannelOpen(id, _) => Some(*id),
        _ => None,
    });
    assert!(peers.right.rtc.channel(opened.unwrap()).unwrap().write(false, b"answer").unwrap());
    peers.right.drain();
    peers.until("answer on the left", |peers| {
        peers
            .left
            .events
            .iter()
            .any(|event| matches!(event, Event::ChannelData(data) if data.data == b"answer"))
    });
}

#[test]
fn rtp_crosses_both_ways_with_ice_lite() {
    let mut peers = Peers::new(|config| config.set_ice_lite(true));
    let mids = peers.negotiate(|api| {
        [MediaKind::Audio, MediaKind::Video]
            .map(|kind| api.add_media(kind, Direction::SendRecv, None, None, None))
    });
    connect(&mut peers);
    for mid in mids {
        send(&mut peers, true, mid, b"from the left");
        send(&mut peers, false, mid, b"from the right");
    }
    peers.until("two packets on each side", |peers| {
        payloads(&peers.right.events, b"from the left") == 2
            && payloads(&peers.left.events, b"from the right") == 2
    });
}

/// Packets on the wire cannot be read or changed.
#[test]
fn changed_rtp_packet_is_dropped() {
    let mut peers = Peers::new(|config| config);
    let mid = peers.negotiate(|api| api.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None));
    connect(&mut peers);
    peers.wire = |packet| {
        let rtp = (128..192).contains(&packet[0]) && !(192..224).contains(&packet[1]);
        assert!(!packet.windows(6).any(|bytes| bytes == b"secret"), "payload is readable on the wire");
        if rtp {
            *packet.last_mut().unwrap() ^= 1;
        }
    };
    send(&mut peers, true, mid, b"secret");
    for _ in 0..100 {
        peers.step();
    }
    assert_eq!(payloads(&peers.right.events, b"secret"), 0);
}

/// A server whose key differs from the fingerprint in its SDP is refused.
#[test]
fn certificate_must_match_the_fingerprint() {
    let mut peers = Peers::new(|config| config);
    let mut api = peers.left.rtc.sdp_api();
    api.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
    let (offer, pending) = api.apply().unwrap();
    peers.left.drain();
    let answer = peers.right.rtc.sdp_api().accept_offer(offer).unwrap().to_sdp_string();
    peers.right.drain();
    let at = answer.find("a=fingerprint:sha-256 ").unwrap() + "a=fingerprint:sha-256 ".len();
    let digit = if answer[at..].starts_with('0') { "1" } else { "0" };
    let forged = format!("{}{digit}{}", &answer[..at], &answer[at + 1..]);
    let answer = str0m::change::SdpAnswer::from_sdp_string(&forged).unwrap();
    peers.left.rtc.sdp_api().accept_answer(pending, answer).unwrap();
    peers.left.drain();
    peers.until("an error on the left", |peers| peers.left.error.is_some());
    assert!(!peers.left.events.iter().any(|event| matches!(event, Event::Connected)));
}

/// The offerer leaves the choice, and the answerer becomes the client.
#[test]
fn dtls_role_is_the_one_that_was_set() {
    let provider = rtc_crypto::provider().dtls_provider;
    let certificate = provider.generate_certificate().unwrap();
    for active in [true, false] {
        let mut dtls = provider.new_dtls(&certificate, Instant::now(), DtlsVersion::Dtls12, None).unwrap();
        dtls.set_active(active);
        assert_eq!(dtls.is_active(), active, "active: {active}");
    }
}

fn connect(peers: &mut Peers) {
    peers.until("connected", |peers| {
        let connected = |event: &Event| matches!(event, Event::Connected);
        peers.left.events.iter().any(connected) && peers.right.events.iter().any(connected)
    });
}

fn send(peers: &mut Peers, from_left: bool, mid: Mid, payload: &[u8]) {
    let now = peers.now;
    let peer = if from_left { &mut peers.left } else { &mut peers.right };
    let pt = peer.rtc.media(mid).unwrap().remote_pts()[0];
    let mut api = peer.rtc.direct_api();
    let stream = api.stream_tx_by_mid(mid, None).unwrap();
    stream.write_rtp(RtpWrite::new(pt, 1000.into(), 90_000, now, payload.to_vec()));
    peer.drain();
}

fn payloads(events: &[Event], payload: &[u8]) -> usize {
    events
        .iter()
        .filter(|event| matches!(event, Event::RtpPacket(packet) if *packet.payload == *payload))
        .count()
}
