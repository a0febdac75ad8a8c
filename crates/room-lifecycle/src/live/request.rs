//! Requests, checked: each field with its limits, refused by the name under which clients send it. What depends on
//! the clock is checked where the database's clock is known ([`NewSession::check_times`]).

use chassis::{
    field::{line, moment, prose},
    status::Refusal,
};
use domain::AccessLevel;
use proto::room::v1::{GoLiveRequest, LiveRoomFields, TopicKeys};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

/// How far ahead a session may start, and how long after its start it may end.
const FARTHEST: Duration = Duration::days(365);
const BUFFER_MINUTES: i32 = 15;
const MOST_TOPICS: usize = 20;
const MOST_GROUPS: usize = 100;

/// What a host wants changed of his room.
#[derive(Clone, Debug, Default)]
pub struct RoomFields {
    pub title: Option<String>,
    pub description: Option<String>,
    pub room_name: Option<String>,
    /// Empty: none any more.
    pub cover_image_url: Option<String>,
    pub access_level: Option<AccessLevel>,
    pub topic_keys: Option<Vec<String>>,
    pub groups: Option<Vec<String>>,
}

impl RoomFields {
    pub fn check(fields: LiveRoomFields) -> Result<Self, Refusal> {
        Ok(Self {
            title: fields.title.map(|text| maybe_line("title", &text, 200)).transpose()?,
            description: fields.description.map(|text| prose("description", text, 5_000)).transpose()?,
            room_name: fields.room_name.map(|text| line("room_name", &text, 200)).transpose()?,
            cover_image_url: fields.cover_image_url.map(image).transpose()?,
            access_level: fields.access_level.as_deref().map(access_level).transpose()?,
            topic_keys: keys("topic_keys", fields.topic_keys, MOST_TOPICS, 100)?,
            groups: keys("groups", fields.groups, MOST_GROUPS, 200)?,
        })
    }
}

/// A session as its host wants it. What is absent, the room or a default says.
#[derive(Clone, Debug, Default)]
pub struct NewSession {
    pub session_title: String,
    /// None, or past: now.
    pub starts_at: Option<OffsetDateTime>,
    pub ends_at: Option<OffsetDateTime>,
    pub auto_admit: Option<bool>,
    pub lobby_buffer_minutes: Option<i32>,
    pub max_participants: Option<i32>,
    pub access_level: Option<AccessLevel>,
    pub topic_keys: Option<Vec<String>>,
    pub idempotency_key: Option<String>,
}

impl NewSession {
    pub fn check(request: GoLiveRequest) -> Result<Self, Refusal> {
        let access = Some(request.access_level).filter(|level| !level.is_empty());
        let buffer = |minutes| within("lobby_buffer_minutes", minutes, 0, 1_440);
        let most = |people| within("max_participants", people, 1, 10_000);
        Ok(Self {
            session_title: maybe_line("session_title", &request.session_title, 200)?,
            starts_at: moment("starts_at", request.starts_at.as_ref())?,
            ends_at: moment("ends_at", request.ends_at.as_ref())?,
            auto_admit: request.auto_admit,
            lobby_buffer_minutes: request.lobby_buffer_minutes.map(buffer).transpose()?,
            max_participants: request.max_participants.map(most).transpose()?,
            access_level: access.as_deref().map(access_level).transpose()?,
            topic_keys: keys("topic_keys", request.topic_keys, MOST_TOPICS, 100)?,
            idempotency_key: Some(prose("Idempotency-Key", request.idempotency_key, 200)?)
                .filter(|key| !key.is_empty()),
        })
    }

    /// When it starts, if that is still to come.
    pub fn later(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.starts_at.filter(|start| *start > now)
    }

    pub fn buffer_minutes(&self) -> i32 {
        self.lobby_buffer_minutes.unwrap_or(BUFFER_MINUTES)
    }

    /// Within a year from now, and an end that comes after the start.
    pub fn check_times(&self, now: OffsetDateTime) -> Result<(), Refusal> {
        let start = self.later(now).unwrap_or(now);
        if start > now + FARTHEST {
            return Err(Refusal::invalid("starts_at", "must be within a year from now"));
        }
        match self.ends_at {
            Some(end) if end <= start || end > start + FARTHEST => {
                Err(Refusal::invalid("ends_at", "must be after the start, by a year at most"))
            }
            _ => Ok(()),
        }
    }

    /// What makes two requests the same: every field that was told, each with its length.
    pub fn hash(&self) -> Vec<u8> {
        let time = |time: OffsetDateTime| time.unix_timestamp_nanos().to_string();
        let mut hash = Sha256::new();
        let mut add = |field: Option<&str>| {
            let length = field.map_or(-1, |text| i128::try_from(text.len()).unwrap_or(i128::MAX));
            hash.update(length.to_be_bytes());
            hash.update(field.unwrap_or_default());
        };
        for field in [
            Some(self.session_title.clone()),
            self.starts_at.map(time),
            self.ends_at.map(time),
            self.auto_admit.map(|admit| admit.to_string()),
            self.lobby_buffer_minutes.map(|minutes| minutes.to_string()),
            self.max_participants.map(|people| people.to_string()),
            self.access_level.map(|level| level.as_str().to_owned()),
            self.topic_keys.as_ref().map(|keys| keys.len().to_string()),
        ] {
            add(field.as_deref());
        }
        self.topic_keys.iter().flatten().for_each(|key| add(Some(key)));
        hash.finalize().to_vec()
    }
}

/// One line, or nothing.
fn maybe_line(field: &str, text: &str, most: usize) -> Result<String, Refusal> {
    if text.trim().is_empty() { Ok(String::new()) } else { line(field, text, most) }
}

fn image(url: String) -> Result<String, Refusal> {
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    let is_plain = !url.chars().any(|character| character.is_whitespace() || character.is_control());
    if url.is_empty() || (is_web && is_plain && url.len() <= 2_048) {
        Ok(url)
    } else {
        Err(Refusal::invalid("cover_image_url", "must be an http(s) address of at most 2048 bytes"))
    }
}

fn access_level(text: &str) -> Result<AccessLevel, Refusal> {
    match text {
        "public" => Ok(AccessLevel::Public),
        "group" => Ok(AccessLevel::Group),
        _ => Err(Refusal::invalid("access_level", "must be public or group")),
    }
}

fn keys(
    field: &str,
    keys: Option<TopicKeys>,
    most: usize,
    longest: usize,
) -> Result<Option<Vec<String>>, Refusal> {
    let Some(TopicKeys { keys }) = keys else { return Ok(None) };
    if keys.len() > most {
        return Err(Refusal::invalid(field, format!("must be at most {most}")));
    }
    keys.iter().map(|key| line(field, key, longest)).collect::<Result<_, _>>().map(Some)
}

fn within(field: &str, value: i32, least: i32, most: i32) -> Result<i32, Refusal> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(Refusal::invalid(field, format!("must be {least} to {most}")))
    }
}
