//! The checks of a diagnosis: findings from the records, LiveKit's answers and the settings. They send no requests.

use std::time::Duration;

use domain::{EndedReason, RoomStatus, TargetKind, diagnosis::Cause};
use time::OffsetDateTime;

use super::{
    JoinStatus,
    policy::{MOST_SKEW, WEBHOOK_TIMEOUT},
    probe::{Health, ListError, Listed, Opened, Timed},
    store::{RecordedRoom, RoomFacts},
    verdict::Findings,
};
use crate::rooms::policy::Policy;

const LIVEKIT_CHECKS: [&str; 9] = [
    "livekit_reachable",
    "livekit_key",
    "room_on_livekit",
    "sid_agrees",
    "token_accepted",
    "auto_create",
    "clock",
    "browser_url",
    "webhooks",
];

/// Skips the checks of LiveKit: the room is closed, or the caller may not join.
pub(super) fn skip(findings: &mut Findings) {
    for check in LIVEKIT_CHECKS {
        findings.skip(check, "not checked: the room is closed, or the caller may not join");
    }
}

/// Checks the record of the room, and whether the caller may join.
pub(super) fn record(
    findings: &mut Findings,
    kind: TargetKind,
    room_facts: Option<&RoomFacts>,
    join_status: JoinStatus,
    policy: Policy,
) {
    if let Some(room_facts) = room_facts {
        findings.add_window(kind, room_facts.opens_at, room_facts.closes_at);
    }
    let cause = match (join_status, room_facts) {
        (JoinStatus::Refused(cause), _) => Some(cause),
        (_, None) => Some(Cause::RoomNotActive),
        (_, Some(room_facts)) if !room_facts.open => Some(closed(kind, room_facts.ended_reason)),
        (_, Some(room_facts)) => {
            let early = kind == TargetKind::Session && room_facts.now < room_facts.opens_at;
            let created = room_facts.room.as_ref().is_some_and(is_created);
            match () {
                () if !created && (policy.at_booking || !early) => Some(Cause::RoomPending),
                () if early => Some(Cause::TooEarly),
                () => None,
            }
        }
    };
    findings.add("record", Duration::ZERO, describe_record(room_facts), cause);
}

/// Whether LiveKit has created the room, according to the record.
pub(super) fn is_created(room: &RecordedRoom) -> bool {
    room.status == RoomStatus::Active
}

fn closed(kind: TargetKind, reason: Option<EndedReason>) -> Cause {
    match (kind, reason) {
        (TargetKind::Session, Some(EndedReason::Cancelled)) => Cause::SessionCancelled,
        (TargetKind::Session, _) => Cause::MeetingEnded,
        (TargetKind::LiveRoom | TargetKind::Nest, _) => Cause::RoomNotActive,
    }
}

fn describe_record(room_facts: Option<&RoomFacts>) -> String {
    let Some(room_facts) = room_facts else { return "there is no session".to_owned() };
    let open = if room_facts.open { "open" } else { "closed" };
    let Some(room) = &room_facts.room else { return format!("{open}; its room was never recorded") };
    let failed = room.last_error.as_ref().map(|error| format!("; last failure: {error}")).unwrap_or_default();
    let sid = room.sid.as_deref().unwrap_or("no SID");
    format!(
        "{open}; {} is {}, generation {}, {sid}{failed}",
        room.name,
        room.status.as_str(),
        room.generation
    )
}

/// Checks that LiveKit answers, accepts our key, and has the room under the recorded SID.
pub(super) fn livekit(
    findings: &mut Findings,
    reached: &Timed<Health>,
    listed: &Timed<Listed>,
    room: Option<&RecordedRoom>,
) {
    if let Err(why) = &reached.value {
        findings.add("livekit_reachable", reached.took, why, Some(Cause::LivekitUnreachable));
        for check in ["livekit_key", "room_on_livekit", "sid_agrees"] {
            findings.skip(check, "LiveKit does not answer");
        }
        return;
    }
    findings.add("livekit_reachable", reached.took, "it answers", None);
    let found = match &listed.value {
        Ok(found) => {
            findings.add("livekit_key", listed.took, "the key is accepted", None);
            found.as_ref()
        }
        Err(ListError::KeyRefused(why)) => {
            findings.add("livekit_key", listed.took, why, Some(Cause::LivekitKeyRefused));
            return skip_room(findings, "LiveKit refuses the key");
        }
        Err(ListError::Silent(why)) => {
            findings.add("livekit_key", listed.took, why, Some(Cause::LivekitUnreachable));
            return skip_room(findings, "LiveKit does not list rooms");
        }
    };
    match (room, found) {
        (None, _) => skip_room(findings, "the room is not created yet"),
        (Some(room), None) => {
            findings.add(
                "room_on_livekit",
                listed.took,
                format!("{} is not listed", room.name),
                Some(Cause::RoomMissing),
            );
            findings.skip("sid_agrees", "the room is missing");
        }
        (Some(room), Some(sid)) => {
            findings.add("room_on_livekit", listed.took, "it is listed", None);
            let agrees = room.sid.as_ref() == Some(sid);
            let ours = room.sid.as_deref().unwrap_or("none");
            let detail = format!("LiveKit has {sid}, the records {ours}");
            findings.add("sid_agrees", Duration::ZERO, detail, (!agrees).then_some(Cause::SidMismatch));
        }
    }
}

