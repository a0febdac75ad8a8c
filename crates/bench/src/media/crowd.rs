//! The participants of a load.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rtc_client::{Client, Options, Received, Seen, Track};

use super::server::Door;
use crate::load::Load;

const PUBLISHERS: usize = 4;
const SUBSCRIBERS: usize = 4;
const JOINS: usize = 50;
const ROOM: &str = "bench";

/// Who is there, and what they publish.
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

/// Participants who receive all that they are subscribed to. Dropped, they are gone.
pub struct Crowd {
    clients: Vec<Client>,
    /// Tracks that arrive, at all of them together.
    tracks: usize,
}

impl Crowd {
    pub async fn gather(door: Door, case: Case) -> Result<Self> {
        door.create_room(ROOM).await?;
        let crowd = match case {
            Case::Video => Self::film(&door).await?,
            Case::Audio(participants) => Self::talk(&door, participants).await?,
        };
        let each = crowd.tracks / crowd.receiving().count().max(1);
        for client in crowd.receiving() {
            client.until("all tracks", |seen| arriving(seen) == each).await?;
        }
        Ok(crowd)
    }

    async fn film(door: &Door) -> Result<Self> {
        let mut clients = Vec::new();
        for number in 0..PUBLISHERS {
            let options = door.options(ROOM, &format!("camera-{number}"))?.without_auto_subscribe();
            let client = Client::connect(options).await?;
            client.publish(Track::camera_at_full_rate()).await?;
            clients.push(client);
        }
        for number in 0..SUBSCRIBERS {
            clients.push(Client::connect(door.options(ROOM, &format!("viewer-{number}"))?).await?);
        }
        Ok(Self { clients, tracks: PUBLISHERS * SUBSCRIBERS })
    }

    async fn talk(door: &Door, participants: usize) -> Result<Self> {
        let mut clients = Vec::new();
        for number in 0..participants {
            let client = Client::connect(door.options(ROOM, &format!("speaker-{number}"))?).await?;
            client.publish(Track::microphone()).await?;
            clients.push(client);
        }
        Ok(Self { clients, tracks: participants * (participants - 1) })
    }

    fn receiving(&self) -> impl Iterator<Item = &Client> {
        self.clients.iter().filter(|client| client.options().auto_subscribe)
    }

    /// What has arrived at all of them so far.
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

    /// Fails unless all are still there, and all tracks were.
    pub fn complete(&self) -> Result<()> {
        let there = self.clients.iter().all(|client| client.seen(|seen| seen.connected && !seen.closed));
        ensure!(there, "a participant was lost");
        let tracks: usize = self.receiving().map(|client| client.seen(arriving)).sum();
        ensure!(tracks == self.tracks, "{tracks} tracks arrived instead of {}", self.tracks);
        Ok(())
    }
}

fn arriving(seen: &Seen) -> usize {
    seen.received.values().filter(|track| track.frames > 0).count()
}

/// How long a participant takes who joins a room with a camera: until connected, and until the first frame.
pub async fn join_times(door: Door) -> Result<(Load, Load)> {
    door.create_room(ROOM).await?;
    let publisher = Client::connect(door.options(ROOM, "camera")?.without_auto_subscribe()).await?;
    let camera = publisher.publish(Track::camera_at_full_rate()).await?;
    let begun = Instant::now();
    let (mut connected, mut first): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
    for number in 0..JOINS {
        let started = Instant::now();
        let options: Options = door.options(ROOM, &format!("viewer-{number}"))?;
        let viewer = Client::connect(options).await?;
        connected.push(started.elapsed());
        viewer.until("a frame", |seen| seen.frames(&camera.sid) > 0).await?;
        first.push(started.elapsed());
        viewer.leave().await?;
    }
    let time = begun.elapsed();
    Ok((Load::of(connected, 0, time), Load::of(first, 0, time)))
}
