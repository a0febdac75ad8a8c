//! Two connections with a simulated network between them, on a clock that the test moves.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::SdpApi;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig, RtcError};

pub struct Peer {
    pub rtc: Rtc,
    pub events: Vec<Event>,
    pub error: Option<RtcError>,
    address: SocketAddr,
    timeout: Instant,
    sent: VecDeque<(SocketAddr, Vec<u8>)>,
}

impl Peer {
    fn new(port: u16, now: Instant, configure: impl FnOnce(RtcConfig) -> RtcConfig) -> Self {
        let config = Rtc::builder()
            .set_crypto_provider(Arc::new(rtc_crypto::provider()))
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut rtc = configure(config).build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let mut peer =
            Self { rtc, events: Vec::new(), error: None, address, timeout: now, sent: VecDeque::new() };
        peer.drain();
        peer
    }

    /// Polls all outputs. str0m requires this after every change.
    pub fn drain(&mut self) {
        loop {
            let output = match self.rtc.poll_output() {
                Ok(output) => output,
                Err(error) => {
                    self.error = Some(error);
                    return;
                }
            };
            match output {
                Output::Timeout(at) => {
                    self.timeout = at;
                    return;
                }
                Output::Transmit(packet) => {
                    self.sent.push_back((packet.destination, packet.contents.to_vec()));
                }
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    fn receive(&mut self, source: SocketAddr, packet: &[u8], now: Instant) {
        let receive = Receive {
            proto: Protocol::Udp,
            source,
            destination: self.address,
            contents: packet.try_into().unwrap(),
        };
        self.rtc.handle_input(Input::Receive(now, receive)).unwrap();
        self.drain();
    }
}

pub struct Peers {
    pub now: Instant,
    /// Sends the offer, and so takes the DTLS role that the answer leaves.
    pub left: Peer,
    /// Sends the answer, as a server does.
    pub right: Peer,
    /// Changes packets on the network.
    pub wire: fn(&mut Vec<u8>),
}

impl Peers {
    pub fn new(right: impl FnOnce(RtcConfig) -> RtcConfig) -> Self {
        let now = Instant::now();
        let (left, right) = (Peer::new(1001, now, |config| config), Peer::new(1002, now, right));
        Self { now, left, right, wire: |_| {} }
    }

    pub fn negotiate<T>(&mut self, change: impl FnOnce(&mut SdpApi) -> T) -> T {
        let mut api = self.left.rtc.sdp_api();
        let result = change(&mut api);
        let (offer, pending) = api.apply().unwrap();
        self.left.drain();
        let answer = self.right.rtc.sdp_api().accept_offer(offer).unwrap();
        self.right.drain();
        self.left.rtc.sdp_api().accept_answer(pending, answer).unwrap();
        self.left.drain();
        result
    }

    /// Runs until the condition holds; fails after ten seconds of the test's clock.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let end = self.now + Duration::from_secs(10);
        while !holds(self) {
            assert!(self.now < end, "{what}: not within 10 s");
            self.step();
            assert!(self.right.error.is_none(), "{what}: {:?}", self.right.error);
        }
    }

    pub fn step(&mut self) {
        self.now += Duration::from_millis(5);
        let (wire, now) = (self.wire, self.now);
        let deliver = |from: &mut Peer, to: &mut Peer| {
            while let Some((destination, mut packet)) = from.sent.pop_front() {
                assert_eq!(destination, to.address);
                wire(&mut packet);
                to.receive(from.address, &packet, now);
            }
        };
        deliver(&mut self.left, &mut self.right);
        deliver(&mut self.right, &mut self.left);
        for peer in [&mut self.left, &mut self.right] {
            if peer.timeout <= now {
                peer.rtc.handle_input(Input::Timeout(now)).unwrap();
                peer.drain();
            }
        }
    }
}
