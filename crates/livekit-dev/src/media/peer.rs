//! One peer connection: str0m's `Rtc`, its data channels, and what must be kept for each media section.
//!
//! str0m's rule is that every change of an `Rtc` is followed by polling it until it has nothing more to do. Code that
//! changes a peer marks it with `Engine::touch`, and the engine polls it before anything else changes it.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use str0m::{
    Candidate, Event, Input, Output, Rtc, RtcConfig, RtcError,
    change::{SdpAnswer, SdpOffer, SdpPendingOffer},
    channel::ChannelId,
    crypto::CryptoProvider,
    format::{Codec, PayloadParams},
    media::{KeyframeRequestKind, Mid, Pt, Rid},
    net::{Protocol, Receive},
    rtp::{RtpPacket, RtpWrite},
};

use super::{
    network::{Arrived, Network},
    rewrite::Rewriter,
};

/// The largest message on a data channel, in bytes.
const DATA_MESSAGE: u32 = 65_535;

/// Bytes that wait for one reliable channel. Beyond, the client is too slow for its room.
const DATA_WAITING: usize = 16 * 1024 * 1024;

/// What str0m keeps for all channels of a connection, in bytes. It takes no message that is larger.
const CHANNEL_BUFFER: usize = 128 * 1024;

/// How often a peer without news looks for work.
const IDLE: Duration = Duration::from_secs(1);

/// How many times in a row a peer is served that wants attention at once.
const ROUNDS: usize = 32;

/// Lossy messages that wait for one channel: one datagram of a sender may bring so many at once.
const LOSSY_WAITING: usize = 256;

/// Something that happened on a peer connection.
#[derive(Debug)]
pub(super) enum Happened {
    Connected,
    Rtp(Box<RtpPacket>),
    Data { label: String, bytes: Vec<u8> },
    KeyframeWanted(Mid),
}

pub(super) struct Peer {
    pub rtc: Rtc,
    pub connected: bool,
    /// When it wants attention without any packet.
    pub deadline: Instant,
    pub last_packet: Instant,
    /// Packets are dropped both ways: a fault.
    pub dead: bool,
    /// Continues over all tracks of a section: receivers drop what starts again.
    pub rewriters: HashMap<Mid, Rewriter>,
    channels: HashMap<String, ChannelId>,
    labels: HashMap<ChannelId, String>,
    waiting: HashMap<String, VecDeque<Arc<[u8]>>>,
    waiting_bytes: usize,
}

impl Peer {
    pub(super) fn new(crypto: &Arc<CryptoProvider>, network: &Network, h264: bool, now: Instant) -> Self {
        let config = RtcConfig::new()
            .set_crypto_provider(Arc::clone(crypto))
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .enable_h264(h264)
            .set_rtp_mode(true)
            .set_ice_lite(true)
            .enable_bwe(None)
            .set_stats_interval(None)
            .set_sctp_max_message_size(DATA_MESSAGE);
        let mut rtc = config.build(now);
        for address in network.addresses() {
            if let Ok(candidate) = Candidate::host(address, "udp") {
                rtc.add_local_candidate(candidate);
            }
        }
        Self {
            rtc,
            connected: false,
            deadline: now,
            last_packet: now,
            dead: false,
            rewriters: HashMap::new(),
            channels: HashMap::new(),
            labels: HashMap::new(),
            waiting: HashMap::new(),
            waiting_bytes: 0,
        }
    }

    /// Whether the packet is for this connection.
    pub(super) fn accepts(&self, arrived: &Arrived, bytes: &[u8], now: Instant) -> bool {
        let accepts = |rtc: &Rtc| input(arrived, bytes, now).is_some_and(|input| rtc.accepts(&input));
        self.rtc.is_alive() && catch_unwind(AssertUnwindSafe(|| accepts(&self.rtc))).unwrap_or_default()
    }

    /// The peer must have been polled before.
    pub(super) fn receive(&mut self, arrived: &Arrived, bytes: &[u8], now: Instant) {
        if self.dead {
            return;
        }
        self.last_packet = now;
        if let Some(input) = input(arrived, bytes, now) {
            self.handle(input);
        }
    }

    /// Every change of the connection goes through here.
    pub(super) fn guard<T>(&mut self, change: impl FnOnce(&mut Rtc) -> Result<T, RtcError>) -> Option<T> {
        guarded(&mut self.rtc, change)
    }

