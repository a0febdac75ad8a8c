//! A mail server that delivers nothing: it keeps what it is given and shows it.
//!
//! `greenroom up` and tests send to it over the same SMTP as to a real one. Everything is bounded: connections, lines,
//! mails and how many are kept. A test can make it refuse, hang, or take a mail and never say so.

mod inbox;
mod session;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use inbox::Mail;

use crate::inbox::Inbox;

/// Connections at once; more wait.
const CONNECTIONS: usize = 64;
/// Mails that are kept; older ones are forgotten.
const KEPT: usize = 200;
/// After a connection could not be accepted: when no file descriptor is free, that is so at once again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// What happens to a mail instead of being taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The recipient is answered with this code: 4xx for now, 5xx for good.
    Refuse(u16),
    /// The mail gets no answer and is not taken.
    Hang,
    /// The mail is taken and gets no answer.
    TakeAndHang,
    /// This line is the answer at this point. Before the recipient is known, the fault for all recipients counts.
    Answer(At, &'static str),
    /// The connection is closed at this point, without an answer.
    Close(At),
}

/// Where in a conversation a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Greeting,
    /// `AUTH`; the extension has to be offered.
    SignIn,
    /// `MAIL FROM`
    Sender,
    /// `RCPT TO`
    Recipient,
    Data,
    /// After the mail itself.
    Content,
}

/// The server and its inbox; clones are the same one.
#[derive(Clone, Default)]
pub struct MailDev(Arc<Shared>);

#[derive(Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    /// By recipient; the empty one means all.
    faults: Mutex<HashMap<String, Fault>>,
    is_down: AtomicBool,
    /// What `EHLO` names instead of the default.
    extensions: Mutex<Option<Vec<&'static str>>>,
    senders: AtomicU64,
    connections: AtomicU64,
    /// Cancelled to close all connections that are open.
    open: Mutex<CancellationToken>,
}

impl MailDev {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves until `shutdown`; no connection is open any more when it returns.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut sessions = JoinSet::new();
        let accepting = async {
            while let Ok(place) = Arc::clone(&places).acquire_owned().await {
                while sessions.try_join_next().is_some() {} // those that have ended
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                };
                if self.0.is_down.load(Ordering::SeqCst) {
                    continue; // dropped: the peer sees the connection closed at once
                }
                self.0.connections.fetch_add(1, Ordering::SeqCst);
                let (server, ending, open) = (self.clone(), shutdown.clone(), self.0.open.lock().clone());
                sessions.spawn(async move {
                    let talk = open.run_until_cancelled(session::talk(server, stream));
                    let talk = ending.run_until_cancelled(talk).await.flatten();
                    if let Some(Err(error)) = talk {
                        tracing::debug!(%error, "a mail connection broke");
                    }
                    drop(place);
                });
            }
        };
        shutdown.run_until_cancelled(accepting).await;
        while sessions.join_next().await.is_some() {} // each of them stops at `shutdown`
    }

    /// What is kept, newest first.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.0.inbox.lock().newest_first()
    }

    /// How many mails were ever taken, kept or not.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.0.inbox.lock().taken
    }

    /// How often `MAIL FROM` was said.
    #[must_use]
    pub fn senders(&self) -> u64 {
        self.0.senders.load(Ordering::SeqCst)
    }

    /// How many connections were accepted.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// Offers these extensions to new connections, such as `AUTH PLAIN`; at first `8BITMIME` and `SMTPUTF8`.
    pub fn offer(&self, extensions: &[&'static str]) {
        *self.0.extensions.lock() = Some(extensions.to_vec());
    }

    fn extensions(&self) -> Vec<&'static str> {
        self.0.extensions.lock().clone().unwrap_or_else(|| vec!["8BITMIME", "SMTPUTF8"])
    }

    /// Closes the connections that are open, without an answer.
    pub fn hang_up(&self) {
        std::mem::take(&mut *self.0.open.lock()).cancel();
    }

    /// Closes every new connection at once, until that is switched off.
    pub fn be_down(&self, is_down: bool) {
        self.0.is_down.store(is_down, Ordering::SeqCst);
    }

    /// What happens to mails for this recipient, or with "" for all.
    pub fn fault(&self, recipient: &str, fault: Option<Fault>) {
        let mut faults = self.0.faults.lock();
        match fault {
            Some(fault) => faults.insert(recipient.to_owned(), fault),
            None => faults.remove(recipient),
        };
    }

    fn fault_of(&self, recipient: &str) -> Option<Fault> {
        let faults = self.0.faults.lock();
        faults.get(recipient).or_else(|| faults.get("")).copied()
    }

    fn take(&self, to: Vec<String>, raw: &[u8]) {
        self.0.inbox.lock().take(Mail::read(to, raw), KEPT);
    }
}
