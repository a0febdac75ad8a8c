//! Misbehaviour on demand, per method and for a number of calls. A fault changes how a call is answered, and
//! only those before the effect change what it does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use livekit_protocol::{ConnectionQuality, DisconnectReason, leave_request::Action};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{
    LiveKitDev,
    config::NO_RESPONSE,
    twirp::error::{Code, TwirpError},
};

/// Faults for this method name apply to every method.
pub const ANY_METHOD: &str = "*";

/// How a call goes wrong. In JSON: `{"fault": "delay", "with": 250}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", content = "with", rename_all = "snake_case")]
pub enum Fault {
    /// Answered with this error; nothing happens.
    Refuse { code: Code },
    /// Answered late (milliseconds in JSON).
    #[serde(with = "millis")]
    Delay(Duration),
    /// Nothing happens until the faults are cleared; then the call goes on.
    Hang,
    /// It happens, and the answer never comes (until the faults are cleared).
    HangAfterEffect,
    /// It happens, and the answer says 500 `internal`.
    FailAfterEffect,
    /// No node answers, and the server says so after it has waited: while its Redis hangs, a real one answers so about
    /// living participants as well (seen with 1.13.5). Nothing happens.
    NoResponse,
    /// A proxy answers: 502 with HTML; nothing happens.
    BadGateway,
    /// The upgrade of a join succeeds, and then this happens; nothing joins.
    AfterUpgrade(AfterUpgrade),
    /// Lists are empty, and single participants are not found.
    EmptyList,
    /// Lists of rooms lack this one.
    OmitRoom(String),
    /// No participant of this identity is in the store.
    OmitParticipant(String),
    /// Lists of recordings lack this one.
    OmitEgress(String),
}

/// What a client reads from a socket that was upgraded, instead of `join`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterUpgrade {
    /// A close frame.
    Close,
    /// Nothing, as long as the client waits.
    Silence,
    /// `leave` with `SERVER_SHUTDOWN`.
    Leave,
    /// `pong`, which is neither `join` nor `leave`.
    Unexpected,
}

/// A fault of one connected client: at once, and once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "client_fault", content = "with", rename_all = "snake_case")]
pub enum ClientFault {
    /// The socket ends without a close frame. The participant stays.
    CutSocket,
    /// Nothing more is sent on the socket, until the client resumes.
    SilenceSocket,
    /// UDP packets are dropped both ways, for good.
    DropMedia,
    /// A resume is answered as for an unknown session.
    RefuseResume,
    /// The connection quality that clients are shown.
    Quality(ConnectionQuality),
    /// The client is sent away; what it does then is its affair.
    Leave { reason: DisconnectReason, action: Action },
}

/// The faults that are set. `calls` counts down to none; without it a fault stays until it is cleared.
#[derive(Debug, Default)]
pub struct Faults {
    armed: Mutex<Vec<Armed>>,
    cleared: watch::Sender<u64>,
    hanging: Arc<AtomicUsize>,
}

/// One fault that is set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Armed {
    pub method: String,
    #[serde(flatten)]
    pub fault: Fault,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u32>,
    /// Only for calls about this room, or about this participant of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
}

/// What a call is about, as far as its request says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub room: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}

impl About {
    /// A fault about a room covers all of its participants.
    fn covers(&self, call: &Self) -> bool {
        self.room == call.room && (self.identity.is_none() || self.identity == call.identity)
    }
}

impl Faults {
    /// For every call of the method from now on. Methods are `CreateRoom`, `ListEgress`, …, and `rtc`,
    /// `rtc/validate` and `health` for what is not Twirp; [`ANY_METHOD`] is all of them.
    pub fn set(&self, method: impl Into<String>, fault: Fault) {
        self.arm(Armed { method: method.into(), fault, calls: None, about: None });
    }

    /// For every call of the method about a room, or about a participant of it.
    pub fn set_about(&self, method: impl Into<String>, about: About, fault: Fault) {
        self.arm(Armed { method: method.into(), fault, calls: None, about: Some(about) });
    }

    /// For the next calls of the method only.
    pub fn set_next(&self, method: impl Into<String>, calls: u32, fault: Fault) {
        self.arm(Armed { method: method.into(), fault, calls: Some(calls), about: None });
    }

    /// All of them; calls that hang go on.
    pub fn clear(&self) {
        self.armed.lock().clear();
        // After the lock is released. A call that was waiting then finds no fault.
        self.cleared.send_modify(|times| *times += 1);
    }

    /// Those of one method; calls that hang go on, whatever their method.
    pub fn clear_method(&self, method: &str) {
        self.armed.lock().retain(|armed| armed.method != method);
        self.cleared.send_modify(|times| *times += 1);
    }

    /// How many calls hang now.
    pub fn hanging(&self) -> usize {
        self.hanging.load(Ordering::Relaxed)
    }

    pub fn list(&self) -> Vec<Armed> {
        self.armed.lock().clone()
    }

    pub(crate) fn arm(&self, armed: Armed) {
        // 0 calls would still hit the next one: calls are counted when they meet the fault.
        if armed.calls != Some(0) {
            self.armed.lock().push(armed);
        }
    }

