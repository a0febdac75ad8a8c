//! Received e-mails, decoded by a parser that is independent of the sender's code.

use std::collections::VecDeque;

use mail_parser::MessageParser;
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mail {
    /// Counts from 1.
    pub id: u64,
    /// The recipients of the envelope.
    pub to: Vec<String>,
    pub from: String,
    pub subject: String,
    /// The same for every repeat of an e-mail.
    pub message_id: String,
    /// `Date`, RFC 3339.
    pub date: String,
    pub text: String,
    pub html: String,
    /// The names of all headers, in order.
    pub headers: Vec<String>,
    /// The e-mail as it was received.
    #[serde(skip)]
    pub raw: Vec<u8>,
}

impl Mail {
    pub(crate) fn read(to: Vec<String>, raw: &[u8]) -> Self {
        let parsed = MessageParser::default().parse(raw).unwrap_or_default();
        let from = parsed.from().and_then(|from| from.first()).and_then(|from| from.address());
        let text = |part: Option<std::borrow::Cow<'_, str>>| part.map(String::from).unwrap_or_default();
        Self {
            id: 0,
            to,
            from: from.unwrap_or_default().to_owned(),
            subject: parsed.subject().unwrap_or_default().to_owned(),
            message_id: parsed.message_id().unwrap_or_default().to_owned(),
            date: parsed.date().map(mail_parser::DateTime::to_rfc3339).unwrap_or_default(),
            text: text(parsed.body_text(0)),
            html: text(parsed.body_html(0)),
            headers: parsed.headers().iter().map(|header| header.name().to_owned()).collect(),
            raw: raw.to_vec(),
        }
    }
}

#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) taken: u64,
    mails: VecDeque<Mail>,
}

impl Inbox {
    pub(crate) fn take(&mut self, mail: Mail, keep: usize) {
        self.taken += 1;
        self.mails.push_front(Mail { id: self.taken, ..mail });
        self.mails.truncate(keep);
    }

    pub(crate) fn newest_first(&self) -> Vec<Mail> {
        self.mails.iter().cloned().collect()
    }
}
