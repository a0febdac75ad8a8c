//! The content of e-mails: one for each kind of event, as plain text and as HTML, in the reader's language and with
//! times in their time zone. The texts are templates ([`super::texts`]).

use std::{borrow::Cow, fmt::Write};

use domain::text::escape_html;
use fluent_bundle::{FluentArgs, FluentValue};
use time::OffsetDateTime;

use super::{
    reader::Reader,
    template_data::{Changes, Meeting, TemplateData},
    texts::Texts,
};

/// The names of the parties, and which of them the reader is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'a> {
    pub host: &'a str,
    pub guest: &'a str,
    pub reads_host: bool,
}

/// The content of an e-mail.
#[derive(Debug, PartialEq, Eq)]
pub struct EmailMessage {
    pub subject: String,
    /// The code of its language.
    language: &'static str,
    paragraphs: Vec<String>,
    /// Labels and URLs.
    links: Vec<(String, String)>,
}

impl EmailMessage {
    pub fn text(&self) -> String {
        let mut text = self.paragraphs.join("\n\n");
        for (name, url) in &self.links {
            let _ = write!(text, "\n\n{name}: {url}"); // writing to a String never fails
        }
        text + "\n"
    }

    pub fn html(&self) -> String {
        let language = self.language;
        let mut html =
            format!("<!doctype html><html lang=\"{language}\"><body style=\"font-family: sans-serif\">");
        for paragraph in &self.paragraphs {
            let _ = write!(html, "<p>{}</p>", escape_html(paragraph).replace('\n', "<br>"));
        }
        for (name, url) in &self.links {
            let _ = write!(html, "<p><a href=\"{}\">{name}</a></p>", escape_html(url));
        }
        html + "</body></html>"
    }
}

/// A value of a template.
type Value<'a> = (&'static str, FluentValue<'a>);

/// Writes the e-mails of one reader.
pub struct Writer<'a> {
    pub texts: &'a Texts,
    pub reader: &'a Reader,
    pub names: Names<'a>,
    /// The signed link to the booking's calendar file.
    pub calendar: Option<String>,
}