fn skip_room(findings: &mut Findings, why: &str) {
    findings.skip("room_on_livekit", why);
    findings.skip("sid_agrees", why);
}

/// Checks LiveKit's answers to a token for the room, and to a token for a room that does not exist.
pub(super) fn token(
    findings: &mut Findings,
    opened: Option<&Timed<Opened>>,
    phantom: &Timed<Opened>,
    answers: bool,
) {
    match opened.filter(|_| answers) {
        None => findings.skip("token_accepted", "there is no room to try, or LiveKit does not answer"),
        Some(opened) => {
            let (detail, cause) = match &opened.value {
                Opened::Accepted => ("a token opens the room", None),
                Opened::NoRoom => ("LiveKit does not find the room", Some(Cause::TokenRefused)),
                Opened::Refused(why) => (why.as_str(), Some(Cause::TokenRefused)),
                Opened::Silent(why) => (why.as_str(), Some(Cause::LivekitUnreachable)),
            };
            findings.add("token_accepted", opened.took, detail, cause);
        }
    }
    match &phantom.value {
        Opened::NoRoom => findings.add("auto_create", phantom.took, "off", None),
        Opened::Accepted => findings.add("auto_create", phantom.took, "on", Some(Cause::AutoCreateOn)),
        Opened::Refused(why) | Opened::Silent(why) => findings.skip("auto_create", why),
    }
}

/// Compares LiveKit's clock with the database's, which dates tokens.
pub(super) fn clock(findings: &mut Findings, reached: &Timed<Health>, ours: OffsetDateTime) {
    let Ok(Some(theirs)) = reached.value else {
        return findings.skip("clock", "LiveKit's answers carry no date");
    };
    let skew = theirs - ours;
    let cause = (skew.abs() > MOST_SKEW).then_some(Cause::ClockSkew);
    if cause.is_some() {
        findings.facts.insert("clock_skew_seconds", skew.whole_seconds().to_string());
    }
    let detail = format!("LiveKit's clock is {} s off the database's", skew.whole_seconds());
    findings.add("clock", Duration::ZERO, detail, cause);
}

/// Checks that LiveKit's URL is secure if the page is: browsers refuse ws:// from https:// pages.
pub(super) fn browser_url(findings: &mut Findings, ws_url: &str, app_url: Option<&str>) {
    let Some(app_url) = app_url else { return findings.skip("browser_url", "APP_URL is not set") };
    let insecure = ws_url.starts_with("ws:") && app_url.starts_with("https:");
    let detail = format!("pages at {app_url}, LiveKit at {ws_url}");
    findings.add("browser_url", Duration::ZERO, detail, insecure.then_some(Cause::InsecureWebsocketUrl));
}

/// Checks that the webhook `room_started` arrived. LiveKit sends it for every room that it creates; without it,
/// webhooks are lost.
pub(super) fn webhooks(
    findings: &mut Findings,
    room: Option<&RecordedRoom>,
    now: OffsetDateTime,
    events_keep: time::Duration,
) {
    let Some((room, age)) = room.and_then(|room| Some((room, now - room.made_at?))) else {
        return findings.skip("webhooks", "the room is not created yet");
    };
    if room.announced {
        return findings.add("webhooks", Duration::ZERO, "room_started arrived", None);
    }
    if age <= WEBHOOK_TIMEOUT || age >= events_keep {
        return findings.skip("webhooks", "the room is too new or too old for this check");
    }
    let detail = format!("no room_started within {} s", age.whole_seconds());
    findings.add("webhooks", Duration::ZERO, detail, Some(Cause::WebhooksSilent));
}
