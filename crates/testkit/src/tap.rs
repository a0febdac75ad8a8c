//! A proxy on the connections to Postgres: it records the statements that clients run, and the errors that the server
//! sends.
//!
//! Postgres logs each failed statement in full. A test that reads the messages of its own connections depends neither
//! on the server's log, nor on statistics, nor on other tests.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    recorded: Recorded,
    _running: DropGuard,
}

#[derive(Clone, Debug, Default)]
struct Recorded {
    statements: Arc<Mutex<Vec<String>>>,
    errors: Arc<Mutex<Vec<String>>>,
}

impl Tap {
    /// Starts a tap on the server of `connect`. Returns the options of connections through it.
    pub async fn on(connect: &PgConnectOptions) -> (Self, PgConnectOptions) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("the port's address");
        let target = format!("{}:{}", connect.get_host(), connect.get_port());
        let running = CancellationToken::new();
        let tap = Self { recorded: Recorded::default(), _running: running.clone().drop_guard() };
        let recorded = tap.recorded.clone();
        let accepting = running.clone();
        tokio::spawn(accepting.run_until_cancelled_owned(async move {
            // Connections are tasks of their own, and end with the tap too.
            while let Ok((near, _)) = listener.accept().await {
                let forwarding = forward(near, target.clone(), recorded.clone());
                tokio::spawn(running.clone().run_until_cancelled_owned(forwarding));
            }
        }));
        (tap, through(connect, address))
    }

    /// The errors that the server has sent so far, as `<SQLSTATE> <message>`.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        locked(&self.recorded.errors).clone()
    }

    /// The statements that clients have run so far, prepared or not, with the text that they sent.
    #[must_use]
    pub fn statements(&self) -> Vec<String> {
        locked(&self.recorded.statements).clone()
    }
}

fn locked<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The options of the same database at the tap's address, without TLS, because the tap reads the messages.
fn through(connect: &PgConnectOptions, address: SocketAddr) -> PgConnectOptions {
    connect.clone().host(&address.ip().to_string()).port(address.port()).ssl_mode(PgSslMode::Disable)
}

async fn forward(near: TcpStream, target: String, recorded: Recorded) {
    let Ok(far) = TcpStream::connect(target).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true)); // a failure only makes it slower
    let (from_client, to_client) = near.into_split();
    let (from_server, to_server) = far.into_split();
    // When one side closes, both directions end, as they do without a tap.
    tokio::select! {
        _ = requests(from_client, to_server, &recorded.statements) => {}
        _ = answers(from_server, to_client, &recorded.errors) => {}
    }
}

/// Forwards the client's messages. The first one has no type byte.
async fn requests(
    mut client: impl AsyncRead + Unpin,
    mut server: impl AsyncWrite + Unpin,
    statements: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let start = content(&mut client).await?;
    server.write_all(&start).await?;
    // A statement is prepared once and bound many times, so its text is kept under its name.
    let mut prepared = HashMap::new();
    loop {
        let kind = client.read_u8().await?;
        let message = content(&mut client).await?;
        let mut texts = message[4..].split(|byte| *byte == 0).map(String::from_utf8_lossy);
        match (kind, texts.next(), texts.next()) {
            // P: Parse, with the name and the text. B: Bind, with the name of the portal before that of the
            // statement. Q: a simple query.
            (b'P', Some(name), Some(text)) => drop(prepared.insert(name.into_owned(), text.into_owned())),
            (b'B', _, Some(name)) => locked(statements).extend(prepared.get(&*name).cloned()),
            (b'Q', Some(text), _) => locked(statements).push(text.into_owned()),
            _ => {}
        }
        server.write_all(&[&[kind], &message[..]].concat()).await?;
    }
}

/// Forwards the server's messages.
async fn answers(
    mut server: impl AsyncRead + Unpin,
    mut client: impl AsyncWrite + Unpin,
    errors: &Mutex<Vec<String>>,
) -> io::Result<()> {
    loop {
        let kind = server.read_u8().await?;
        let message = content(&mut server).await?;
        if kind == b'E' {
            locked(errors).push(describe(&message[4..]));
        }
        client.write_all(&[&[kind], &message[..]].concat()).await?;
    }
}

/// Reads a message without its type byte: a length that includes itself, and the content.
async fn content(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut message = length.to_be_bytes().to_vec();
    // At least 4: the length includes itself, and a smaller number would break the slice below.
    message.resize(usize::try_from(length).unwrap_or_default().max(4), 0);
    from.read_exact(&mut message[4..]).await?;
    Ok(message)
}

/// The fields C (SQLSTATE) and M (message) of an `ErrorResponse`.
fn describe(content: &[u8]) -> String {
    let field = |kind: u8| {
        let field = content.split(|byte| *byte == 0).find(|field| field.first() == Some(&kind));
        String::from_utf8_lossy(field.and_then(|field| field.get(1..)).unwrap_or_default()).into_owned()
    };
    format!("{} {}", field(b'C'), field(b'M'))
}
