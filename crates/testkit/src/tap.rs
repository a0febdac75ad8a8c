//! A tap on the connections to Postgres: it records the statements that the server refuses.
//!
//! Postgres writes each of them into its log, the whole statement with it. A test that reads the answers on the wire
//! depends neither on the server's log nor on statistics, and not on what other tests do.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Forwards connections to Postgres until it is dropped.
#[derive(Debug)]
pub struct Tap {
    errors: Arc<Mutex<Vec<String>>>,
    _running: DropGuard,
}

impl Tap {
    /// A tap on the server of `connect`, and the options of connections through it.
    pub async fn on(connect: &PgConnectOptions) -> (Self, PgConnectOptions) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("the port's address");
        let target = format!("{}:{}", connect.get_host(), connect.get_port());
        let running = CancellationToken::new();
        let tap = Self { errors: Arc::default(), _running: running.clone().drop_guard() };
        let errors = Arc::clone(&tap.errors);
        let accepting = running.clone();
        tokio::spawn(accepting.run_until_cancelled_owned(async move {
            while let Ok((near, _)) = listener.accept().await {
                let talk = forward(near, target.clone(), Arc::clone(&errors));
                tokio::spawn(running.clone().run_until_cancelled_owned(talk));
            }
        }));
        (tap, through(connect, address))
    }

    /// The errors that the server sent so far, as `<SQLSTATE> <message>`.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The same database at another address, in clear text: the tap reads the messages.
fn through(connect: &PgConnectOptions, address: SocketAddr) -> PgConnectOptions {
    connect.clone().host(&address.ip().to_string()).port(address.port()).ssl_mode(PgSslMode::Disable)
}

async fn forward(near: TcpStream, target: String, errors: Arc<Mutex<Vec<String>>>) {
    let Ok(far) = TcpStream::connect(target).await else { return };
    let (mut from_client, to_client) = near.into_split();
    let (from_server, mut to_server) = far.into_split();
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        _ = answers(from_server, to_client, &errors) => {}
    }
}

/// Passes the server's messages on: a type, a length that counts itself, and the content.
async fn answers(
    mut server: impl AsyncRead + Unpin,
    mut client: impl AsyncWrite + Unpin,
    errors: &Mutex<Vec<String>>,
) -> io::Result<()> {
    loop {
        let kind = server.read_u8().await?;
        let length = server.read_u32().await?;
        let mut content = vec![0; usize::try_from(length).unwrap_or_default().saturating_sub(4)];
        server.read_exact(&mut content).await?;
        if kind == b'E' {
            errors.lock().unwrap_or_else(PoisonError::into_inner).push(describe(&content));
        }
        let mut message = vec![kind];
        message.extend(length.to_be_bytes());
        message.extend(content);
        client.write_all(&message).await?;
    }
}

/// The fields C (SQLSTATE) and M (message) of an `ErrorResponse`.
fn describe(content: &[u8]) -> String {
    let field = |kind: u8| {
        let field = content.split(|byte| *byte == 0).find(|field| field.first() == Some(&kind));
        String::from_utf8_lossy(field.and_then(|field| field.get(1..)).unwrap_or_default()).into_owned()
    };
    format!("{} {}", field(b'C'), field(b'M'))
}