    pub(super) fn panicked(&mut self) {
        tracing::error!("peer connection panicked");
        self.disconnect();
    }

    fn changed<T>(&mut self, change: impl FnOnce(&mut Rtc) -> Option<T>) -> Option<T> {
        self.guard(|rtc| Ok(change(rtc))).flatten()
    }

    /// What waits is never sent.
    fn disconnect(&mut self) {
        self.rtc.disconnect();
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    fn handle(&mut self, input: Input<'_>) {
        self.guard(|rtc| rtc.handle_input(input));
    }

    /// Sends what is due, and returns what happened.
    pub(super) fn poll(&mut self, network: &Network, now: Instant) -> Vec<Happened> {
        let mut happened = Vec::new();
        for _ in 0..ROUNDS {
            self.write_waiting();
            self.deadline = self.poll_once(network, now, &mut happened);
            if !self.rtc.is_alive() || self.deadline > now {
                break;
            }
            self.handle(Input::Timeout(now));
        }
        happened
    }

    fn poll_once(&mut self, network: &Network, now: Instant, happened: &mut Vec<Happened>) -> Instant {
        while self.rtc.is_alive() {
            match self.guard(Rtc::poll_output) {
                Some(Output::Timeout(at)) => return at.min(now + IDLE),
                Some(Output::Transmit(transmit)) if !self.dead => {
                    network.send(transmit.source, transmit.destination, &transmit.contents);
                }
                Some(Output::Transmit(_)) => {}
                Some(Output::Event(event)) => happened.extend(self.event(event)),
                None => break,
            }
        }
        now + IDLE
    }

    fn event(&mut self, event: Event) -> Option<Happened> {
        match event {
            Event::Connected => {
                self.connected = true;
                Some(Happened::Connected)
            }
            Event::ChannelOpen(id, label) => {
                self.labels.insert(id, label.clone());
                self.channels.insert(label, id);
                None
            }
            Event::ChannelClose(id) => {
                let label = self.labels.remove(&id)?;
                self.channels.remove(&label);
                None
            }
            Event::ChannelData(data) => {
                let label = self.labels.get(&data.id)?.clone();
                Some(Happened::Data { label, bytes: data.data })
            }
            Event::KeyframeRequest(request) => Some(Happened::KeyframeWanted(request.mid)),
            Event::RtpPacket(packet) => Some(Happened::Rtp(Box::new(packet))),
            _ => None,
        }
    }

    /// Queues a message for the channel of this label. False: too much waited already, and the connection is over.
    pub(super) fn send_data(&mut self, label: &str, bytes: Arc<[u8]>, reliable: bool) -> bool {
        let open = self.channels.contains_key(label);
        let full = self.waiting.get(label).is_some_and(|waiting| waiting.len() >= LOSSY_WAITING);
        if !reliable && (!open || full) {
            return true; // lost, as lossy messages may be
        }
        if bytes.len() > CHANNEL_BUFFER {
            tracing::debug!(label, bytes = bytes.len(), "dropped a message that no channel takes");
            return true;
        }
        if !self.rtc.is_alive() {
            return true;
        }
        if self.waiting_bytes + bytes.len() > DATA_WAITING {
            self.disconnect();
            return false;
        }
        self.waiting_bytes += bytes.len();
        self.waiting.entry(label.to_owned()).or_default().push_back(bytes);
        true
    }

    fn write_waiting(&mut self) {
        for (label, waiting) in &mut self.waiting {
            let Some(id) = self.channels.get(label) else { continue };
            while let Some(bytes) = waiting.front() {
                let written = guarded(&mut self.rtc, |rtc| {
                    Ok(rtc.channel(*id).map(|mut channel| channel.write(true, bytes)))
                });
                match written.flatten() {
                    Some(Ok(true)) => {}
                    // Larger than the client takes, or its channel is closing.
                    Some(Err(error)) => tracing::debug!(%error, label, "dropped a message"),
                    // The buffer is full, or the channel is gone.
                    Some(Ok(false)) | None => break,
                }
                self.waiting_bytes -= bytes.len();
                waiting.pop_front();
            }
        }
    }

    /// The payload type of a codec on this connection.
    pub(super) fn payload_type(&self, codec: Codec) -> Option<Pt> {
        self.rtc.codec_config().find(|params| params.spec().codec == codec).map(PayloadParams::pt)
    }

    pub(super) fn codec(&self, pt: Pt) -> Option<Codec> {
        self.rtc.codec_config().find(|params| params.pt() == pt).map(|params| params.spec().codec)
    }

    /// Which section and layer a packet belongs to.
    pub(super) fn origin(&mut self, packet: &RtpPacket) -> Option<(Mid, Option<Rid>)> {
        self.changed(|rtc| {
            let mut api = rtc.direct_api();
            let stream = api.stream_rx(&packet.header.ssrc)?;
            Some((stream.mid(), stream.rid()))
        })
    }

    pub(super) fn request_keyframe(&mut self, mid: Mid, rid: Option<Rid>) {
        self.changed(|rtc| {
            rtc.direct_api().stream_rx_by_mid(mid, rid)?.request_keyframe(KeyframeRequestKind::Pli);
            Some(())
        });
    }

    /// An offer that is not acceptable ends nothing here: its socket ends, which says so to its client.
    pub(super) fn accept_offer(&mut self, sdp: &str) -> Option<String> {
        let offer = SdpOffer::from_sdp_string(sdp).ok()?;
        self.guard(|rtc| rtc.sdp_api().accept_offer(offer)).map(|answer| answer.to_sdp_string())
    }

    pub(super) fn accept_answer(&mut self, pending: SdpPendingOffer, sdp: &str) -> bool {
        let Ok(answer) = SdpAnswer::from_sdp_string(sdp) else { return false };
        self.guard(|rtc| rtc.sdp_api().accept_answer(pending, answer)).is_some()
    }

    /// Whether packets on this section reach the client: not before the answer to our offer.
    pub(super) fn carries(&mut self, mid: Mid) -> bool {
        self.connected
            && self.changed(|rtc| rtc.direct_api().stream_tx_by_mid(mid, None).map(|_| ())).is_some()
    }

    pub(super) fn write(&mut self, mid: Mid, packet: RtpWrite) {
        self.changed(|rtc| {
            rtc.direct_api().stream_tx_by_mid(mid, None)?.write_rtp(packet);
            Some(())
        });
    }
}

/// A connection that fails is over; its client finds out by itself. So it is if str0m panics, which must not end the
/// others.
fn guarded<T>(rtc: &mut Rtc, change: impl FnOnce(&mut Rtc) -> Result<T, RtcError>) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(|| change(rtc))) {
        Ok(Ok(changed)) => return Some(changed),
        Ok(Err(error)) => tracing::debug!(%error, "peer connection failed"),
        Err(_) => tracing::error!("peer connection panicked"),
    }
    rtc.disconnect();
    None
}