    /// Returns the fault that this call meets, and counts it.
    pub(crate) fn plan(&self, method: &str, about: &About) -> Plan {
        let mut all = self.armed.lock();
        let mut faults = Vec::new();
        let matching = |armed: &&mut Armed| {
            (armed.method == method || armed.method == ANY_METHOD)
                && armed.about.as_ref().is_none_or(|wanted| wanted.covers(about))
        };
        // All matching faults apply, each one once: a delay and a refusal can be combined.
        for armed in all.iter_mut().filter(matching) {
            armed.calls = armed.calls.map(|calls| calls.saturating_sub(1));
            faults.push(armed.fault.clone());
        }
        // Used up, so the next call does not meet them.
        all.retain(|armed| armed.calls != Some(0));
        // Subscribed under the lock: a clearing after this is noticed by a call that hangs.
        Plan { faults, cleared: self.cleared.subscribe(), hanging: Arc::clone(&self.hanging) }
    }
}

/// What one call meets.
pub(crate) struct Plan {
    faults: Vec<Fault>,
    cleared: watch::Receiver<u64>,
    hanging: Arc<AtomicUsize>,
}

/// A call that hangs, until it goes on or its caller gives up.
struct Hanging<'a>(&'a AtomicUsize);

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one answer leaves out.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    empty: bool,
    rooms: Vec<String>,
    identities: Vec<String>,
    egresses: Vec<String>,
}

impl View {
    pub(crate) fn shows_room(&self, name: &str) -> bool {
        !self.empty && !self.rooms.iter().any(|omitted| omitted == name)
    }

    pub(crate) fn shows_egress(&self, id: &str) -> bool {
        !self.empty && !self.egresses.iter().any(|omitted| omitted == id)
    }

    pub(crate) fn shows_participant(&self, identity: &str) -> bool {
        !self.empty && !self.identities.iter().any(|omitted| omitted == identity)
    }
}

impl Plan {
    /// Lets all faults of a call without an effect happen; a response ends it.
    pub(crate) async fn go_wrong(&self, server: &LiveKitDev) -> Option<Response> {
        match self.before(server).await {
            Some(response) => Some(response),
            None => self.after(server).await,
        }
    }

    /// Before the effect; a response ends the call here.
    pub(crate) async fn before(&self, server: &LiveKitDev) -> Option<Response> {
        // In the order in which they were set.
        for fault in &self.faults {
            match fault {
                Fault::Delay(time) => server.pause(*time).await,
                // Goes on after the clearing, with the faults that follow.
                Fault::Hang => self.hang(server).await,
                Fault::Refuse { code } => {
                    return Some(TwirpError::new(*code, "refused by a fault").into_response());
                }
                Fault::NoResponse => {
                    server.wait(NO_RESPONSE).await;
                    return Some(TwirpError::no_response().into_response());
                }
                Fault::BadGateway => return Some(bad_gateway()),
                Fault::AfterUpgrade(_)
                | Fault::HangAfterEffect
                | Fault::FailAfterEffect
                | Fault::EmptyList
                | Fault::OmitRoom(_)
                | Fault::OmitParticipant(_)
                | Fault::OmitEgress(_) => {}
            }
        }
        None
    }

    /// After the effect; a response replaces the answer.
    pub(crate) async fn after(&self, server: &LiveKitDev) -> Option<Response> {
        if self.faults.contains(&Fault::HangAfterEffect) {
            self.hang(server).await;
        }
        let failed =
            || TwirpError::new(Code::Internal, "failed by a fault, after the effect").into_response();
        self.faults.contains(&Fault::FailAfterEffect).then(failed)
    }

    pub(crate) fn after_upgrade(&self) -> Option<AfterUpgrade> {
        self.faults.iter().find_map(|fault| match fault {
            Fault::AfterUpgrade(fault) => Some(*fault),
            _ => None,
        })
    }

    pub(crate) fn view(&self) -> View {
        let mut view = View::default();
        for fault in &self.faults {
            match fault {
                Fault::EmptyList => view.empty = true,
                Fault::OmitRoom(name) => view.rooms.push(name.clone()),
                Fault::OmitParticipant(identity) => view.identities.push(identity.clone()),
                Fault::OmitEgress(id) => view.egresses.push(id.clone()),
                _ => {}
            }
        }
        view
    }

    async fn hang(&self, server: &LiveKitDev) {
        self.hanging.fetch_add(1, Ordering::Relaxed);
        // Counted until it is dropped, also when the caller gives up.
        let _hanging = Hanging(&self.hanging);
        let mut cleared = self.cleared.clone();
        // The sender lives as long as the server, so this is only ever a clearing.
        server.stopping().run_until_cancelled(cleared.changed()).await;
    }
}

fn bad_gateway() -> Response {
    let page =
        "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>";
    (StatusCode::BAD_GATEWAY, [(CONTENT_TYPE, "text/html")], page).into_response()
}

/// A duration as whole milliseconds.
pub(crate) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        duration.as_millis().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
