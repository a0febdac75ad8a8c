//! Checks requests: each field has its limits, and a refusal names the field as clients send it. Times are checked
//! where the database's clock is known ([`NewSession::check_times`]).

use chassis::{
    grpc::{moment, timestamp},
    status::{Fields, Refusal},
};
use domain::{
    AccessLevel,
    field::{idempotency_key, line, maybe_key, maybe_line, maybe_one_of, prose, public_url},
    idempotency::request_hash,
};
use proto::room::v1::{GoLiveRequest, LiveRoomFields, TopicKeys};
use time::OffsetDateTime;

use super::policy::{BUFFER_MINUTES, FARTHEST, MOST_GROUPS, MOST_TOPICS};

/// The fields of a room that its host changes.
#[derive(Clone, Debug, Default)]
pub struct RoomFields {
    pub title: Option<String>,
    pub description: Option<String>,
    pub room_name: Option<String>,
    /// Empty: the image is removed.
    pub cover_image_url: Option<String>,
    pub access_level: Option<AccessLevel>,
    pub topic_keys: Option<Vec<String>>,
    pub groups: Option<Vec<String>>,
}

impl RoomFields {
    /// Checks the fields, and adds the refusals to `wrong`.
    pub fn check(fields: LiveRoomFields, wrong: &mut Fields) -> Self {
        let line_of = |text: Option<String>| text.map(|text| maybe_line("title", &text, 200)).transpose();
        let prose_of = |text: Option<String>| text.map(|text| prose("description", &text, 5_000)).transpose();
        let name_of = |text: Option<String>| text.map(|text| line("room_name", &text, 200)).transpose();
        Self {
            title: wrong.check(line_of(fields.title)),
            description: wrong.check(prose_of(fields.description)),
            room_name: wrong.check(name_of(fields.room_name)),
            cover_image_url: wrong.check(fields.cover_image_url.map(|url| image(&url)).transpose()),
            access_level: wrong.check(maybe_one_of("access_level", fields.access_level)),
            topic_keys: wrong.check(topics(fields.topic_keys)),
            groups: wrong.check(groups(fields.groups)),
        }
    }
}

/// A session as its host requests it. An absent field comes from the room or a default.
#[derive(Clone, Debug, Default)]
pub struct NewSession {
    pub session_title: String,
    /// `None` or a past time: now.
    pub starts_at: Option<OffsetDateTime>,
    pub ends_at: Option<OffsetDateTime>,
    pub auto_admit: Option<bool>,
    pub lobby_buffer_minutes: Option<i32>,
    pub max_participants: Option<i32>,
    pub access_level: Option<AccessLevel>,
    pub topic_keys: Option<Vec<String>>,
    pub idempotency_key: Option<String>,
    /// Two requests with the same idempotency key are the same request if this is equal.
    pub request_hash: Vec<u8>,
}

impl NewSession {
    /// Checks the request, and adds the refusals to `wrong`.
    pub fn check(request: GoLiveRequest, wrong: &mut Fields) -> Self {
        let buffer = |minutes| within("lobby_buffer_minutes", minutes, 0, 1_440);
        let most = |participants| within("max_participants", participants, 1, 10_000);
        let room_id = request.room_id;
        let mut new = Self {
            session_title: wrong.check(maybe_line(
                "session_title",
                request.session_title.as_deref().unwrap_or_default(),
                200,
            )),
            starts_at: wrong.check(moment("starts_at", request.starts_at.as_ref())),
            ends_at: wrong.check(moment("ends_at", request.ends_at.as_ref())),
            auto_admit: request.auto_admit,
            lobby_buffer_minutes: wrong.check(request.lobby_buffer_minutes.map(buffer).transpose()),
            max_participants: wrong.check(request.max_participants.map(most).transpose()),
            access_level: wrong.check(maybe_one_of("access_level", request.access_level)),
            topic_keys: wrong.check(topics(request.topic_keys)),
            idempotency_key: wrong.check(idempotency_key(request.idempotency_key)),
            request_hash: Vec::new(),
        };
        new.request_hash = new.hash(&room_id);
        new
    }

    /// The hash of the checked values: blanks around a text do not make another request.
    fn hash(&self, room_id: &str) -> Vec<u8> {
        request_hash(&GoLiveRequest {
            caller: None,
            idempotency_key: None,
            room_id: room_id.to_ascii_lowercase(),
            session_title: Some(self.session_title.clone()),
            starts_at: self.starts_at.map(timestamp),
            ends_at: self.ends_at.map(timestamp),
            auto_admit: self.auto_admit,
            lobby_buffer_minutes: self.lobby_buffer_minutes,
            max_participants: self.max_participants,
            access_level: self.access_level.map(Into::into),
            topic_keys: self.topic_keys.clone().map(|keys| TopicKeys { keys }),
        })
    }

    /// The start, if it is in the future.
    pub fn later(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.starts_at.filter(|start| *start > now)
    }

    pub fn buffer_minutes(&self) -> i32 {
        self.lobby_buffer_minutes.unwrap_or(BUFFER_MINUTES)
    }

    /// Checks that the start is within a year from now, and that the end comes after it.
    pub fn check_times(&self, now: OffsetDateTime) -> Result<(), Refusal> {
        let mut wrong = Fields::default();
        let start = self.later(now).unwrap_or(now);
        if start > now + FARTHEST {
            wrong.refuse(Refusal::invalid("starts_at", "must be within a year from now"));
        }
        if self.ends_at.is_some_and(|end| end <= start || end > start + FARTHEST) {
            wrong.refuse(Refusal::invalid("ends_at", "must be after the start, by a year at most"));
        }
        wrong.finish()
    }
}

/// Empty: the image is removed.
fn image(url: &str) -> Result<String, Refusal> {
    if url.is_empty() { Ok(String::new()) } else { Ok(public_url("cover_image_url", url)?) }
}

fn topics(keys: Option<TopicKeys>) -> Result<Option<Vec<String>>, Refusal> {
    list("topic_keys", keys, MOST_TOPICS, |key| Ok(line("topic_keys", &key, 100)?))
}

/// Groups are ids of the identity provider.
fn groups(keys: Option<TopicKeys>) -> Result<Option<Vec<String>>, Refusal> {
    list("groups", keys, MOST_GROUPS, |group| match maybe_key("groups", group, 200)? {
        empty if empty.is_empty() => Err(Refusal::invalid("groups", "must have no empty one among them")),
        group => Ok(group),
    })
}

fn list(
    field: &str,
    keys: Option<TopicKeys>,
    most: usize,
    check: impl Fn(String) -> Result<String, Refusal>,
) -> Result<Option<Vec<String>>, Refusal> {
    let Some(TopicKeys { keys }) = keys else { return Ok(None) };
    if keys.len() > most {
        return Err(Refusal::invalid(field, format!("must be at most {most}")));
    }
    keys.into_iter().map(check).collect::<Result<_, _>>().map(Some)
}

fn within(field: &str, value: i32, least: i32, most: i32) -> Result<i32, Refusal> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(Refusal::invalid(field, format!("must be {least} to {most}")))
    }
}
