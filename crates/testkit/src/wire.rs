//! A wire between a service and what it depends on, which a test can cut and join again.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Forwards a loopback port to a server.
#[derive(Debug)]
pub struct Wire {
    pub address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    connections: Arc<Mutex<CancellationToken>>,
    _running: DropGuard,
}

impl Wire {
    /// A wire to `host:port`.
    pub async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("the port's address");
        let running = CancellationToken::new();
        let wire = Self {
            address,
            is_cut: Arc::default(),
            connections: Arc::new(Mutex::new(running.child_token())),
            _running: running.clone().drop_guard(),
        };
        let (is_cut, connections) = (Arc::clone(&wire.is_cut), Arc::clone(&wire.connections));
        tokio::spawn(running.clone().run_until_cancelled_owned(async move {
            while let Ok((near, _)) = listener.accept().await {
                if is_cut.load(Ordering::SeqCst) {
                    continue; // dropped: the peer sees the connection closed at once
                }
                let alive = connections.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let target = target.clone();
                tokio::spawn(alive.run_until_cancelled_owned(forward(near, target)));
            }
        }));
        wire
    }

    /// Every connection breaks, and new ones are closed at once.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.cancel();
        *connections = CancellationToken::new();
    }

    pub fn join(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

async fn forward(mut near: TcpStream, target: String) {
    if let Ok(mut far) = TcpStream::connect(target).await {
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    }
}
