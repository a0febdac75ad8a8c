//! A proxy between a service and its dependency. A test can cut and restore its connections, or make them silent.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Forwards a loopback port to a server.
#[derive(Debug)]
pub struct Wire {
    pub address: SocketAddr,
    target: Arc<Mutex<String>>,
    is_cut: Arc<AtomicBool>,
    connections: Arc<Mutex<Connections>>,
    _running: DropGuard,
}

/// The tokens that break or silence the current connections.
#[derive(Clone, Debug, Default)]
struct Connections {
    broken: CancellationToken,
    forgotten: CancellationToken,
}

impl Wire {
    /// Starts a wire to `host:port`.
    pub async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("the port's address");
        let running = CancellationToken::new();
        let wire = Self {
            address,
            target: Arc::new(Mutex::new(target)),
            is_cut: Arc::default(),
            connections: Arc::default(),
            _running: running.clone().drop_guard(),
        };
        let (is_cut, connections) = (Arc::clone(&wire.is_cut), Arc::clone(&wire.connections));
        let target = Arc::clone(&wire.target);
        let accepting = running.clone();
        tokio::spawn(accepting.run_until_cancelled_owned(async move {
            while let Ok((near, _)) = listener.accept().await {
                // SeqCst: after `cut` has returned, no connection may pass this check.
                if is_cut.load(Ordering::SeqCst) {
                    continue; // dropping the stream closes the connection at once
                }
                // Copied for this connection. `renew` cancels these tokens and gives later connections new
                // ones.
                let Connections { broken, forgotten } = locked(&connections).clone();
                let target = locked(&target).clone();
                let forwarding = broken.run_until_cancelled_owned(forward(near, target, forgotten));
                tokio::spawn(running.clone().run_until_cancelled_owned(forwarding));
            }
        }));
        wire
    }

    /// Breaks every connection. New ones are closed at once.
    pub fn cut(&self) {
        // The flag first: a connection that arrives in between is refused, not left open.
        self.is_cut.store(true, Ordering::SeqCst);
        self.renew().broken.cancel();
    }

    /// Makes every connection silent but leaves it open. New ones work. This simulates a server that lost power and
    /// whose address another server took over.
    pub fn forget(&self) {
        self.renew().forgotten.cancel();
    }

    /// Sends new connections to another `host:port`. Existing ones stay.
    pub fn set_target(&self, target: String) {
        *locked(&self.target) = target;
    }

    /// Breaks every connection. New ones work.
    pub fn break_connections(&self) {
        self.renew().broken.cancel();
    }

    /// Takes the tokens of the current connections. Later connections get new ones.
    fn renew(&self) -> Connections {
        std::mem::take(&mut *locked(&self.connections))
    }

    /// Accepts connections again after `cut`.
    pub fn join(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn forward(mut near: TcpStream, target: String, forgotten: CancellationToken) {
    if let Ok(mut far) = TcpStream::connect(target).await {
        let copying = tokio::io::copy_bidirectional(&mut near, &mut far);
        // Silent: the server's side is closed, and the client's side stays open and gets nothing.
        if forgotten.run_until_cancelled(copying).await.is_none() {
            drop(far);
            std::future::pending::<()>().await; // `near` stays open
        }
    }
}
