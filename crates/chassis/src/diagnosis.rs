//! What a diagnosis can end in: the closed set of causes that keep somebody out of a room, each in words.
//!
//! The variants are written in the order of their weight: of several causes the first one is told, because while it
//! lasts nothing else can be judged or would help (docs/diagnosis.md). Words are for whoever asks; what only an
//! operator can do stands apart and is told to admins.

use std::{fmt, str::FromStr};

use crate::status::Reason;

pub use domain::Scenario;

/// A cause as people read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// What is the case.
    pub diagnosis: &'static str,
    pub likely_cause: &'static str,
    /// What the person who wants to get in can do.
    pub fix: &'static str,
    /// What whoever runs this can do besides.
    pub operator: Option<&'static str>,
}

macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $scenario:ident,
       $diagnosis:literal, $likely:literal, $fix:literal $(, operator: $operator:literal)?;)+) => {
        /// Why somebody cannot get in; `code` of a diagnosis. Ordered: the least one weighs most.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Cause { $($(#[$doc])* $variant,)+ }

        impl Cause {
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            #[must_use]
            pub const fn scenario(self) -> Scenario {
                match self { $(Self::$variant => Scenario::$scenario,)+ }
            }

            #[must_use]
            pub fn words(self) -> Words {
                match self {
                    $(Self::$variant => Words {
                        diagnosis: $diagnosis,
                        likely_cause: $likely,
                        fix: $fix,
                        operator: None$(.or(Some($operator)))?,
                    },)+
                }
            }
        }

        impl FromStr for Cause {
            type Err = ();

            fn from_str(code: &str) -> Result<Self, ()> {
                match code { $($code => Ok(Self::$variant),)+ _ => Err(()) }
            }
        }
    };
}

causes! {
    DatabaseUnavailable = "database_unavailable", C,
        "The database does not answer.",
        "Postgres is down, cannot be reached, is read-only, or has no free connection.",
        "Try again in a minute. If it lasts, report the request id.",
        operator: "`/readyz` names what is down; `greenroom doctor` tells why. See that Postgres runs and DATABASE_URL leads to it.";
    DatabaseBusy = "database_busy", C,
        "The database is too busy to answer.",
        "Many people come at the same moment, or a statement was cancelled.",
        "Try again in a few seconds.",
        operator: "Look at `greenroom_db_connections` and at what Postgres is waiting for.";
    ServiceUnavailable = "service_unavailable", C,
        "A service that has to be asked does not answer in time.",
        "It is starting, stopping or overloaded, or the way to it is cut.",
        "Try again in a minute. If it lasts, report the request id.",
        operator: "The check that failed names the service: see that it runs, its `/readyz`, and its log beside the request id.";
    Internal = "internal", C,
        "Something went wrong on our side.",
        "A failure in the program.",
        "Report the request id.",
        operator: "The request id finds the failure in the logs (`request.id`).";
    RoomIdMismatch = "room_id_mismatch", B,
        "The id names something else than a room.",
        "The id of a live session, a LiveKit record or a notification was taken for that of a booking or live room.",
        "Use the id that the fact `belongs_to` tells, or the link of the meeting.";
    RoomNotKnown = "room_not_known", B,
        "There is no such room, or it is none of yours.",
        "A mistake in the link, another account than the one that was invited, or no account at all.",
        "Compare the link with the one you were sent, and sign in as the person who was invited.",
        operator: "No booking, live room, nest or LiveKit room name is called so in this database: see that DATABASE_URL is the right one.";
    Unauthenticated = "unauthenticated", Refused,
        "We do not know who you are.",
        "No sign-in, or one that has expired or is not ours.",
        "Sign in again, then ask again.",
        operator: "If all sign-ins are refused compare AUTH_ISSUER, AUTH_AUDIENCE and the keys with a token.";
    SessionCancelled = "session_cancelled", Refused,
        "The session was cancelled.",
        "One of its two parties cancelled it.",
        "Make a new booking.";
    MeetingEnded = "meeting_ended", Refused,
        "The meeting is over.",
        "Its host ended it, or its time ran out.",
        "Make a new booking. Before it ends, either party can move a meeting.";
    RoomNotActive = "room_not_active", Refused,
        "Nothing is on in this room.",
        "Its host has not gone live yet, or it is over.",
        "Wait until the host goes live.";
    Banned = "banned", Refused,
        "You are banned from this live room.",
        "Its host banned you.",
        "Ask the host, who can lift it.";
    Kicked = "kicked", Refused,
        "You were put out of this meeting.",
        "Its host removed you.",
        "Ask the host for a new booking, or for the next session.";
    Rejected = "rejected", Refused,
        "You were turned away from this session.",
        "Its host did not let you in.",
        "Ask the host, or come to the next session.";
    NotParticipant = "not_participant", Refused,
        "You take no part in this meeting.",
        "You are signed in as somebody else than its host and its guest.",
        "Sign in as the person who was invited.";
    LivekitUnreachable = "livekit_unreachable", A,
        "The video server does not answer.",
        "LiveKit is down, starting, or cannot be reached from our servers.",
        "Try again in a minute; the room is made as soon as it answers. If it lasts, report the request id.",
        operator: "See that LiveKit runs, that LIVEKIT_URL is right, and that no firewall is between; `greenroom doctor` tells more.";
    /// Facts: `clock_skew_seconds`, LiveKit's clock less ours.
    ClockSkew = "clock_skew", A,
        "The clocks of our servers are apart.",
        "The clock of LiveKit or of the database is wrong by more than 30 s: tokens are too old or not valid yet.",
        "Nothing helps but the operator: report the request id.",
        operator: "Let NTP set the clocks of LiveKit's and the database's machines.";
    LivekitKeyRefused = "livekit_key_refused", A,
        "The video server refuses our key.",
        "LiveKit was given other keys, or ours were changed.",
        "Nothing helps but the operator: report the request id.",
        operator: "LIVEKIT_API_KEY and LIVEKIT_API_SECRET must be a pair under `keys:` in livekit.yaml, the same for all services.";
    RoomPending = "room_pending", A,
        "The room is not made on the video server yet.",
        "LiveKit did not answer when it was to be made; it is tried again by itself.",
        "Try again in a minute.",
        operator: "`greenroom repair rooms` makes it now and says what fails.";
    RoomMissing = "room_missing_on_livekit", A,
        "The video server has lost the room.",
        "LiveKit was restarted, or somebody deleted the room there.",
        "Ask for a new token with `?ensure=now`, or repair the room: it is made anew.",
        operator: "`POST …/repair` or `greenroom repair rooms` makes it anew.";
    SidMismatch = "sid_mismatch", A,
        "The room on the video server is another one than we know.",
        "LiveKit made it anew under the same name, after a restart or because `auto_create` is on.",
        "Ask for a new token with `?ensure=now`, or repair the room: the new one is taken over.",
        operator: "`POST …/repair` takes it over. Set `room: { auto_create: false }` in livekit.yaml.";
    TokenRefused = "token_refused_by_livekit", A,
        "The video server refuses tokens for this room.",
        "LiveKit has another secret for our key, or the address of our servers leads to another LiveKit than the room's.",
        "Nothing helps but the operator: report the request id.",
        operator: "See that the API secret is the same everywhere and that LIVEKIT_URL is one server or one cluster.";
    InsecureWebsocketUrl = "insecure_websocket_url", A,
        "Browsers do not connect to the video server's address.",
        "It begins with ws://, and pages that came over https may only use wss://.",
        "Nothing helps but the operator: report the request id.",
        operator: "Put TLS in front of LiveKit and set LIVEKIT_WS_URL to its wss:// address.";
    RoomFull = "room_full", Refused,
        "Every place is taken.",
        "As many people are inside as the session takes.",
        "Ask again; a place is free 2 min after somebody lost his connection at the latest.";
    WaitingInLobby = "waiting_in_lobby", Refused,
        "You wait in the lobby.",
        "The session has not begun, or its host lets people in one by one.",
        "Stay in the lobby: you are let in by itself or by the host.";
    /// Facts: `opens_at`.
    TooEarly = "too_early", Refused,
        "The meeting is not open yet.",
        "It opens some minutes before its start.",
        "Come back when it opens; the fact `opens_at` says when.",
        operator: "JOIN_OPENS_BEFORE says how early meetings open.";
    AutoCreateOn = "auto_create_on", Ok,
        "You can get in; the video server makes rooms by itself.",
        "`auto_create` is on: whoever joins with an old token brings a room back that is over.",
        "Nothing for you to do.",
        operator: "Set `room: { auto_create: false }` in livekit.yaml and restart LiveKit.";
    WebhooksSilent = "webhooks_silent", Ok,
        "You can get in; the video server does not report to us.",
        "LiveKit's webhooks do not arrive, or are signed with an unknown key: who comes and goes is noticed later.",
        "Nothing for you to do.",
        operator: "In livekit.yaml `webhook:` must name our webhook route and an API key of LIVEKIT_WEBHOOK_KEYS.";
    Ok = "ok", Ok,
        "You can get in.",
        "Nothing is wrong on our side.",
        "Join. If it still fails, it is the browser or the network: allow camera and microphone, and try another network.";
}

