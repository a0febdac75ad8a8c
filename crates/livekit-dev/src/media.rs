//! The media engine: everything that only connected clients can see (their peer connections, offers, subscriptions,
//! outgoing messages). One per server, on a thread of its own.
//!
//! The world decides who is in a room and what is published; the engine hears of it by [`Notice`]s, in the order of
//! the world's changes. It never reads the world to decide about media, and reports what clients do by
//! transitions like everything else.

mod announce;
mod client;
mod data;
mod description;
mod engine;
mod enter;
mod forward;
mod layers;
mod negotiate;
mod network;
mod notices;
mod outgoing;
mod peer;
mod publish;
mod quality;
mod requests;
mod rewrite;
mod rpc;
mod sdp;
mod silence;
mod sources;
mod speakers;
mod subscribe;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use livekit_protocol::{
    JoinResponse, ParticipantInfo, PerformRpcRequest, Room, signal_request, signal_response,
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::{engine::Engine, network::Sockets};
use crate::{
    LiveKitDev,
    faults::ClientFault,
    grants::Claims,
    signal::join::Join,
    state::{notice::Notice, participants::Session},
};

pub(crate) use self::{
    outgoing::{Outgoing, Waiting, outgoing},
    rpc::RpcError,
};

/// Requests of clients that wait for the engine. More wait in their sockets.
const WAITING: usize = 1024;

#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) enum Frame {
    Message(Box<signal_response::Message>),
    /// The socket ends without a word, as when a server crashes.
    Cut,
}

/// A client that the world has just admitted.
#[derive(Debug)]
pub(crate) struct Entry {
    pub session: Session,
    pub room_sid: String,
    pub connection: u64,
    pub info: ParticipantInfo,
    pub claims: Claims,
    pub join: Join,
    pub response: JoinResponse,
    pub outgoing: Outgoing,
}

/// A client that comes back on a new socket. The SID is empty if there is no such session.
#[derive(Debug)]
pub(crate) struct Resume {
    pub session: Session,
    pub connection: u64,
    pub others: Vec<ParticipantInfo>,
    pub room: Option<Room>,
    pub claims: Claims,
    pub join: Join,
    pub outgoing: Outgoing,
}

/// What the server says to the engine; posted under the world's lock, so that it keeps the order of changes.
#[derive(Debug)]
pub(crate) enum Command {
    Enter(Box<Entry>),
    Resume(Box<Resume>),
    Notice(Notice),
    /// The server crashed: sockets and peer connections are gone, without a word.
    Forget,
    Fault {
        room: String,
        identity: String,
        fault: ClientFault,
    },
    Rpc {
        request: Box<PerformRpcRequest>,
        reply: oneshot::Sender<Result<String, RpcError>>,
    },
    #[cfg(test)]
    Panic,
}

/// What clients send. These wait while the engine is busy.
#[derive(Debug)]
pub(crate) enum Incoming {
    Request { session: Session, connection: u64, request: Box<signal_request::Message> },
    Closed { session: Session, connection: u64 },
}

/// There is no engine: the server is not being served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped;

/// The way to the engine of a server.
#[derive(Debug, Default)]
pub(crate) struct Media {
    link: Mutex<Option<Link>>,
    connections: AtomicU64,
}

#[derive(Clone, Debug)]
struct Link {
    commands: mpsc::UnboundedSender<Command>,
    incoming: mpsc::Sender<Incoming>,
    addresses: Arc<[SocketAddr]>,
}

/// An engine that runs. Dropped, it stops.
pub(crate) struct Running {
    done: oneshot::Receiver<io::Result<()>>,
    _stop: DropGuard,
}

impl Running {
    /// To be awaited once. An error: it ended without being asked to.
    pub(crate) async fn stopped(&mut self) -> io::Result<()> {
        (&mut self.done).await.unwrap_or_else(|_| Err(io::Error::other("the media engine panicked")))
    }
}

/// The thread, with a runtime of its own: media does not wait for the rest of the process.
fn run(
    server: LiveKitDev,
    sockets: Sockets,
    posted: mpsc::UnboundedReceiver<Command>,
    received: mpsc::Receiver<Incoming>,
    stopping: CancellationToken,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let network = sockets.open()?;
        Engine::new(server, network).run(posted, received, stopping).await;
        Ok(())
    })
}

impl Media {
    /// Binds the sockets and starts the thread, which ends with `shutdown`.
    pub(crate) fn start(&self, server: &LiveKitDev, shutdown: &CancellationToken) -> io::Result<Running> {
        // Bound before the thread starts, so that a taken port is an error of `start`.
        let sockets = Sockets::bind(&server.config().rtc)?;
        let (commands, posted) = mpsc::unbounded_channel();
        let (incoming, received) = mpsc::channel(WAITING);
        let addresses = sockets.addresses().into();
        // The link first, so that commands of before the first packet are not lost.
        *self.link.lock() = Some(Link { commands, incoming, addresses });
        let (finished, done) = oneshot::channel();
        let stop = shutdown.child_token();
        let (server, stopping) = (server.clone(), stop.clone());
        std::thread::Builder::new().name("media".to_owned()).spawn(move || {
            let ended = run(server, sockets, posted, received, stopping);
            // The server may have gone first.
            let _ = finished.send(ended);
        })?;
        Ok(Running { done, _stop: stop.drop_guard() })
    }

    pub(crate) fn post(&self, command: Command) {
        // Posted under the world's lock, so it must not wait: the channel is unbounded.
        if let Some(link) = self.link.lock().as_ref() {
            // An engine that has stopped needs no commands.
            let _ = link.commands.send(command);
        }
    }

    pub(crate) async fn receive(&self, incoming: Incoming) -> Result<(), Stopped> {
        // The link is copied and its lock released, because sending may wait.
        let sender = self.link.lock().as_ref().map(|link| link.incoming.clone()).ok_or(Stopped)?;
        sender.send(incoming).await.map_err(|_| Stopped)
    }

    /// The number of a new socket. A session has the number of its latest one.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Where media is received.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.link.lock().as_ref().map(|link| link.addresses.to_vec()).unwrap_or_default()
    }
}
