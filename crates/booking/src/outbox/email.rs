//! E-mail over SMTP. A permanent refusal of a recipient sets the mail aside at once; everything else is tried again.

use std::{error::Error, time::Duration};

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
/// What a server answers when it will never take a mail for this recipient (RFC 5321 §4.2.2), unless an enhanced status
/// says more. Other permanent answers are about us (sign-in, relaying, commands), and would set aside everything.
const HOPELESS: [u16; 3] = [550, 551, 553];
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
        Some(code) if error.is_permanent() && is_about_recipient(code, &words(error)) => Sent::Hopeless(told),
        Some(code) if error.is_transient() && code != SHUTTING_DOWN => Sent::Refused(told),
        _ => Sent::Unreachable(told),
    }
}

/// What the server said behind the code.
fn words(error: &smtp::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

/// Whether a permanent refusal is about the address or the mailbox of the recipient: as its enhanced status says (RFC
/// 3463: 5.1 but for the sender's address, and 5.2), or without one its code. "553 5.7.1 Sender address rejected" and
/// "554 5.7.1 Relay access denied" are about us.
fn is_about_recipient(code: u16, words: &str) -> bool {
    let status = words.split_whitespace().next().and_then(|status| status.strip_prefix("5."));
    match status.and_then(|status| status.split_once('.')) {
        Some(("1", detail)) => !matches!(detail, "7" | "8"),
        Some((subject, _)) => subject == "2",
        None => HOPELESS.contains(&code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_of_the_recipient_is_for_good() {
        for (code, words) in [
            (550, "no such user"),
            (550, "5.1.1 User unknown"),
            (554, "5.1.1 User unknown in relay recipient table"),
            (552, "5.2.2 Mailbox full"),
            (551, ""),
            (553, "mailbox name not allowed"),
        ] {
            assert!(is_about_recipient(code, words), "{code} {words}");
        }
        for (code, words) in [
            (554, "5.7.1 Relay access denied"),
            (553, "5.7.1 Sender address rejected: not owned by user"),
            (550, "5.7.26 unauthenticated mail"),
            (550, "5.1.8 Sender's domain not found"),
            (554, "transaction failed"),
            (530, "5.7.0 Must issue a STARTTLS command first"),
            (535, "5.7.8 Authentication failed"),
        ] {
            assert!(!is_about_recipient(code, words), "{code} {words}");
        }
    }
}
