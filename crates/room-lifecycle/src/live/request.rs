//! Checks requests: each field has its limits, and a refusal names the field as clients send it. Times are checked
//! where the database's clock is known ([`super::session_decision::check_times`]).

use chassis::{
    grpc::{moment, timestamp},
    status::{Fields, Refusal},
};
use domain::{
    field::{idempotency_key, line, maybe_key, maybe_line, maybe_one_of, prose, public_url},
    idempotency::request_hash,
};
use proto::room::v1::{GoLiveRequest, LiveRoomFields, TopicKeys};

use super::{
    policy::{MOST_GROUPS, MOST_TOPICS},
    store::{rooms::RoomFields, sessions::NewSession},
};

/// Checks the fields of a room, and adds the refusals to `wrong`.
pub(super) fn room_fields(fields: LiveRoomFields, wrong: &mut Fields) -> RoomFields {
    let line_of = |text: Option<String>| text.map(|text| maybe_line("title", &text, 200)).transpose();
    let prose_of = |text: Option<String>| text.map(|text| prose("description", &text, 5_000)).transpose();
    let name_of = |text: Option<String>| text.map(|text| line("room_name", &text, 200)).transpose();
    RoomFields {
        title: wrong.check(line_of(fields.title)),
        description: wrong.check(prose_of(fields.description)),
        room_name: wrong.check(name_of(fields.room_name)),
        cover_image_url: wrong.check(fields.cover_image_url.map(|url| image(&url)).transpose()),
        access_level: wrong.check(maybe_one_of("access_level", fields.access_level)),
        topic_keys: wrong.check(topics(fields.topic_keys)),
        groups: wrong.check(groups(fields.groups)),
    }
}

/// Checks a request to go live, and adds the refusals to `wrong`.
pub(super) fn new_session(request: GoLiveRequest, wrong: &mut Fields) -> NewSession {
    let buffer = |minutes| within("lobby_buffer_minutes", minutes, 0, 1_440);
    let most = |participants| within("max_participants", participants, 1, 10_000);
    let room_id = request.room_id;
    let mut new = NewSession {
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
    new.request_hash = hash(&new, &room_id);
    new
}

/// The hash of the checked values: blanks around a text do not make another request.
fn hash(new: &NewSession, room_id: &str) -> Vec<u8> {
    request_hash(&GoLiveRequest {
        caller: None,
        idempotency_key: None,
        room_id: room_id.to_ascii_lowercase(),
        session_title: Some(new.session_title.clone()),
        starts_at: new.starts_at.map(timestamp),
        ends_at: new.ends_at.map(timestamp),
        auto_admit: new.auto_admit,
        lobby_buffer_minutes: new.lobby_buffer_minutes,
        max_participants: new.max_participants,
        access_level: new.access_level.map(Into::into),
        topic_keys: new.topic_keys.clone().map(|keys| TopicKeys { keys }),
    })
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