impl Cause {
    /// What a refusal is to somebody who wants to get in.
    #[must_use]
    pub const fn of(reason: Reason) -> Self {
        match reason {
            Reason::Unauthenticated | Reason::TokenTooLarge => Self::Unauthenticated,
            Reason::NotParticipant | Reason::NotHost | Reason::NotAdmin => Self::NotParticipant,
            Reason::Kicked => Self::Kicked,
            Reason::Banned => Self::Banned,
            Reason::WaitingInLobby => Self::WaitingInLobby,
            Reason::Rejected => Self::Rejected,
            Reason::TooEarly => Self::TooEarly,
            Reason::SessionNotFound
            | Reason::RoomNotFound
            | Reason::NotificationNotFound
            | Reason::RecordingNotFound
            | Reason::InvalidSessionId => Self::RoomNotKnown,
            Reason::RoomNotActive => Self::RoomNotActive,
            Reason::RoomFull => Self::RoomFull,
            Reason::MeetingEnded => Self::MeetingEnded,
            Reason::SessionCancelled => Self::SessionCancelled,
            Reason::LivekitUnavailable => Self::LivekitUnreachable,
            Reason::DatabaseUnavailable => Self::DatabaseUnavailable,
            Reason::DatabaseBusy => Self::DatabaseBusy,
            Reason::ServiceUnavailable | Reason::RateLimited => Self::ServiceUnavailable,
            Reason::InvalidRequest
            | Reason::SlotTaken
            | Reason::IdempotencyKeyReused
            | Reason::RoomNotIdle
            | Reason::MeetingStarted
            | Reason::AlreadyRecording
            | Reason::RecordingStopped
            | Reason::RecordingNotFinished
            | Reason::UnsupportedEncoding
            | Reason::RecordingUnavailable
            | Reason::TooLarge
            | Reason::Internal => Self::Internal,
        }
    }

    /// What to do: for admins also what only they can.
    #[must_use]
    pub fn fix(self, is_admin: bool) -> &'static str {
        let words = self.words();
        words.operator.filter(|_| is_admin).unwrap_or(words.fix)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
