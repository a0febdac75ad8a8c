//! The texts of e-mails: one for each kind of event, as plain text and as HTML. Times are in UTC with the date spelled
//! out, because the reader's time zone is not known. The calendar file shows the reader's local time.

use std::fmt::Write;

use domain::text::escape_html;
use time::{OffsetDateTime, UtcOffset, format_description::BorrowedFormatItem, macros::format_description};

use super::template_data::{Meeting, TemplateData};

const WHEN: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday], [day padding:none] [month repr:long] [year], [hour]:[minute] UTC");

/// The content of an e-mail.
#[derive(Debug, PartialEq, Eq)]
pub struct EmailMessage {
    pub subject: String,
    paragraphs: Vec<String>,
    /// Labels and URLs.
    links: Vec<(&'static str, String)>,
}

impl EmailMessage {
    /// Writes the e-mail for `data`; `calendar` is the signed link to the booking's calendar file.
    pub fn about(data: &TemplateData, calendar: Option<String>) -> Self {
        match data {
            TemplateData::Created(meeting) => {
                meeting.email_message("Booked", "You have a new booking.", None, calendar)
            }
            TemplateData::Rescheduled(meeting) => {
                meeting.email_message("Moved", "Your booking has a new time.", None, calendar)
            }
            TemplateData::Cancelled(meeting, reason) => {
                let reason = reason.as_ref().map(|reason| format!("Reason: {reason}"));
                let message =
                    meeting.email_message("Cancelled", "Your booking was cancelled.", reason, calendar);
                let links = message.links.into_iter().filter(|(_, url)| *url != meeting.url).collect();
                Self { links, ..message }
            }
            TemplateData::Reminder(meeting) => {
                meeting.email_message("Soon", "Your meeting is coming up.", None, calendar)
            }
            TemplateData::RoomFailed(title, code) => Self {
                subject: one_line(&format!("No room yet: {title}")),
                paragraphs: vec![
                    format!(
                        "The room of the booking \u{201c}{title}\u{201d} could not be created immediately ({code})."
                    ),
                    "Greenroom retries automatically. If this continues, check the video server.".to_owned(),
                ],
                links: Vec::new(),
            },
            TemplateData::MailUndeliverable(title, kind) => Self {
                subject: one_line(&format!("Guest not reached: {title}")),
                paragraphs: vec![
                    format!(
                        "{} for \u{201c}{title}\u{201d} could not be delivered to your guest by e-mail.",
                        described(kind)
                    ),
                    "Please contact your guest in another way.".to_owned(),
                ],
                links: Vec::new(),
            },
            TemplateData::RecordingReady(title) => Self {
                subject: one_line(&format!("Recording ready: {title}")),
                paragraphs: vec![format!("The recording of \u{201c}{title}\u{201d} is ready.")],
                links: Vec::new(),
            },
            TemplateData::RecordingFailed(title) => Self {
                subject: one_line(&format!("Recording failed: {title}")),
                paragraphs: vec![
                    format!("The recording of \u{201c}{title}\u{201d} failed. There is no file."),
                    "While the meeting is on, you can start another recording.".to_owned(),
                ],
                links: Vec::new(),
            },
        }
    }

    pub fn text(&self) -> String {
        let mut text = self.paragraphs.join("\n\n");
        for (name, url) in &self.links {
            let _ = write!(text, "\n\n{name}: {url}"); // writing to a String never fails
        }
        text + "\n"
    }

    pub fn html(&self) -> String {
        let mut html = String::from("<!doctype html><html><body style=\"font-family: sans-serif\">");
        for paragraph in &self.paragraphs {
            let _ = write!(html, "<p>{}</p>", escape_html(paragraph).replace('\n', "<br>"));
        }
        for (name, url) in &self.links {
            let _ = write!(html, "<p><a href=\"{}\">{name}</a></p>", escape_html(url));
        }
        html + "</body></html>"
    }
}

impl Meeting {
    fn email_message(
        &self,
        what: &str,
        happened: &str,
        more: Option<String>,
        calendar: Option<String>,
    ) -> EmailMessage {
        let Self { title, minutes, .. } = self;
        let when = when(self.starts_at);
        let mut paragraphs = vec![happened.to_owned(), format!("{title}\n{when}, {minutes} minutes")];
        paragraphs.extend(more);
        let mut links = vec![("Join the meeting", self.url.clone())];
        links.extend(calendar.map(|url| ("Calendar file", url)));
        EmailMessage { subject: one_line(&format!("{what}: {title}, {when}")), paragraphs, links }
    }
}

/// Names a mail by its kind, as the beginning of a sentence.
fn described(kind: &str) -> &'static str {
    match kind {
        "booking_created" => "The invitation",
        "booking_rescheduled" => "The new time",
        "booking_cancelled" => "The cancellation",
        "reminder" => "A reminder",
        "recording_ready" => "The notification about the recording",
        _ => "An e-mail",
    }
}

fn when(moment: OffsetDateTime) -> String {
    let text = moment.to_offset(UtcOffset::UTC).format(WHEN);
    text.unwrap_or_else(|_| moment.to_string()) // never fails: a time has all components
}

/// Replaces control characters by spaces: in a header, a line break would begin another header.
fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn meeting(title: &str) -> Meeting {
        Meeting {
            title: title.to_owned(),
            starts_at: datetime!(2026-08-04 16:30 +2),
            minutes: 45,
            url: "https://app.example.org/meeting/1".to_owned(),
        }
    }

    #[test]
    fn date_is_spelled_out_in_utc() {
        let message = EmailMessage::about(
            &TemplateData::Created(meeting("Lesson")),
            Some("https://c.example/x".into()),
        );
        assert_eq!(message.subject, "Booked: Lesson, Tuesday, 4 August 2026, 14:30 UTC");
        let text = message.text();
        assert!(text.contains("Tuesday, 4 August 2026, 14:30 UTC, 45 minutes"), "{text}");
        assert!(text.contains("Join the meeting: https://app.example.org/meeting/1"), "{text}");
        assert!(text.contains("Calendar file: https://c.example/x"), "{text}");
    }

    #[test]
    fn cancellation_has_the_reason_and_no_link_to_join() {
        let message =
            EmailMessage::about(&TemplateData::Cancelled(meeting("Lesson"), Some("ill".into())), None);
        assert!(message.text().contains("Reason: ill"));
        assert!(!message.text().contains("Join"));
    }

    #[test]
    fn titles_never_become_headers_or_markup() {
        let message =
            EmailMessage::about(&TemplateData::Reminder(meeting("A\r\nBcc: eve@x.example <b>\"&")), None);
        assert!(!message.subject.contains(['\r', '\n']), "{}", message.subject);
        assert!(message.html().contains("&lt;b&gt;&quot;&amp;"), "{}", message.html());
    }
}
