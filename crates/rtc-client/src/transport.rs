//! One peer connection: str0m, with offers, answers, candidates, and channels by label.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpApi, SdpOffer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};

use tokio::net::UdpSocket;

use crate::Error;

/// The next timeout of a failed connection.
const IDLE: Duration = Duration::from_hours(1);

pub struct Transport {
    pub rtc: Rtc,
    /// One socket per transport: a server has one for all its connections, and distinguishes them by address.
    pub udp: UdpSocket,
    address: SocketAddr,
    pending: Option<SdpPendingOffer>,
    /// Candidates that arrived before the remote description.
    early: Vec<String>,
    remote: Remote,
    /// When str0m must be called again.
    pub timeout: Instant,
    /// Open channels by label.
    channels: BTreeMap<String, ChannelId>,
    ice: bool,
    dtls: bool,
}

/// What is known of the remote peer.
#[derive(PartialEq, Eq)]
enum Remote {
    Unknown,
    /// Its description is new: the ICE agent starts its checks at the next timeout.
    Fresh,
    Described,
}

/// What the caller of a transport must do.
pub enum Effect {
    Send(SocketAddr, Vec<u8>),
    Event(Box<Event>),
}

impl Transport {
    pub async fn new(h264: bool) -> Result<Self, Error> {
        let udp = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let address = udp.local_addr()?;
        let now = Instant::now();
        let mut rtc = Rtc::builder()
            .set_crypto_provider(Arc::new(rtc_crypto::provider()))
            .set_rtp_mode(true)
            // Only these codecs, so that a server never chooses one that cannot be generated.
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .enable_h264(h264)
            .build(now);
        let candidate = Candidate::host(address, "udp").map_err(|error| Error::Media(error.to_string()))?;
        rtc.add_local_candidate(candidate);
        Ok(Self {
            rtc,
            udp,
            address,
            pending: None,
            early: Vec::new(),
            remote: Remote::Unknown,
            timeout: now,
            channels: BTreeMap::new(),
            ice: false,
            dtls: false,
        })
    }

    /// Whether an offer or an answer was created.
    pub fn started(&self) -> bool {
        self.remote != Remote::Unknown || self.pending.is_some()
    }

    pub fn connected(&self) -> bool {
        self.ice && self.dtls
    }

    /// Whether an offer of this client waits for its answer.
    pub fn negotiating(&self) -> bool {
        self.pending.is_some()
    }

    /// Creates the offer for these changes; `None` if they need no offer.
    pub fn offer(&mut self, change: impl FnOnce(&mut SdpApi)) -> Option<String> {
        let mut api = self.rtc.sdp_api();
        change(&mut api);
        // None: the changes need no offer.
        let (offer, pending) = api.apply()?;
        self.pending = Some(pending);
        Some(offer.to_sdp_string())
    }

    pub fn accept_answer(&mut self, sdp: &str) -> Result<(), Error> {
        // No offer is pending, so this answer is a late one.
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(|error| Error::Media(error.to_string()))?;
        self.rtc.sdp_api().accept_answer(pending, answer)?;
        self.now_described();
        Ok(())
    }

    /// Accepts an offer and returns the answer. As SDKs do, the client sends nothing on this connection: sections that
    /// the server offers in both directions are answered with one direction.
    pub fn accept_offer(&mut self, sdp: &str) -> Result<String, Error> {
        let offer = SdpOffer::from_sdp_string(sdp).map_err(|error| Error::Media(error.to_string()))?;
        let answer = self.rtc.sdp_api().accept_offer(offer)?.to_sdp_string();
        self.now_described();
        // Section by section, because the one of the data channel must stay as it is.
        let (head, sections) = answer.split_once("m=").unwrap_or((&answer, ""));
        let sections = sections.split("\r\nm=").map(|section| {
            if section.starts_with("application") {
                return section.to_owned();
            }
            section.replace("a=sendonly", "a=inactive").replace("a=sendrecv", "a=recvonly")
        });
        Ok(format!("{head}m={}", sections.collect::<Vec<_>>().join("\r\nm=")))
    }

