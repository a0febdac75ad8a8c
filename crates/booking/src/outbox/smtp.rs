//! The client of a mail server, with a pool of idle connections.
//!
//! lettre implements SMTP and TLS. Its own transport does not return the stage at which a mail failed, which decides
//! what a failure means: "550" as greeting concerns this client, "550" as answer to a recipient concerns the recipient.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lettre::{
    Address,
    transport::smtp::{
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, Tls, TlsParameters},
        commands::{Data, Mail, Noop, Rcpt, Rset},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter},
    },
};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use url::Url;

use super::reply::{Failure, Stage, Trouble};

/// The timeout of a mail, including the connection; shorter than the worker's timeout of a delivery.
const SEND_TIMEOUT: Duration = Duration::from_secs(9);
/// The timeout of the first answer over an idle connection, which the server or a proxy may have closed.
const REUSE_TIMEOUT: Duration = Duration::from_secs(2);
const RESET_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an idle connection is kept. Servers close idle connections after minutes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_IDLE: usize = 16;

/// A mail with its sender and recipient.
pub struct Envelope {
    pub from: Address,
    pub to: Address,
    pub content: Vec<u8>,
}

/// The steps of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The connection, the greeting and TLS.
    Connect,
    /// `AUTH`.
    SignIn,
    /// `NOOP`.
    Noop,
}

pub struct MailServer {
    host: String,
    port: u16,
    tls: Tls,
    hello: ClientId,
    credentials: Option<Credentials>,
    idle: Idle,
}

/// The idle connections, newest last.
type Idle = Arc<Mutex<Vec<(Instant, AsyncSmtpConnection)>>>;

impl MailServer {
    /// Parses the URL of the setting `SMTP_URL`. Its path, if any, is the name for EHLO.
    ///
    /// # Errors
    /// What is wrong with the URL, without repeating any part of it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str =
            "must be smtp://… or smtps://…, with tls=required or opportunistic at most, and a host";
        let url = Url::parse(text).map_err(|_| FORM)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(FORM)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let parameters = || TlsParameters::new(host.clone()).map_err(|_| "has a host that TLS cannot verify");
        let tls = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
        let (port, tls) = match (url.scheme(), tls.as_deref()) {
            ("smtp", None) => (25, Tls::None),
            ("smtp", Some("required")) => (587, Tls::Required(parameters()?)),
            ("smtp", Some("opportunistic")) => (587, Tls::Opportunistic(parameters()?)),
            ("smtps", _) => (465, Tls::Wrapper(parameters()?)),
            _ => return Err(FORM),
        };
        let name = url.path().trim_matches('/');
        let decoded = |text| percent_decode_str(text).decode_utf8().map_err(|_| FORM);
        let credentials = match url.password() {
            Some(password) => {
                Some(Credentials::new(decoded(url.username())?.into_owned(), decoded(password)?.into_owned()))
            }
            None => None,
        };
        Ok(Self {
            port: url.port().unwrap_or(port),
            host,
            tls,
            hello: if name.is_empty() { ClientId::default() } else { ClientId::Domain(name.to_owned()) },
            credentials,
            idle: Idle::default(),
        })
    }

    pub async fn send(&self, envelope: &Envelope) -> Result<(), Failure> {
        let mut stage = Stage::Connect;
        let sent = timeout(SEND_TIMEOUT, self.attempt(envelope, &mut stage)).await;
        sent.unwrap_or(Err(Trouble::Timeout)).map_err(|trouble| Failure { stage, trouble })
    }

    async fn attempt(&self, envelope: &Envelope, stage: &mut Stage) -> Result<(), Trouble> {
        while let Some(connection) = self.reusable() {
            match self.send_over(connection, REUSE_TIMEOUT, envelope, stage).await {
                // The connection was closed while idle; other idle connections may be closed too. Nothing of the mail
                // was sent, so sending it again is no repeat.
                Err(trouble) if *stage == Stage::Sender && !trouble.is_answer() => self.idle.lock().clear(),
                sent => return sent,
            }
        }
        *stage = Stage::Connect;
        let connection = self.connect().await?;
        self.send_over(connection, SEND_TIMEOUT, envelope, stage).await
    }

    async fn send_over(
        &self,
        mut connection: AsyncSmtpConnection,
        first_answer: Duration,
        envelope: &Envelope,
        stage: &mut Stage,
    ) -> Result<(), Trouble> {
        *stage = Stage::Sender;
        let sent = match parameters(&connection, envelope) {
            Ok(parameters) => deliver(&mut connection, first_answer, parameters, envelope, stage).await,
            Err(trouble) => Err(trouble),
        };
        match &sent {
            // A new connection costs several round trips, and TLS.
            Ok(()) => keep_idle(&self.idle, connection),
            Err(trouble) if trouble.is_answer() => {
                let idle = Arc::clone(&self.idle);
                // In the background: the result of the mail does not wait for RSET.
                tokio::spawn(async move {
                    if let Ok(Ok(_)) = timeout(RESET_TIMEOUT, connection.command(Rset)).await {
                        keep_idle(&idle, connection);
                    }
                });
            }
            Err(_) => {} // not reused: the next answer on it could belong to this mail
        }
        sent
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Trouble> {
        let mut connection = self.open().await?;
        self.sign_in(&mut connection).await?;
        Ok(connection)
    }

    /// Connects, signs in, and asks for an answer to NOOP.
    pub async fn probe(&self) -> Result<(), (Step, Trouble)> {
        let mut step = Step::Connect;
        let attempt = async {
            let mut connection = self.open().await?;
            step = Step::SignIn;
            self.sign_in(&mut connection).await?;
            step = Step::Noop;
            connection.command(Noop).await?;
            let _ = connection.quit().await; // the answer to NOOP is what counts
            Ok(())
        };
        let probed = timeout(SEND_TIMEOUT, attempt).await.unwrap_or(Err(Trouble::Timeout));
        probed.map_err(|trouble| (step, trouble))
    }

    /// Connects, with TLS if it is set.
    async fn open(&self) -> Result<AsyncSmtpConnection, Trouble> {
        let wrapper = if let Tls::Wrapper(parameters) = &self.tls { Some(parameters.clone()) } else { None };
        let address = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, Some(SEND_TIMEOUT), &self.hello, wrapper, None)
                .await?;
        match &self.tls {
            Tls::Required(parameters) => connection.starttls(parameters.clone(), &self.hello).await?,
            Tls::Opportunistic(parameters) if connection.can_starttls() => {
                connection.starttls(parameters.clone(), &self.hello).await?;
            }
            Tls::None | Tls::Opportunistic(_) | Tls::Wrapper(_) => {}
        }
        Ok(connection)
    }

    async fn sign_in(&self, connection: &mut AsyncSmtpConnection) -> Result<(), Trouble> {
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(())
    }

    fn reusable(&self) -> Option<AsyncSmtpConnection> {
        let mut idle = self.idle.lock();
        idle.retain(|(since, _)| since.elapsed() < IDLE_TIMEOUT);
        idle.pop().map(|(_, connection)| connection)
    }
}

