//! The participants of a load.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rtc_client::{Client, Options, Received, Seen, Track};

use super::server::Access;
use crate::load::Load;

const PUBLISHERS: usize = 4;
const SUBSCRIBERS: usize = 4;
const JOINS: usize = 50;
const ROOM: &str = "bench";

/// The participants of a case and their tracks.
#[derive(Clone, Copy)]
pub enum Case {
    /// Publishers with three layers each, and subscribers of all of them.
    Video,
    /// Participants with a microphone each, who all hear each other.
    Audio(usize),
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Video => write!(f, "{PUBLISHERS} cameras with 3 layers, {SUBSCRIBERS} subscribers"),
            Self::Audio(participants) => write!(f, "{participants} microphones"),
        }
    }
}

/// Participants who receive all tracks to which they are subscribed. They disconnect when this is dropped.
pub struct Crowd {
    clients: Vec<Client>,
    /// The number of tracks that all of them receive together.
    tracks: usize,
}

impl Crowd {
    pub async fn gather(access: Access, case: Case) -> Result<Self> {
        access.create_room(ROOM).await?;
        let crowd = match case {
            Case::Video => Self::join_cameras(&access).await?,
            Case::Audio(participants) => Self::join_microphones(&access, participants).await?,
        };
        let each = crowd.tracks / crowd.receiving().count().max(1);
        for client in crowd.receiving() {
            client.until("all tracks", |seen| arriving(seen) == each).await?;
        }
        Ok(crowd)
    }

    async fn join_cameras(access: &Access) -> Result<Self> {
        let mut clients = Vec::new();
        for number in 0..PUBLISHERS {
            let options = access.options(ROOM, &format!("camera-{number}"))?.without_auto_subscribe();
            let client = Client::connect(options).await?;
            client.publish(Track::camera_at_full_rate()).await?;
            clients.push(client);
        }
        for number in 0..SUBSCRIBERS {
            clients.push(Client::connect(access.options(ROOM, &format!("viewer-{number}"))?).await?);
        }
        Ok(Self { clients, tracks: PUBLISHERS * SUBSCRIBERS })
    }

    async fn join_microphones(access: &Access, participants: usize) -> Result<Self> {
        let mut clients = Vec::new();
        for number in 0..participants {
            let client = Client::connect(access.options(ROOM, &format!("speaker-{number}"))?).await?;
            client.publish(Track::microphone()).await?;
            clients.push(client);
        }
        Ok(Self { clients, tracks: participants * (participants - 1) })
    }

    fn receiving(&self) -> impl Iterator<Item = &Client> {
        self.clients.iter().filter(|client| client.options().auto_subscribe)
    }

    /// What all of them have received so far.
    pub fn received(&self) -> Received {
        let mut sum = Received::default();
        for client in &self.clients {
            client.seen(|seen| {
                for track in seen.received.values() {
                    sum.packets += track.packets;
                    sum.bytes += track.bytes;
                    sum.lost += track.lost;
                }
            });
        }
        sum
    }

    /// Fails unless all participants are still connected and all tracks have arrived.
    pub fn complete(&self) -> Result<()> {
        let connected = self.clients.iter().all(|client| client.seen(|seen| seen.connected && !seen.closed));
        ensure!(connected, "a participant was disconnected");
        let tracks: usize = self.receiving().map(|client| client.seen(arriving)).sum();
        ensure!(tracks == self.tracks, "{tracks} tracks arrived instead of {}", self.tracks);
        Ok(())
    }
}

fn arriving(seen: &Seen) -> usize {
    seen.received.values().filter(|track| track.frames > 0).count()
}

/// Measures joins of a room with a camera: the time until connected, and until the first frame.
pub async fn join_times(access: Access) -> Result<(Load, Load)> {
    access.create_room(ROOM).await?;
    let publisher = Client::connect(access.options(ROOM, "camera")?.without_auto_subscribe()).await?;
    let camera = publisher.publish(Track::camera_at_full_rate()).await?;
    let begun = Instant::now();
    let (mut connected, mut first): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
    for number in 0..JOINS {
        let started = Instant::now();
        let options: Options = access.options(ROOM, &format!("viewer-{number}"))?;
        let viewer = Client::connect(options).await?;
        connected.push(started.elapsed());
        viewer.until("a frame", |seen| seen.frames(&camera.sid) > 0).await?;
        first.push(started.elapsed());
        viewer.leave().await?;
    }
    let time = begun.elapsed();
    Ok((Load::of(connected, 0, time), Load::of(first, 0, time)))
}
