//! E-mail over SMTP: the recipient and the message of each delivery.

use chassis::service::StartError;
use domain::EmailAddress;
use email_encoding::headers::{rfc2047, writer::EmailWriter};
use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{ContentType, HeaderName, HeaderValue},
    },
};
use secrecy::ExposeSecret;

use super::{
    email_message::{Names, Writer},
    reader::Reader,
    sent::Sent,
    smtp::{Envelope, MailServer},
    template_data::{TemplateData, stale},
    texts::Texts,
};
use crate::{
    calendar::{Attendee, Entry},
    config::{Email, Links},
    store::Claimed,
};

pub struct Mailer {
    server: MailServer,
    from: Mailbox,
    admin: Option<Address>,
    links: Option<Links>,
    texts: Texts,
    default_locale: String,
}

const SUBJECT: &str = "Subject";

impl Mailer {
    pub fn new(settings: &Email, links: Option<Links>, default_locale: &str) -> Result<Self, StartError> {
        let server = MailServer::parse(settings.smtp_url.expose_secret())
            .map_err(|wrong| StartError::Setting(format!("SMTP_URL {wrong}")))?;
        let from = Mailbox::new(settings.from.name.clone(), in_ascii(&settings.from.email));
        Ok(Self {
            server,
            from,
            admin: settings.admin.as_ref().map(in_ascii),
            links,
            texts: Texts::new().map_err(StartError::Setting)?,
            default_locale: default_locale.to_owned(),
        })
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
        let data = TemplateData::read(delivery)?;
        let reader = Reader::of(delivery, &self.default_locale);
        let (names, calendar) = (names(delivery), self.calendar(delivery));
        let content = Writer { texts: &self.texts, reader: &reader, names, calendar }.write(&data)?;
        let unwritable = |error: &dyn std::fmt::Display| format!("failed to encode the mail: {error}");
        let domain = self.from.email.domain();
        let envelope = lettre::address::Envelope::new(Some(self.from.email.clone()), vec![to.clone()])
            .map_err(|error| unwritable(&error))?;
        let mut parts = MultiPart::alternative_plain_html(content.text(), content.html());
        if let Some((content_type, invitation)) = self.invitation(delivery, &data, &to) {
            let content_type = ContentType::parse(&content_type).map_err(|error| unwritable(&error))?;
            // Last, because programs show the last alternative that they know: those without a calendar show HTML.
            parts = parts.singlepart(SinglePart::builder().header(content_type).body(invitation));
        }
        let mut message = Message::builder()
            .envelope(envelope) // lettre's default parses the headers, which fails for some valid addresses
            .message_id(Some(format!("<{}@{domain}>", delivery.id)))
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .raw_header(subject(&content.subject))
            // Out-of-office programs do not answer it (RFC 3834).
            .raw_header(header("Auto-Submitted", "auto-generated"));
        if let Some(booking) = &delivery.booking {
            // All e-mails of a booking answer the same message, which was never sent: mail programs show them together.
            let thread = format!("<booking.{}@{domain}>", booking.id);
            message = message.in_reply_to(thread.clone()).references(thread);
        }
        message.multipart(parts).map_err(|error| unwritable(&error))
    }

    /// Writes the calendar part of an e-mail, with its content type. None: the event changes no calendar.
    fn invitation(&self, delivery: &Claimed, data: &TemplateData, to: &Address) -> Option<(String, String)> {
        let (booking, (meeting, is_cancelled)) = (delivery.booking.as_ref()?, data.scheduled()?);
        let names = names(delivery);
        let entry = Entry {
            id: booking.id,
            sequence: meeting.sequence.unwrap_or(booking.sequence),
            is_cancelled,
            title: &meeting.title,
            description: &booking.description,
            meeting_url: &meeting.url,
            host_name: names.host,
            guest_name: names.guest,
            starts_at: meeting.starts_at,
            minutes: meeting.minutes,
            time_zone: meeting.time_zone.as_deref(),
            created_at: booking.created_at,
            updated_at: delivery.happened_at,
            now: delivery.now,
            organizer: Some(self.from.email.as_ref()),
        };
        let name = if names.reads_host { names.host } else { names.guest };
        let invitation = entry.invitation(Attendee { address: to.as_ref(), name });
        // RFC 6047 §2.4: the method is a parameter of the content type too.
        let method = entry.invitation_method().name();
        Some((format!("text/calendar; charset=utf-8; method={method}"), invitation))
    }

    fn calendar(&self, delivery: &Claimed) -> Option<String> {
        let (links, booking) = (self.links.as_ref()?, delivery.booking.as_ref()?);
        links.calendar(booking.id, delivery.user_id.as_deref()?, booking.link_version)
    }
}

fn names(delivery: &Claimed) -> Names<'_> {
    let Some(booking) = &delivery.booking else { return Names::default() };
    let reads_host = delivery.user_id.as_ref() == Some(&booking.host_id);
    Names { host: &booking.host_name, guest: &booking.guest_name, reads_host }
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// Returns the header of the subject. A text that looks like an encoded word (RFC 2047) is encoded as a whole: written
/// as it is, mail programs would decode it, and show a text that was never checked.
fn subject(text: &str) -> HeaderValue {
    if !text.contains("=?") {
        return header(SUBJECT, text);
    }
    let mut encoded = String::new();
    let mut writer = EmailWriter::new(&mut encoded, SUBJECT.len() + ": ".len(), 0, false);
    let _ = rfc2047::encode(text, &mut writer); // writing to a String never fails
    drop(writer); // it writes the rest
    HeaderValue::dangerous_new_pre_encoded(HeaderName::new_from_ascii_str(SUBJECT), text.to_owned(), encoded)
}

/// Returns an operator's address with its domain in punycode. An address that is valid only on the local mail server is
/// not changed.
fn in_ascii(address: &Address) -> Address {
    let email: Result<EmailAddress, _> = AsRef::<str>::as_ref(address).parse();
    email.map_or_else(|_| address.clone(), Into::into)
}
