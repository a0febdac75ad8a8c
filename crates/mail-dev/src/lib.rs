//! A mail server that delivers nothing: it keeps the e-mails that it receives and shows them.
//!
//! `greenroom up` and tests send to it over SMTP, as to a real server. Everything has a limit: connections, lines, the
//! size of e-mails, and how many are kept. A test can make it refuse, hang, or accept an e-mail without an answer.

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

/// Limit of concurrent connections; more wait.
const CONNECTIONS: usize = 64;
/// Limit of the e-mails that are kept; older ones are dropped.
const KEPT: usize = 200;
/// The pause after a failed accept: without a free file descriptor the next one would fail at once.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// What happens to an e-mail instead of being accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The recipient is refused with this code: 4xx temporarily, 5xx permanently.
    Refuse(u16),
    /// The e-mail gets no answer and is not kept.
    Hang,
    /// The e-mail is kept and gets no answer.
    TakeAndHang,
    /// This line is the answer at this step. Before the recipient is known, the fault for all recipients applies.
    Answer(At, &'static str),
    /// The connection is closed at this step, without an answer.
    Close(At),
}

/// The step of an SMTP session at which a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Greeting,
    /// `AUTH`; the extension must be offered.
    SignIn,
    /// `MAIL FROM`
    Sender,
    /// `RCPT TO`
    Recipient,
    Data,
    /// After the content of the e-mail.
    Content,
}

/// The server and its inbox; clones share both.
#[derive(Clone, Default)]
pub struct MailDev(Arc<Shared>);

#[derive(Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    /// By recipient; the empty text means all recipients.
    faults: Mutex<HashMap<String, Fault>>,
    is_down: AtomicBool,
    /// The extensions that `EHLO` lists instead of the default ones.
    extensions: Mutex<Option<Vec<&'static str>>>,
    senders: AtomicU64,
    connections: AtomicU64,
    /// Cancelled to close all open connections.
    open: Mutex<CancellationToken>,
}

impl MailDev {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves until `shutdown`. All connections are closed when it returns.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let mut sessions = JoinSet::new();
        let accepting = async {
            while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
                while sessions.try_join_next().is_some() {} // remove sessions that have ended
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                };
                if self.0.is_down.load(Ordering::SeqCst) {
                    continue; // dropping it closes the connection at once
                }
                self.0.connections.fetch_add(1, Ordering::SeqCst);
                let (server, ending, open) = (self.clone(), shutdown.clone(), self.0.open.lock().clone());
                sessions.spawn(async move {
                    let session = open.run_until_cancelled(session::run(server, stream));
                    let outcome = ending.run_until_cancelled(session).await.flatten();
                    if let Some(Err(error)) = outcome {
                        tracing::debug!(%error, "a mail connection failed");
                    }
                    drop(permit);
                });
            }
        };
        shutdown.run_until_cancelled(accepting).await;
        while sessions.join_next().await.is_some() {} // each session stops at `shutdown`
    }

    /// The e-mails that are kept, newest first.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.0.inbox.lock().newest_first()
    }

    /// The number of all accepted e-mails, also of those that were dropped since.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.0.inbox.lock().taken
    }

    /// The number of `MAIL FROM` commands.
    #[must_use]
    pub fn senders(&self) -> u64 {
        self.0.senders.load(Ordering::SeqCst)
    }

    /// The number of accepted connections.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// Offers these extensions to new connections, such as `AUTH PLAIN`. The default is `8BITMIME` and `SMTPUTF8`.
    pub fn offer(&self, extensions: &[&'static str]) {
        *self.0.extensions.lock() = Some(extensions.to_vec());
    }

    fn extensions(&self) -> Vec<&'static str> {
        self.0.extensions.lock().clone().unwrap_or_else(|| vec!["8BITMIME", "SMTPUTF8"])
    }

    /// Closes all open connections without an answer.
    pub fn hang_up(&self) {
        std::mem::take(&mut *self.0.open.lock()).cancel();
    }

    /// Closes every new connection at once, until this is switched off.
    pub fn set_down(&self, is_down: bool) {
        self.0.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Sets the fault for e-mails to this recipient, or with "" to all.
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