    fn now_described(&mut self) {
        self.remote = Remote::Fresh;
        // Candidates before the description have no ICE credentials to belong to.
        for candidate in std::mem::take(&mut self.early) {
            self.add_candidate(candidate);
        }
    }

    /// Adds a trickled candidate. TCP candidates are ignored.
    pub fn add_candidate(&mut self, line: String) {
        if self.remote == Remote::Unknown {
            self.early.push(line);
        } else if let Ok(candidate) = Candidate::from_sdp_string(&line)
            && candidate.proto() == Protocol::Udp
        {
            self.rtc.add_remote_candidate(candidate);
        }
    }

    pub fn local_candidate(&self) -> Option<String> {
        Some(Candidate::host(self.address, "udp").ok()?.to_sdp_string())
    }

    pub fn on_datagram(&mut self, source: SocketAddr, datagram: &[u8]) {
        let Ok(receive) = Receive::new(Protocol::Udp, source, self.address, datagram) else { return };
        let input = Input::Receive(Instant::now(), receive);
        if self.rtc.accepts(&input)
            && let Err(error) = self.rtc.handle_input(input)
        {
            tracing::debug!(%error, "datagram refused");
        }
    }

    /// Polls all outputs of str0m. After an error the connection is closed, as str0m requires.
    pub fn poll(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(_)) if self.remote == Remote::Fresh => {
                    self.remote = Remote::Described;
                    self.timed_out(Instant::now());
                }
                Ok(Output::Timeout(at)) => {
                    self.timeout = at;
                    return effects;
                }
                Ok(Output::Transmit(packet)) => {
                    effects.push(Effect::Send(packet.destination, packet.contents.to_vec()));
                }
                Ok(Output::Event(event)) => {
                    self.note(&event);
                    effects.push(Effect::Event(Box::new(event)));
                }
                Err(error) => {
                    tracing::warn!(%error, "connection failed");
                    self.rtc.disconnect();
                    (self.ice, self.dtls) = (false, false);
                    // str0m asks for no more timeouts; this only keeps the loop from turning without pause.
                    self.timeout = Instant::now() + IDLE;
                    return effects;
                }
            }
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::IceConnectionStateChange(state) => {
                self.ice = matches!(state, IceConnectionState::Connected | IceConnectionState::Completed);
            }
            Event::Connected => self.dtls = true,
            Event::ChannelOpen(id, label) => {
                self.channels.insert(label.clone(), *id);
            }
            Event::ChannelClose(id) => self.channels.retain(|_, open| open != id),
            _ => {}
        }
    }

    pub fn label(&self, id: ChannelId) -> Option<&str> {
        self.channels.iter().find(|(_, open)| **open == id).map(|(label, _)| label.as_str())
    }

    /// Returns false if the channel is not open or its buffer is full.
    pub fn write(&mut self, label: &str, packet: &[u8]) -> bool {
        let Some(mut channel) = self.channels.get(label).and_then(|id| self.rtc.channel(*id)) else {
            return false;
        };
        // An error means a closed channel; the packet waits for the next one.
        channel.write(true, packet).unwrap_or(false)
    }

    pub fn timed_out(&mut self, now: Instant) {
        if self.rtc.handle_input(Input::Timeout(now)).is_err() {
            self.rtc.disconnect();
        }
    }
}

/// The channels that every SDK opens.
pub fn add_channels(api: &mut SdpApi) {
    // No retransmits: a late packet has no use.
    let lossy = || Reliability::MaxRetransmits { retransmits: 0 };
    let unordered = |label: &str| ChannelConfig {
        label: label.to_owned(),
        ordered: false,
        reliability: lossy(),
        ..ChannelConfig::default()
    };
    api.add_channel_with_config(unordered("_lossy"));
    api.add_channel_with_config(ChannelConfig { label: "_reliable".to_owned(), ..ChannelConfig::default() });
    api.add_channel_with_config(unordered("_data_track"));
}
