//! What people read: one text per kind, plain and as HTML. Times are told in UTC with the date spelled out, since
//! nobody knows the reader's time zone; the calendar file shows them in his.

use std::fmt::Write;

use chassis::http::escaped;
use time::{OffsetDateTime, UtcOffset, format_description::BorrowedFormatItem, macros::format_description};

use super::notice::{Meeting, Notice};

const WHEN: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday], [day padding:none] [month repr:long] [year], [hour]:[minute] UTC");

/// A mail without its envelope.
#[derive(Debug, PartialEq, Eq)]
pub struct Letter {
    pub subject: String,
    paragraphs: Vec<String>,
    /// What it is called, and where it leads.
    links: Vec<(&'static str, String)>,
}

impl Letter {
    /// `calendar`: the signed link to the booking's calendar file.
    pub fn about(notice: &Notice, calendar: Option<String>) -> Self {
        match notice {
            Notice::Created(meeting) => meeting.letter("Booked", "You have a new booking.", None, calendar),
            Notice::Rescheduled(meeting) => {
                meeting.letter("Moved", "Your booking has a new time.", None, calendar)
            }
            Notice::Cancelled(meeting, reason) => {
                let reason = reason.as_ref().map(|reason| format!("Reason: {reason}"));
                let letter = meeting.letter("Cancelled", "Your booking was cancelled.", reason, calendar);
                let links = letter.links.into_iter().filter(|(_, url)| *url != meeting.url).collect();
                Self { links, ..letter }
            }
            Notice::Reminder(meeting) => meeting.letter("Soon", "Your meeting is coming up.", None, calendar),
            Notice::RoomFailed(title, code) => Self {
                subject: one_line(&format!("No room yet: {title}")),
                paragraphs: vec![
                    format!(
                        "The room of the booking \u{201c}{title}\u{201d} could not be made at once ({code})."
                    ),
                    "It is tried again by itself. If this goes on, look at the video server.".to_owned(),
                ],
                links: Vec::new(),
            },
            Notice::MailUndeliverable(title, kind) => Self {
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
            Notice::RecordingReady(title) => Self {
                subject: one_line(&format!("Recording ready: {title}")),
                paragraphs: vec![format!("The recording of \u{201c}{title}\u{201d} is ready.")],
                links: Vec::new(),
            },
            Notice::RecordingFailed(title) => Self {
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
            let _ = write!(text, "\n\n{name}: {url}"); // a String takes everything
        }
        text + "\n"
    }

    pub fn html(&self) -> String {
        let mut html = String::from("<!doctype html><html><body style=\"font-family: sans-serif\">");
        for paragraph in &self.paragraphs {
            let _ = write!(html, "<p>{}</p>", escaped(paragraph).replace('\n', "<br>"));
        }
        for (name, url) in &self.links {
            let _ = write!(html, "<p><a href=\"{}\">{name}</a></p>", escaped(url));
        }
        html + "</body></html>"
    }
}

impl Meeting {
    fn letter(&self, what: &str, happened: &str, more: Option<String>, calendar: Option<String>) -> Letter {
        let Self { title, minutes, .. } = self;
        let when = when(self.starts_at);
        let mut paragraphs = vec![happened.to_owned(), format!("{title}\n{when}, {minutes} minutes")];
        paragraphs.extend(more);
        let mut links = vec![("Join the meeting", self.url.clone())];
        links.extend(calendar.map(|url| ("Calendar file", url)));
        Letter { subject: one_line(&format!("{what}: {title}, {when}")), paragraphs, links }
    }
}

/// A mail by its kind, at the beginning of a sentence.
fn described(kind: &str) -> &'static str {
    match kind {
        "booking_created" => "The invitation",
        "booking_rescheduled" => "The new time",
        "booking_cancelled" => "The cancellation",
        "reminder" => "A reminder",
        "recording_ready" => "The news of the recording",
        _ => "An e-mail",
    }
}

fn when(moment: OffsetDateTime) -> String {
    let text = moment.to_offset(UtcOffset::UTC).format(WHEN);
    text.unwrap_or_else(|_| moment.to_string()) // it has all that the format names
}

/// What may stand in a header: a line break would begin another one.
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
    fn the_date_is_spelled_out_in_utc() {
        let letter = Letter::about(&Notice::Created(meeting("Lesson")), Some("https://c.example/x".into()));
        assert_eq!(letter.subject, "Booked: Lesson, Tuesday, 4 August 2026, 14:30 UTC");
        let text = letter.text();
        assert!(text.contains("Tuesday, 4 August 2026, 14:30 UTC, 45 minutes"), "{text}");
        assert!(text.contains("Join the meeting: https://app.example.org/meeting/1"), "{text}");
        assert!(text.contains("Calendar file: https://c.example/x"), "{text}");
    }

    #[test]
    fn a_cancelled_meeting_has_a_reason_and_no_link_to_join() {
        let letter = Letter::about(&Notice::Cancelled(meeting("Lesson"), Some("ill".into())), None);
        assert!(letter.text().contains("Reason: ill"));
        assert!(!letter.text().contains("Join"));
    }

    #[test]
    fn titles_are_words_and_never_headers_or_markup() {
        let letter = Letter::about(&Notice::Reminder(meeting("A\r\nBcc: eve@x.example <b>\"&")), None);
        assert!(!letter.subject.contains(['\r', '\n']), "{}", letter.subject);
        assert!(letter.html().contains("&lt;b&gt;&quot;&amp;"), "{}", letter.html());
    }
}
