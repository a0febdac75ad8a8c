//! The results of a diagnosis: the closed set of causes that keep a user out of a room, each with its texts.
//!
//! The variants are ordered by priority: of several causes the first one is reported, because the others cannot be
//! checked or fixed before it (docs/diagnosis.md). The texts are for the user who asks. What only an operator can do is a
//! separate text, for admins.

use std::{fmt, str::FromStr};

use crate::text_enum::text_enum;

text_enum! {
    /// The kind of a result, for people who sort reports (docs/diagnosis.md).
    pub enum Scenario as proto::types::v1::Scenario {
        Ok = "ok",
        /// The room is known, but tokens fail or LiveKit refuses.
        A = "A",
        /// The room is not known, or not to this caller.
        B = "B",
        /// A service of ours or the database fails.
        C = "C",
        /// Nothing fails, but this caller may not join, or not at this time.
        Refused = "refused",
    }
}

/// The texts of a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Texts {
    /// What is wrong.
    pub diagnosis: &'static str,
    pub likely_cause: &'static str,
    /// What the user who wants to join can do.
    pub fix: &'static str,
    /// What an operator can do.
    pub operator: Option<&'static str>,
}

macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $scenario:ident,
       $diagnosis:literal, $likely:literal, $fix:literal $(, operator: $operator:literal)?;)+) => {
        /// Why a user cannot join; the `code` of a diagnosis. Ordered: the smallest has the highest priority.
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
            pub fn texts(self) -> Texts {
                match self {
                    $(Self::$variant => Texts {
                        diagnosis: $diagnosis,
                        likely_cause: $likely,
                        fix: $fix,
                        // `or` is appended only for causes with an operator's text.
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
        operator: "`/readyz` names what is down; `greenroom doctor` says why. Check that Postgres runs and DATABASE_URL points to it.";
    DatabaseBusy = "database_busy", C,
        "The database is too busy to answer.",
        "There are many requests at the same moment, or a statement was cancelled.",
        "Try again in a few seconds.",
        operator: "Check `greenroom_db_connections`, and what Postgres waits for.";
    ServiceUnavailable = "service_unavailable", C,
        "A service did not answer in time.",
        "It is starting, stopping or overloaded, or cannot be reached.",
        "Try again in a minute. If it lasts, report the request id.",
        operator: "The check that failed names the service: check that it runs, its `/readyz`, and its log with the request id.";
    Internal = "internal", C,
        "Something went wrong on our side.",
        "A failure in the program.",
        "Report the request id.",
        operator: "The request id finds the failure in the logs (`request.id`).";
    RoomIdMismatch = "room_id_mismatch", B,
        "The id does not belong to a room.",
        "It is the id of a live session, a LiveKit record or a notification, not of a booking or live room.",
        "Use the id in the fact `belongs_to`, or the link of the meeting.";
    RoomNotKnown = "room_not_known", B,
        "There is no such room, or you may not know about it.",
        "The link has a mistake, or you are signed in with another account than the invited one, or not signed in.",
        "Compare the link with the one in your invitation, and sign in with the invited account.",
        operator: "This database has no booking, live room, nest or LiveKit room with this reference: check that DATABASE_URL is correct.";
    Unauthenticated = "unauthenticated", Refused,
        "We do not know who you are.",
        "You are not signed in, or your sign-in has expired or is invalid.",
        "Sign in again, then retry.",
        operator: "If all sign-ins are refused, compare AUTH_ISSUER, AUTH_AUDIENCE and the keys with a token.";
    SessionCancelled = "session_cancelled", Refused,
        "The session was cancelled.",
        "One of its two parties cancelled it.",
        "Create a new booking.";
    MeetingEnded = "meeting_ended", Refused,
        "The meeting is over.",
        "Its host ended it, or its time is over.",
        "Create a new booking. Before it ends, either party can move a meeting.";
    RoomNotActive = "room_not_active", Refused,
        "This room has no open session.",
        "Its host is not live yet, or the session is over.",
        "Wait until the host goes live.";
    Banned = "banned", Refused,
        "You are banned from this live room.",
        "Its host banned you.",
        "Ask the host, who can lift the ban.";
    Kicked = "kicked", Refused,
        "You were removed from this meeting.",
        "Its host removed you.",
        "Ask the host for a new booking, or for the next session.";
    Rejected = "rejected", Refused,
        "You were rejected in this session.",
        "Its host did not admit you.",
        "Ask the host, or join the next session.";
    NotParticipant = "not_participant", Refused,
        "You are not a participant of this meeting.",
        "You are signed in, but not as its host or its guest.",
        "Sign in with the invited account.";
    LivekitUnreachable = "livekit_unreachable", A,
        "The video server does not answer.",
        "LiveKit is down, starting, or cannot be reached from our servers.",
        "Try again in a minute; the room is created as soon as it answers. If it lasts, report the request id.",
        operator: "Check that LiveKit runs, that LIVEKIT_URL is correct, and that no firewall blocks it; `greenroom doctor` says more.";
    /// Facts: `clock_skew_seconds`, LiveKit's clock minus ours.
    ClockSkew = "clock_skew", A,
        "The clocks of our servers differ.",
        "The clock of LiveKit or of the database is wrong by more than 30 s: tokens are too old or not valid yet.",
        "Only an operator can fix this: report the request id.",
        operator: "Set the clocks of LiveKit's and the database's machines with NTP.";
    LivekitKeyRefused = "livekit_key_refused", A,
        "The video server refuses our key.",
        "LiveKit has other keys, or ours were changed.",
        "Only an operator can fix this: report the request id.",
        operator: "LIVEKIT_API_KEY and LIVEKIT_API_SECRET must be a pair under `keys:` in livekit.yaml, the same for all services.";
    RoomPending = "room_pending", A,
        "The room does not exist on the video server yet.",
        "LiveKit did not answer when the room was created; Greenroom retries.",
        "Try again in a minute.",
        operator: "`greenroom repair rooms` creates it now and says what fails.";
    RoomMissing = "room_missing_on_livekit", A,
        "The video server has lost the room.",
        "LiveKit was restarted, or the room was deleted there.",
        "Ask for a new token with `?ensure=now`, or repair the room: it is recreated.",
        operator: "`POST …/repair` or `greenroom repair rooms` recreates it.";
    SidMismatch = "sid_mismatch", A,
        "The room on the video server is not the one that we know.",
        "LiveKit recreated it under the same name, after a restart or because `auto_create` is on.",
        "Ask for a new token with `?ensure=now`, or repair the room: the new one is adopted.",
        operator: "`POST …/repair` adopts it. Set `room: { auto_create: false }` in livekit.yaml.";
    TokenRefused = "token_refused_by_livekit", A,
        "The video server refuses tokens for this room.",
        "LiveKit has another secret for our key, or LIVEKIT_URL points to another LiveKit than the room's.",
        "Only an operator can fix this: report the request id.",
        operator: "Check that the API secret is the same everywhere and that LIVEKIT_URL is one server or one cluster.";
    InsecureWebsocketUrl = "insecure_websocket_url", A,
        "Browsers do not connect to the video server's address.",
        "It starts with ws://, and pages loaded over https may only use wss://.",
        "Only an operator can fix this: report the request id.",
        operator: "Put TLS in front of LiveKit and set LIVEKIT_WS_URL to its wss:// address.";
    RoomFull = "room_full", Refused,
        "Every seat is taken.",
        "The session has as many participants as it allows.",
        "Try again; a seat is free 2 min after a participant lost their connection at the latest.";
    WaitingInLobby = "waiting_in_lobby", Refused,
        "You are waiting in the lobby.",
        "The session has not started, or its host admits participants one by one.",
        "Stay in the lobby: you are admitted automatically or by the host.";
    /// Facts: `opens_at`.
    TooEarly = "too_early", Refused,
        "The meeting is not open yet.",
        "It opens some minutes before its start.",
        "Come back when it opens; the fact `opens_at` says when.",
        operator: "JOIN_OPENS_BEFORE says how early meetings open.";
    AutoCreateOn = "auto_create_on", Ok,
        "You can join; the video server creates rooms by itself.",
        "`auto_create` is on: a client that joins with an old token recreates a room that is over.",
        "You do not have to do anything.",
        operator: "Set `room: { auto_create: false }` in livekit.yaml and restart LiveKit.";
    WebhooksSilent = "webhooks_silent", Ok,
        "You can join; the video server does not report to us.",
        "LiveKit's webhooks do not arrive, or are signed with an unknown key: joins and departures are noticed later.",
        "You do not have to do anything.",
        operator: "In livekit.yaml `webhook:` must have our webhook route and an API key of LIVEKIT_WEBHOOK_KEYS.";
    Ok = "ok", Ok,
        "You can join.",
        "Nothing is wrong on our side.",
        "Join. If it still fails, the cause is the browser or the network: allow camera and microphone, and try another network.";
}

impl Cause {
    /// What to do. Admins get the operator's text where there is one.
    #[must_use]
    pub fn fix(self, is_admin: bool) -> &'static str {
        let texts = self.texts();
        texts.operator.filter(|_| is_admin).unwrap_or(texts.fix)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
