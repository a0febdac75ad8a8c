//! Connects a client: the first offer, the upgrade, the first message.

use livekit_protocol::{SessionDescription, signal_response};
use str0m::media::{Direction, MediaKind};

use crate::join::{self, Kind};
use crate::socket::{Incoming, Socket};
use crate::transport::{Transport, add_channels};
use crate::{Error, Options, SignalPath};

/// The result of a join: the server's first message was `join`.
pub struct Joined {
    pub socket: Socket,
    pub publisher: Transport,
    pub subscriber: Option<Transport>,
    pub first_offer: Option<String>,
    pub first: signal_response::Message,
}

pub async fn join(options: &Options) -> Result<Joined, Error> {
    let mut publisher = Transport::new(options.h264).await?;
    let (mut subscriber, mut first_offer) = (None, None);
    match options.path {
        // Over `/rtc` the server makes the first offer, so the client has none.
        SignalPath::V0 => subscriber = Some(Transport::new(options.h264).await?),
        SignalPath::V1 if options.media => {
            first_offer = offer_with_sections(&mut publisher, options.first_sections);
        }
        SignalPath::V1 => {}
    }
    let offer = first_offer.clone().map(|sdp| description("offer", sdp, 1));
    let request = join::request(options, Kind::Join { offer })?;
    let mut socket = Socket::connect(request, options.json).await?;
    let first = first_message(&mut socket).await?;
    if !matches!(first, signal_response::Message::Join(_)) {
        return Err(Error::UnexpectedMessage);
    }
    Ok(Joined { socket, publisher, subscriber, first_offer, first })
}

/// Opens another socket for the same session.
pub async fn resume(
    options: &Options,
    participant_sid: &str,
) -> Result<(Socket, signal_response::Message), Error> {
    let kind = Kind::Resume { participant_sid: participant_sid.to_owned() };
    let mut socket = Socket::connect(join::request(options, kind)?, options.json).await?;
    let first = first_message(&mut socket).await?;
    match first {
        signal_response::Message::Reconnect(_) => Ok((socket, first)),
        _ => Err(Error::UnexpectedMessage),
    }
}

async fn first_message(socket: &mut Socket) -> Result<signal_response::Message, Error> {
    match socket.next().await {
        Incoming::Message(message) => match *message {
            // A refused resume is a `leave` with its reason, not a failed upgrade.
            signal_response::Message::Leave(leave) => Err(Error::Left(Box::new(leave))),
            message => Ok(message),
        },
        Incoming::Closed(_) => Err(Error::Closed),
    }
}

fn offer_with_sections(publisher: &mut Transport, (audio, video): (u32, u32)) -> Option<String> {
    publisher.offer(|api| {
        for (kind, count) in [(MediaKind::Audio, audio), (MediaKind::Video, video)] {
            for _ in 0..count {
                api.add_media(kind, Direction::RecvOnly, None, None, None);
            }
        }
        add_channels(api);
    })
}

pub fn description(kind: &str, sdp: String, id: u32) -> SessionDescription {
    SessionDescription { r#type: kind.to_owned(), sdp, id, ..SessionDescription::default() }
}