impl Writer<'_> {
    /// Writes the e-mail for `data`.
    ///
    /// # Errors
    /// The template lacks a text or a value.
    pub fn write(&self, data: &TemplateData) -> Result<EmailMessage, String> {
        match data {
            TemplateData::Created(meeting) => self.about("booking-created", meeting, Vec::new()),
            TemplateData::Rescheduled(meeting, changes) => {
                // Without what was before, the start is the more important half.
                let is_resized = changes.scheduled_at.is_none() && changes.duration_minutes.is_some();
                let id = if is_resized { "booking-resized" } else { "booking-moved" };
                self.about(id, meeting, self.changes(changes)?)
            }
            TemplateData::Changed(meeting, changes) => {
                self.about("booking-changed", meeting, self.changes(changes)?)
            }
            TemplateData::Cancelled(meeting, reason) => {
                let reason =
                    reason.as_ref().map(|reason| self.text("cancel-reason", [("reason", reason.into())]));
                let more = reason.transpose()?.into_iter().collect();
                let message = self.about("booking-cancelled", meeting, more)?;
                let links = message.links.into_iter().filter(|(_, url)| *url != meeting.url).collect();
                Ok(EmailMessage { links, ..message })
            }
            TemplateData::Reminder(meeting) => self.about("reminder", meeting, Vec::new()),
            TemplateData::RoomFailed(title, code, meeting) => self.room_failed(title, code, meeting.as_ref()),
            TemplateData::MailUndeliverable(title, kind) => self.simple(
                "mail-undeliverable",
                vec![("title", title.into()), ("kind", kind.into())],
                Some("mail-undeliverable.hint"),
            ),
            TemplateData::RecordingReady(title) => {
                self.simple("recording-ready", vec![("title", self.title(title.as_ref())?)], None)
            }
            TemplateData::RecordingFailed(title) => {
                let title = self.title(title.as_ref())?;
                self.simple("recording-failed", vec![("title", title)], Some("recording-failed.hint"))
            }
        }
    }

    /// Writes the e-mail of a meeting: the sentence `id`, the meeting, `more`, and the links.
    fn about(&self, id: &str, meeting: &Meeting, more: Vec<String>) -> Result<EmailMessage, String> {
        let Names { host, guest, reads_host } = self.names;
        let other = if reads_host { guest } else { host };
        let when = self.when(meeting.starts_at)?;
        let values = || {
            let title = &meeting.title;
            [("other", other.into()), ("title", title.into()), ("when", when.as_str().into())]
        };
        let duration = self.duration(meeting.minutes)?;
        let facts = self.text("meeting", values().into_iter().chain([("duration", duration.into())]))?;
        let mut paragraphs = vec![self.text(id, values())?, facts];
        paragraphs.extend(more);
        let mut links = vec![(self.text("join", [])?, meeting.url.clone())];
        if let Some(calendar) = &self.calendar {
            links.push((self.text("calendar-file", [])?, calendar.clone()));
        }
        let subject = self.text(&format!("{id}.subject"), values())?;
        Ok(self.message(&subject, paragraphs, links))
    }

    /// Writes what changed, one paragraph for each field.
    fn changes(&self, changes: &Changes) -> Result<Vec<String>, String> {
        let mut paragraphs = Vec::new();
        if let Some(start) = changes.scheduled_at {
            paragraphs.push(self.text("previous-start", [("when", self.when(start)?.into())])?);
        }
        if let Some(minutes) = changes.duration_minutes {
            let duration = self.duration(minutes)?;
            paragraphs.push(self.text("previous-duration", [("duration", duration.into())])?);
        }
        if let Some(title) = &changes.title {
            paragraphs.push(self.text("previous-title", [("title", title.into())])?);
        }
        match changes.description.as_deref() {
            Some("") => paragraphs.push(self.text("no-description", [])?),
            Some(new) => paragraphs.push(self.text("new-description", [("description", new.into())])?),
            None => {}
        }
        if let Some(before) = changes.previous_description.as_ref().filter(|before| !before.is_empty()) {
            paragraphs.push(self.text("previous-description", [("description", before.into())])?);
        }
        Ok(paragraphs)
    }

    fn room_failed(
        &self,
        title: &str,
        code: &str,
        meeting: Option<&Meeting>,
    ) -> Result<EmailMessage, String> {
        let values = vec![("title", title.into()), ("code", code.into())];
        let mut message = self.simple("room-failed", values, Some("room-failed.hint"))?;
        if let Some(meeting) = meeting {
            let Names { host, guest, .. } = self.names;
            let (when, duration) = (self.when(meeting.starts_at)?, self.duration(meeting.minutes)?);
            let values = [
                ("host", host.into()),
                ("guest", guest.into()),
                ("when", when.into()),
                ("duration", duration.into()),
            ];
            message.paragraphs.insert(1, self.text("room-failed.meeting", values)?);
        }
        Ok(message)
    }

    /// Writes an e-mail without a meeting: the sentence `id` and a hint.
    fn simple(&self, id: &str, values: Vec<Value<'_>>, hint: Option<&str>) -> Result<EmailMessage, String> {
        let subject = self.text(&format!("{id}.subject"), values.clone())?;
        let mut paragraphs = vec![self.text(id, values)?];
        if let Some(hint) = hint {
            paragraphs.push(self.text(hint, [])?);
        }
        Ok(self.message(&subject, paragraphs, Vec::new()))
    }

    fn message(&self, subject: &str, paragraphs: Vec<String>, links: Vec<(String, String)>) -> EmailMessage {
        EmailMessage { subject: one_line(subject), language: self.reader.language.code(), paragraphs, links }
    }

    fn title(&self, title: Option<&String>) -> Result<FluentValue<'static>, String> {
        Ok(title.cloned().map_or_else(|| self.text("untitled", []), Ok)?.into())
    }

    /// Writes a time in words, with the reader's zone.
    fn when(&self, at: OffsetDateTime) -> Result<String, String> {
        let out_of_range = || format!("the time {at} cannot be written in words");
        let moment = self.reader.moment(at).ok_or_else(out_of_range)?;
        let zone = self.reader.zone(at).ok_or_else(out_of_range)?;
        self.text("when", [("moment", moment.into()), ("zone", zone.into())])
    }

    fn duration(&self, minutes: i32) -> Result<String, String> {
        self.text("duration", [("minutes", minutes.into())])
    }

    fn text<'v>(&self, id: &str, values: impl IntoIterator<Item = Value<'v>>) -> Result<String, String> {
        let values = values.into_iter().map(|(name, value)| (Cow::Borrowed(name), value));
        let values: FluentArgs<'v> = values.collect();
        self.texts.text(self.reader.language, id, &values)
    }
}

/// Replaces control characters by spaces: in a header, a line break would begin another header.
fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests;
