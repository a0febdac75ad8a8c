//! The handle of a client.

use std::time::Duration;

use livekit_protocol::{
    DataPacket, DisconnectReason, LeaveRequest, TrackInfo, UpdateSubscription, UserPacket, data_packet,
    leave_request, signal_request,
};
use tokio::sync::{mpsc, oneshot};

use crate::engine::{Command, Engine};
use crate::observed::{Seen, Shared};
use crate::publish::Track;
use crate::{Error, Options, connect};

/// Limit of every wait. It is long because machines that run tests are busy.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A participant. Dropping it simulates a crash: the sockets close without a message.
pub struct Client {
    options: Options,
    shared: Shared,
    commands: mpsc::UnboundedSender<Command>,
}

impl Client {
    /// Joins. Returns when `join` has arrived; media connects in the background.
    pub async fn join(options: Options) -> Result<Self, Error> {
        // Boxed: the future of a join is large, and each layer above would hold its size again.
        let joined = within("join", Box::pin(connect::join(&options))).await?;
        let (commands, receiver) = mpsc::unbounded_channel();
        let shared = Shared::new();
        let engine = Engine::new(options.clone(), shared.clone(), joined);
        tokio::spawn(engine.run(receiver));
        Ok(Self { options, shared, commands })
    }

    /// Joins and waits until the connections are established.
    pub async fn connect(options: Options) -> Result<Self, Error> {
        let client = Self::join(options).await?;
        client.until("connected", |seen| seen.connected).await?;
        Ok(client)
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Reads what the client has observed so far.
    pub fn seen<T>(&self, read: impl FnOnce(&Seen) -> T) -> T {
        self.shared.read(read)
    }

    pub fn sid(&self) -> String {
        self.seen(|seen| seen.participant.sid.clone())
    }

    /// Waits until the condition holds, for at most 30 s.
    pub async fn until(&self, what: &str, holds: impl Fn(&Seen) -> bool) -> Result<(), Error> {
        self.find(what, |seen| holds(seen).then_some(())).await
    }

    /// Waits until `pick` returns a value, for at most 30 s.
    pub async fn find<T>(&self, what: &str, pick: impl Fn(&Seen) -> Option<T>) -> Result<T, Error> {
        let mut changes = self.shared.subscribe();
        let found = async {
            loop {
                // Marked before the read: a change during the read then wakes the wait below.
                changes.mark_unchanged();
                if let Some(found) = self.shared.read(&pick) {
                    return found;
                }
                if changes.changed().await.is_err() {
                    // The client's task has ended, so nothing changes any more. The timeout reports what was
                    // observed.
                    return std::future::pending().await;
                }
            }
        };
        tokio::time::timeout(TIMEOUT, found)
            .await
            .map_err(|_| Error::TimedOut { what: what.to_owned(), seen: self.shared.read(Seen::summary) })
    }

    /// Sends any request.
    pub fn request(&self, message: signal_request::Message) {
        self.command(Command::Request(Box::new(message)));
    }

    /// Sends a binary frame that is not a message.
    pub fn garbage(&self, bytes: Vec<u8>) {
        self.command(Command::Garbage(bytes));
    }

    /// Publishes a track. Returns when the server has answered `add_track`; packets are sent after the next SDP answer.
    pub async fn publish(&self, track: Track) -> Result<TrackInfo, Error> {
        self.ask("publish", |reply| Command::Publish(Box::new(track), reply)).await
    }

    pub fn unpublish(&self, track_sid: &str) {
        self.command(Command::Unpublish(track_sid.to_owned()));
    }

    pub fn mute(&self, track_sid: &str, muted: bool) {
        self.command(Command::Mute(track_sid.to_owned(), muted));
    }

    /// Sets the level, in dBov, that the packets of an audio track carry.
    pub fn set_level(&self, track_sid: &str, level: i8) {
        self.command(Command::Level(track_sid.to_owned(), level));
    }

    pub fn subscribe(&self, track_sid: &str, subscribe: bool) {
        self.request(signal_request::Message::Subscription(UpdateSubscription {
            track_sids: vec![track_sid.to_owned()],
            subscribe,
            ..UpdateSubscription::default()
        }));
    }

    /// Sends a user packet to all participants.
    pub fn send(&self, payload: &[u8], reliable: bool) {
        self.send_to(payload, reliable, &[]);
    }

    pub fn send_to(&self, payload: &[u8], reliable: bool, identities: &[&str]) {
        let destination_identities: Vec<String> = identities.iter().map(ToString::to_string).collect();
        let user = UserPacket { payload: payload.to_vec(), ..UserPacket::default() };
        let value = Some(data_packet::Value::User(user));
        self.send_packet(DataPacket { destination_identities, value, ..DataPacket::default() }, reliable);
    }

    pub fn send_packet(&self, packet: DataPacket, reliable: bool) {
        self.command(Command::Data(Box::new(packet), reliable));
    }

    /// Cuts the signalling socket without a close frame; media continues.
    pub fn cut_socket(&self) {
        self.command(Command::CutSocket { close_frame: false });
    }

    /// Closes the signalling socket with a close frame and without `leave`.
    pub fn close_socket(&self) {
        self.command(Command::CutSocket { close_frame: true });
    }

    /// Drops all UDP packets in both directions, or lets them through again.
    pub fn set_udp(&self, on: bool) {
        self.command(Command::Udp(on));
    }

    /// Opens another socket for the same session, with the newest token, and restarts ICE.
    pub async fn resume(&self) -> Result<(), Error> {
        // The newest one: the server sends another at each change of a permission.
        let token = self.seen(|seen| seen.refreshed_token.clone());
        self.resume_with(token.unwrap_or_else(|| self.options.token.clone())).await
    }

    pub async fn resume_with(&self, token: String) -> Result<(), Error> {
        let options = Options { token, ..self.options.clone() };
        self.ask("resume", |reply| Command::Resume(Box::new(options), reply)).await
    }

    /// Sends `leave`, and waits until the server closes the socket.
    pub async fn leave(self) -> Result<(), Error> {
        self.request(signal_request::Message::Leave(LeaveRequest {
            reason: DisconnectReason::ClientInitiated.into(),
            action: leave_request::Action::Disconnect.into(),
            ..LeaveRequest::default()
        }));
        self.until("the socket to be closed", |seen| seen.closed).await
    }

    fn command(&self, command: Command) {
        // Sending cannot fail: the task does not end before this handle is dropped.
        let _ = self.commands.send(command);
    }

    async fn ask<T>(
        &self,
        what: &str,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.command(command(reply));
        match tokio::time::timeout(TIMEOUT, answer).await {
            Ok(Ok(result)) => result,
            // The task ended before it answered.
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => Err(Error::TimedOut { what: what.to_owned(), seen: self.shared.read(Seen::summary) }),
        }
    }
}

async fn within<T>(what: &str, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let timed_out = |_| Error::TimedOut { what: what.to_owned(), seen: String::new() };
    tokio::time::timeout(TIMEOUT, work).await.map_err(timed_out)?
}
