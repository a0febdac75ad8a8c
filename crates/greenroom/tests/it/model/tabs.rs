//! Browser tabs with media: clients that join over the network, and that reconnect as SDKs do when they lose the
//! server.

use chassis::config;
use livekit_protocol::leave_request::Action;
use rtc_client::{Client, Error, Track};
use testkit::Participant;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use super::stage::Token;

/// How many sessions a tab joins at most, each after it has lost the one before.
const JOIN_ATTEMPTS: usize = 5;

/// The open tabs. Their clients vanish when this is dropped.
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
        let (publish, requests) = unbounded_channel();
        self.open.push(Tab { room: held.room_name.clone(), identity: held.identity.clone(), publish });
        self.running.spawn(stay(livekit.clone(), held.text.clone(), requests));
    }

    /// Makes a participant turn their microphone on. Returns false if they have no tab.
    pub fn publish(&self, room: &str, identity: &str) -> bool {
        let theirs = self.open.iter().filter(|tab| tab.room == room && tab.identity == identity);
        theirs.filter(|tab| tab.publish.send(()).is_ok()).count() > 0
    }
}

/// Keeps a tab joined. LiveKit may refuse the join: the room may have ended, or be full.
async fn stay(livekit: config::LiveKit, token: String, mut requests: UnboundedReceiver<()>) {
    for _ in 0..JOIN_ATTEMPTS {
        let Ok(Participant(client)) = Participant::try_join(&livekit, &token).await else { return };
        if !session(&client, &mut requests).await {
            return;
        }
    }
}

/// Runs a session until it ends. Returns whether the client must join again.
async fn session(client: &Client, requests: &mut UnboundedReceiver<()>) -> bool {
    loop {
        tokio::select! {
            Some(()) = requests.recv() => drop(client.publish(Track::microphone()).await),
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
