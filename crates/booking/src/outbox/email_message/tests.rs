use jiff::tz::TimeZone;
use time::macros::datetime;

use super::*;

fn meeting(title: &str) -> Meeting {
    Meeting {
        title: title.to_owned(),
        starts_at: datetime!(2026-08-04 16:30 +2),
        minutes: 45,
        time_zone: None,
        url: "https://app.example.org/meeting/1".to_owned(),
        sequence: Some(0),
    }
}

fn written(locale: &str, data: &TemplateData, calendar: Option<&str>) -> EmailMessage {
    let reader = Reader::new(locale, TimeZone::get("Europe/Berlin").unwrap());
    let names = Names { host: "Hanna", guest: "Gus", reads_host: false };
    let calendar = calendar.map(str::to_owned);
    Writer { texts: &Texts::new().unwrap(), reader: &reader, names, calendar }.write(data).unwrap()
}

/// Data of every kind, with everything that can be in it.
fn every_kind() -> Vec<TemplateData> {
    let changes = Changes {
        description: Some("Bring a pen".into()),
        scheduled_at: Some(datetime!(2026-08-03 14:30 UTC)),
        duration_minutes: Some(30),
        title: Some("Algebra".into()),
        previous_description: Some("Bring a ruler".into()),
    };
    let resized = Changes { duration_minutes: Some(30), ..Changes::default() };
    let removed = Changes { description: Some(String::new()), ..Changes::default() };
    vec![
        TemplateData::Created(meeting("Lesson")),
        TemplateData::Rescheduled(meeting("Lesson"), changes.clone()),
        TemplateData::Rescheduled(meeting("Lesson"), resized),
        TemplateData::Changed(meeting("Lesson"), changes),
        TemplateData::Changed(meeting("Lesson"), removed),
        TemplateData::Cancelled(meeting("Lesson"), Some("ill".into())),
        TemplateData::Reminder(meeting("Lesson")),
        TemplateData::RoomFailed("Lesson".into(), "livekit_unavailable".into(), Some(meeting("Lesson"))),
        TemplateData::RecordingReady(None),
        TemplateData::RecordingFailed(Some("Lesson".into())),
        TemplateData::MailUndeliverable("Lesson".into(), "reminder".into()),
        TemplateData::MailUndeliverable("Lesson".into(), "unheard_of".into()),
    ]
}

#[test]
fn every_kind_is_written_in_every_language() {
    for data in every_kind() {
        let [english, german] =
            ["en", "de"].map(|locale| written(locale, &data, Some("https://c.example/x")));
        assert!(english.html().contains("lang=\"en\"") && german.html().contains("lang=\"de\""), "{data:?}");
        assert_ne!(english.subject, german.subject, "{data:?}");
        assert_eq!(english.paragraphs.len(), german.paragraphs.len(), "{data:?}");
        for (english, german) in english.paragraphs.iter().zip(&german.paragraphs) {
            assert_ne!(english, german, "{data:?}");
        }
        for (english, german) in english.links.iter().zip(&german.links) {
            assert!(english.0 != german.0 && english.1 == german.1, "{data:?}");
        }
    }
}

#[test]
fn time_is_in_words_in_the_zone_and_language_of_the_reader() {
    let data = TemplateData::Created(meeting("Lesson"));
    let english = written("en", &data, Some("https://c.example/x"));
    let when = "Tuesday, August 4, 2026 at 4:30 PM (Europe/Berlin, UTC+2)";
    assert_eq!(english.subject, format!("Booked: Lesson, {when}"));
    let text = english.text();
    assert!(text.contains(&format!("Lesson\n{when}, 45 minutes")), "{text}");
    assert!(text.contains("a new booking with Hanna."), "{text}");
    assert!(text.contains("Join the meeting: https://app.example.org/meeting/1"), "{text}");
    assert!(text.contains("Calendar file: https://c.example/x"), "{text}");
    let german = written("de", &data, None).text();
    let when = "Dienstag, 4. August 2026 um 16:30 Uhr (Europe/Berlin, UTC+2), 45 Minuten";
    assert!(german.contains(when) && german.contains("Termin mit Hanna."), "{german}");
}

#[test]
fn change_says_what_was_before() {
    let text = |index: usize| written("en", &every_kind()[index], None).text();
    let moved = text(1);
    for line in [
        "has a new time",
        "Before: Monday, August 3, 2026 at 4:30 PM",
        "Before: 30 minutes",
        "Title before: Algebra",
        "New description: Bring a pen",
        "Description before: Bring a ruler",
    ] {
        assert!(moved.contains(line), "{line}: {moved}");
    }
    let resized = text(2);
    assert!(resized.contains("has a new duration") && !resized.contains("Title before"), "{resized}");
    assert!(text(4).contains("The description was removed."), "{}", text(4));
}

#[test]
fn cancellation_has_the_reason_and_no_link_to_join() {
    let message = written("en", &TemplateData::Cancelled(meeting("Lesson"), Some("ill".into())), None);
    assert!(message.text().contains("Reason: ill"));
    assert!(!message.text().contains("Join"));
}

#[test]
fn admins_read_when_and_with_which_parties_a_room_failed() {
    let text = written("en", &every_kind()[7], None).text();
    assert!(text.contains("Hanna with Gus, Tuesday, August 4, 2026 at 4:30 PM"), "{text}");
}

#[test]
fn titles_never_become_headers_or_markup() {
    let message = written("en", &TemplateData::Reminder(meeting("A\r\nBcc: eve@x.example <b>\"&")), None);
    assert!(!message.subject.contains(['\r', '\n']), "{}", message.subject);
    assert!(message.html().contains("&lt;b&gt;&quot;&amp;"), "{}", message.html());
}