/// Returns the parameters of `MAIL FROM` for this mail. Fails if the server lacks a needed extension.
fn parameters(connection: &AsyncSmtpConnection, envelope: &Envelope) -> Result<Vec<MailParameter>, Trouble> {
    let is_ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
    let offered = |extension, name| {
        if connection.server_info().supports_feature(extension) {
            Ok(())
        } else if is_ascii(&envelope.to) {
            Err(Trouble::Sender(name))
        } else {
            Err(Trouble::Recipient(name))
        }
    };
    let mut parameters = Vec::new();
    if !is_ascii(&envelope.from) || !is_ascii(&envelope.to) {
        offered(Extension::SmtpUtfEight, "SMTPUTF8")?;
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !envelope.content.is_ascii() {
        offered(Extension::EightBitMime, "8BITMIME")?;
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    Ok(parameters)
}

async fn deliver(
    connection: &mut AsyncSmtpConnection,
    first_answer: Duration,
    parameters: Vec<MailParameter>,
    envelope: &Envelope,
    stage: &mut Stage,
) -> Result<(), Trouble> {
    let sender = Mail::new(Some(envelope.from.clone()), parameters);
    // Shorter on a reused connection, which may be dead without a sign of it.
    timeout(first_answer, connection.command(sender)).await.map_err(|_| Trouble::Timeout)??;
    *stage = Stage::Recipient;
    connection.command(Rcpt::new(envelope.to.clone(), Vec::new())).await?;
    *stage = Stage::Content;
    connection.command(Data).await?;
    connection.message(&envelope.content).await?;
    Ok(())
}

/// Keeps a connection for the next mail, and closes it with QUIT if it stays unused.
fn keep_idle(idle: &Idle, connection: AsyncSmtpConnection) {
    let mut connections = idle.lock();
    if connections.len() >= MAX_IDLE {
        return;
    }
    connections.push((Instant::now(), connection));
    drop(connections);
    // One task for each connection: it ends after the timeout, whether the connection was used or not.
    let idle = Arc::clone(idle);
    tokio::spawn(async move {
        tokio::time::sleep(IDLE_TIMEOUT).await;
        let unused: Vec<_> =
            idle.lock().extract_if(.., |(since, _)| since.elapsed() >= IDLE_TIMEOUT).collect();
        for (_, mut connection) in unused {
            let _ = timeout(RESET_TIMEOUT, connection.quit()).await; // closed also if QUIT fails
        }
    });
}
