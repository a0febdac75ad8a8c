//! Tabs with media: clients that join over the network, and come back as SDKs do when they lose the server.

use chassis::config;
use livekit_protocol::leave_request::Action;
use rtc_client::{Client, Error, Track};
use testkit::Participant;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use super::stage::Token;

/// How often a tab joins again after it has lost its session.
const JOINS: usize = 5;

/// Dropped, they vanish.
#[derive(Default)]
pub struct Tabs {
    running: JoinSet<()>,
    open: Vec<Tab>,
}

struct Tab {
    room: String,
    identity: String,
    publish: UnboundedSender<()>,
}

impl Tabs {
    pub fn open(&mut self, livekit: &config::LiveKit, held: &Token) {
        let (publish, wishes) = unbounded_channel();
        self.open.push(Tab { room: held.room_name.clone(), identity: held.identity.clone(), publish });
        self.running.spawn(stay(livekit.clone(), held.text.clone(), wishes));
    }

    /// Has a participant turn their microphone on. False: they have no tab.
    pub fn publish(&self, room: &str, identity: &str) -> bool {
        let theirs = self.open.iter().filter(|tab| tab.room == room && tab.identity == identity);
        theirs.filter(|tab| tab.publish.send(()).is_ok()).count() > 0
    }
}

/// LiveKit may refuse: the room may be over, or full.
async fn stay(livekit: config::LiveKit, token: String, mut wishes: UnboundedReceiver<()>) {
    for _ in 0..JOINS {
        let Ok(Participant(client)) = Participant::try_join(&livekit, &token).await else { return };
        if !session(&client, &mut wishes).await {
            return;
        }
    }
}

/// Until the session is over; whether the client is to join again.
async fn session(client: &Client, wishes: &mut UnboundedReceiver<()>) -> bool {
    loop {
        tokio::select! {
            Some(()) = wishes.recv() => drop(client.publish(Track::microphone()).await),
            () = closed(client) => {
                let action = client.seen(|seen| Some(seen.end.as_ref()?.leave.as_ref()?.action()));
                match action {
                    Some(Action::Disconnect) => return false,
                    Some(Action::Reconnect) => return true,
                    Some(Action::Resume) | None => match client.resume().await {
                        Ok(()) => {}
                        Err(error) => return matches!(error, Error::Left(_)),
                    },
                }
            }
        }
    }
}

async fn closed(client: &Client) {
    while client.until("the end", |seen| seen.closed).await.is_err() {}
}
