//! E-mail over SMTP: the recipient and the message of each delivery.

use chassis::service::StartError;
use domain::EmailAddress;
use lettre::{
    Address, Message,
    message::{Mailbox, MultiPart},
};
use secrecy::ExposeSecret;

use super::{
    email_message::EmailMessage,
    sent::Sent,
    smtp::{Envelope, MailServer},
    template_data::{TemplateData, stale},
};
use crate::{
    config::{Email, Links},
    store::Claimed,
};

pub struct Mailer {
    server: MailServer,
    from: Mailbox,
    admin: Option<Address>,
    links: Option<Links>,
}

impl Mailer {
    pub fn new(settings: &Email, links: Option<Links>) -> Result<Self, StartError> {
        let server = MailServer::parse(settings.smtp_url.expose_secret())
            .map_err(|wrong| StartError::Setting(format!("SMTP_URL {wrong}")))?;
        let from = Mailbox::new(settings.from.name.clone(), in_ascii(&settings.from.email));
        Ok(Self { server, from, admin: settings.admin.as_ref().map(in_ascii), links })
    }

    pub async fn send(&self, delivery: &Claimed) -> Sent {
        if let Some(dropped) = stale(delivery) {
            return dropped;
        }
        let to = match self.recipient(delivery) {
            Ok(to) => to,
            Err(sent) => return sent,
        };
        let content = match self.message(delivery, to.clone()) {
            Ok(message) => message.formatted(),
            Err(why) => return Sent::Hopeless(why),
        };
        let envelope = Envelope { from: self.from.email.clone(), to, content };
        self.server.send(&envelope).await.map_or_else(Sent::from, |()| Sent::Delivered)
    }

    fn recipient(&self, delivery: &Claimed) -> Result<Address, Sent> {
        if delivery.user_id.is_none() {
            return self.admin.clone().ok_or_else(|| Sent::Dropped("ADMIN_EMAIL is not set".to_owned()));
        }
        let Some(email) = &delivery.email else {
            let why = "the user's address is not known".to_owned();
            let booking = delivery.booking.as_ref().filter(|booking| booking.is_ahead(delivery.now));
            return Err(match booking {
                Some(booking) => Sent::Addressless(booking.ends_at(), why),
                None => Sent::Dropped(why),
            });
        };
        let email: Result<EmailAddress, _> = email.parse();
        email.map(Into::into).map_err(|invalid| Sent::Hopeless(format!("the user's address {invalid}")))
    }

    fn message(&self, delivery: &Claimed, to: Address) -> Result<Message, String> {
        let content = EmailMessage::about(&TemplateData::read(delivery)?, self.calendar(delivery));
        let unwritable = |error: &dyn std::fmt::Display| format!("failed to encode the mail: {error}");
        let domain = self.from.email.domain();
        let envelope = lettre::address::Envelope::new(Some(self.from.email.clone()), vec![to.clone()])
            .map_err(|error| unwritable(&error))?;
        Message::builder()
            .envelope(envelope) // lettre's default parses the headers, which fails for some valid addresses
            .message_id(Some(format!("<{}@{domain}>", delivery.id)))
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(content.subject.clone())
            .multipart(MultiPart::alternative_plain_html(content.text(), content.html()))
            .map_err(|error| unwritable(&error))
    }

    fn calendar(&self, delivery: &Claimed) -> Option<String> {
        let (links, booking) = (self.links.as_ref()?, delivery.booking.as_ref()?);
        links.calendar(booking.id, delivery.user_id.as_deref()?, booking.link_version)
    }
}

/// Returns an operator's address with its domain in punycode. An address that is valid only on the local mail server is
/// not changed.
fn in_ascii(address: &Address) -> Address {
    let email: Result<EmailAddress, _> = AsRef::<str>::as_ref(address).parse();
    email.map_or_else(|_| address.clone(), Into::into)
}