fn input<'a>(arrived: &Arrived, bytes: &'a [u8], now: Instant) -> Option<Input<'a>> {
    let contents = bytes.try_into().ok()?;
    let Arrived { source, destination, .. } = *arrived;
    Some(Input::Receive(now, Receive { proto: Protocol::Udp, source, destination, contents }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::RtcConfig as Settings, media::network::Sockets};

    fn peer() -> Peer {
        let network = Sockets::bind(&Settings::default()).unwrap().open().unwrap();
        Peer::new(&Arc::new(rtc_crypto::provider()), &network, false, Instant::now())
    }

    #[tokio::test]
    async fn too_slow_client_gets_no_more_messages() {
        let mut peer = peer();
        let message: Arc<[u8]> = vec![0; CHANNEL_BUFFER].into();
        let fitting = DATA_WAITING / CHANNEL_BUFFER;
        for _ in 0..fitting {
            assert!(peer.send_data("_reliable", Arc::clone(&message), true));
        }
        assert!(!peer.send_data("_reliable", Arc::clone(&message), true));
        assert_eq!((peer.waiting_bytes, peer.rtc.is_alive()), (0, false));
        assert!(peer.send_data("_reliable", message, true), "it is over already");
        assert_eq!(peer.waiting_bytes, 0);
    }

    #[tokio::test]
    async fn reliable_messages_wait_without_a_limit() {
        let mut peer = peer();
        assert!((0..2 * LOSSY_WAITING).all(|_| peer.send_data("_reliable", [0].into(), true)));
        assert_eq!(peer.waiting["_reliable"].len(), 2 * LOSSY_WAITING);
    }

    #[tokio::test]
    async fn panic_of_a_connection_ends_that_connection_only() {
        let mut peer = peer();
        assert_eq!(peer.guard::<()>(|_| panic!("as str0m might")), None);
        assert!(!peer.rtc.is_alive());
    }
}
