//! E-mail over SMTP. A permanent refusal of a recipient sets the mail aside at once; everything else is tried again.

use std::time::Duration;

use chassis::service::StartError;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, MultiPart},
    transport::smtp::{self, PoolConfig},
};
use secrecy::ExposeSecret;

use super::{
    letter::Letter,
    notice::{Notice, stale},
    worker::Sent,
};
use crate::{
    config::{Email, Links},
    store::Claimed,
};

const CONNECTIONS: u32 = 16;
const TIMEOUT: Duration = Duration::from_secs(10);
/// What a server answers when it will never take this mail for this recipient (RFC 5321 §4.2.2). Other permanent
/// answers are about us (sign-in, commands), and would set aside everything.
const HOPELESS: [u16; 5] = [550, 551, 552, 553, 554];
/// "Service not available": about the server, not the mail.
const SHUTTING_DOWN: u16 = 421;

pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    admin: Option<Address>,
    links: Option<Links>,
}

impl Mailer {
    pub fn new(settings: &Email, links: Option<Links>) -> Result<Self, StartError> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(settings.smtp_url.expose_secret())
            .map_err(|error| StartError::Setting(format!("SMTP_URL: {error}")))?
            .pool_config(PoolConfig::new().max_size(CONNECTIONS))
            .timeout(Some(TIMEOUT))
            .build();
        Ok(Self { transport, from: settings.from.clone(), admin: settings.admin.clone(), links })
    }

    pub async fn send(&self, delivery: &Claimed) -> Sent {
        if let Some(dropped) = stale(delivery) {
            return dropped;
        }
        let message = match self.recipient(delivery) {
            Ok(recipient) => self.message(delivery, recipient),
            Err(sent) => return sent,
        };
        match message {
            Ok(message) => match self.transport.send(message).await {
                Ok(_) => Sent::Delivered,
                Err(error) => refused(&error),
            },
            Err(why) => Sent::Hopeless(why),
        }
    }

    fn recipient(&self, delivery: &Claimed) -> Result<Address, Sent> {
        let nobody = |why: &str| Sent::Dropped(why.to_owned());
        match (&delivery.user_id, &delivery.email) {
            (None, _) => self.admin.clone().ok_or_else(|| nobody("ADMIN_EMAIL is not set")),
            (Some(_), None) => Err(nobody("no address of this person is known")),
            (Some(_), Some(email)) => email
                .parse()
                .map_err(|error| Sent::Hopeless(format!("the person's address is none: {error}"))),
        }
    }

    fn message(&self, delivery: &Claimed, to: Address) -> Result<Message, String> {
        let letter = Letter::about(&Notice::read(delivery)?, self.calendar(delivery));
        let domain = self.from.email.domain();
        Message::builder()
            .message_id(Some(format!("<{}@{domain}>", delivery.id)))
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(letter.subject.clone())
            .multipart(MultiPart::alternative_plain_html(letter.text(), letter.html()))
            .map_err(|error| format!("the mail cannot be written: {error}"))
    }

    fn calendar(&self, delivery: &Claimed) -> Option<String> {
        let (links, booking) = (self.links.as_ref()?, delivery.booking.as_ref()?);
        links.calendar(booking.id, delivery.user_id.as_deref()?, booking.link_version)
    }
}

fn refused(error: &smtp::Error) -> Sent {
    let told = error.to_string();
    match error.status().map(u16::from) {
        Some(code) if HOPELESS.contains(&code) => Sent::Hopeless(told),
        Some(code) if error.is_transient() && code != SHUTTING_DOWN => Sent::Refused(told),
        _ => Sent::Unreachable(told),
    }
}
