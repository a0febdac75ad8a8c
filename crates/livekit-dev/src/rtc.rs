//! The answers before the WebSocket upgrade: `/rtc` and `/rtc/v1`, and their `validate`, which says to a browser why an
//! upgrade failed.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use axum::{
    extract::{
        ConnectInfo, FromRequestParts, Query,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use livekit_protocol::ParticipantInfo;

use crate::{
    Config, LiveKitDev,
    auth::{Caller, TokenError},
    clock::ClockHandle,
    grants::{Claims, VideoGrant},
    limits, redis,
    room_service::NO_NODES,
    signal::{
        self, Arrival,
        join::{self, Attributes, Join, UnreadableJoin},
    },
    state::{
        CreateError, World,
        participants::{Admission, AdmitError},
        room::RoomSpec,
    },
};

/// Why a join is refused; the texts are what the server sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Unreadable(#[from] UnreadableJoin),
    #[error("no permissions to access the room")]
    NoGrant,
    #[error("permissions denied")]
    Denied,
    #[error("identity cannot be empty")]
    NoIdentity,
    #[error("participant identity length exceeds limits: max length 256")]
    LongIdentity,
    #[error("no room name")]
    NoRoomName,
    #[error("room name length exceeds limits: max length 256")]
    LongRoomName,
    #[error("requested room does not exist")]
    RoomNotFound,
    /// The room is full, or the metadata is too long. The caller cannot tell which.
    #[error("connection closed by media")]
    ClosedByMedia,
    /// The room's node was killed a moment ago and still counts as available.
    #[error("timed out while waiting for signal response")]
    NoAnswer,
    /// Redis does not answer, or has no node.
    #[error("{0}")]
    Store(&'static str),
}

impl JoinError {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Token(_) | Self::NoGrant | Self::Denied => StatusCode::UNAUTHORIZED,
            Self::Unreadable(_)
            | Self::NoIdentity
            | Self::LongIdentity
            | Self::NoRoomName
            | Self::LongRoomName => StatusCode::BAD_REQUEST,
            Self::RoomNotFound => StatusCode::NOT_FOUND,
            Self::ClosedByMedia | Self::NoAnswer | Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl JoinError {
    /// How long the real server takes to say so.
    fn after(&self) -> Duration {
        match self {
            Self::NoAnswer => Duration::from_secs(12),
            Self::Store(redis::TIMED_OUT) => Duration::from_secs(23),
            _ => Duration::ZERO,
        }
    }
}

impl IntoResponse for JoinError {
    fn into_response(self) -> Response {
        (self.status(), self.to_string()).into_response()
    }
}

/// The paths of the two protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// `/rtc`: two peer connections.
    V0,
    /// `/rtc/v1`: one.
    V1,
}

impl Path {
    fn read(self, query: &HashMap<String, String>, attributes: Attributes) -> Result<Join, UnreadableJoin> {
        match self {
            Self::V0 => join::from_query(query, attributes),
            Self::V1 => join::from_request(query),
        }
    }

    /// What faults and counts of calls name it.
    fn method(self) -> &'static str {
        match self {
            Self::V0 => "rtc",
            Self::V1 => "rtc/v1",
        }
    }
}

/// A request that a client makes to connect, or to ask why it could not.
pub(crate) struct Connecting {
    server: LiveKitDev,
    caller: Caller,
    query: HashMap<String, String>,
}

impl FromRequestParts<LiveKitDev> for Connecting {
    type Rejection = Infallible;

    /// A query that cannot be read is an empty one.
    async fn from_request_parts(parts: &mut Parts, server: &LiveKitDev) -> Result<Self, Infallible> {
        let caller = parts.extensions.get::<Caller>().cloned().unwrap_or_default();
        let query = Query::try_from_uri(&parts.uri).map(|query| query.0).unwrap_or_default();
        Ok(Self { server: server.clone(), caller, query })
    }
}

pub(crate) async fn validate(connecting: Connecting) -> Response {
    validated(connecting, Path::V0).await
}

pub(crate) async fn validate_v1(connecting: Connecting) -> Response {
    validated(connecting, Path::V1).await
}

async fn validated(connecting: Connecting, path: Path) -> Response {
    let Connecting { server, caller, query } = connecting;
    if let Some(response) = server.go_wrong(&format!("{}/validate", path.method())).await {
        return response;
    }
    match check(&server, caller.0.as_ref(), path.read(&query, Attributes::Strict)) {
        Ok(_) => "success".into_response(),
        Err(error) => refuse(&server, error).await,
    }
}

async fn refuse(server: &LiveKitDev, error: JoinError) -> Response {
    server.wait(error.after()).await;
    error.into_response()
}

/// A request without an upgrade has none of it.
type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

pub(crate) async fn connect(connecting: Connecting, address: Address, upgrade: Upgrade) -> Response {
    connected(connecting, address, upgrade, Path::V0).await
}

pub(crate) async fn connect_v1(connecting: Connecting, address: Address, upgrade: Upgrade) -> Response {
    connected(connecting, address, upgrade, Path::V1).await
}

async fn connected(connecting: Connecting, address: Address, upgrade: Upgrade, path: Path) -> Response {
    let Connecting { server, caller, query } = connecting;
    // Without an upgrade: as if the route did not exist.
    let Ok(upgrade) = upgrade else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // Before the token is checked, so that connections are bounded whatever they send.
    let Some(slot) = server.slots().take(address.0) else {
        return (StatusCode::TOO_MANY_REQUESTS, "too many connections").into_response();
    };
    let plan = server.plan(path.method());
    if let Some(response) = plan.go_wrong(&server).await {
        return response;
    }
    if let Some(fault) = plan.after_upgrade() {
        return signal::fault::upgrade(server, upgrade, slot, fault);
    }
    let join = path.read(&query, Attributes::Optional);
    let (admission, join) = match check(&server, caller.0.as_ref(), join) {
        Ok(checked) => checked,
        Err(error) => {
            // Some refusals take their time, and a client that waits for one keeps no other client out.
            drop(slot);
            return refuse(&server, error).await;
        }
    };
    let claims = caller.0.unwrap_or_default();
    match signal::connect(server.clone(), Arrival { claims, admission, join, slot }, upgrade) {
        Ok(upgraded) => upgraded,
        Err(error) => refuse(&server, error).await,
    }
}

/// `404 page not found` without the words about the room: a client then tries `/rtc`.
pub(crate) fn page_not_found() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

/// Joins as far as the token goes: listed, not active.
pub(crate) fn admit(server: &LiveKitDev, claims: &Claims) -> Result<ParticipantInfo, JoinError> {
    let (admission, _) = check(server, Some(claims), Ok(Join::default()))?;
    enter(server, admission, |_, _, participant| participant.clone())
}

/// `then` runs in the moment of the join, before anything else can change the rooms.
pub(crate) fn enter<T>(
    server: &LiveKitDev,
    admission: Admission,
    then: impl FnOnce(&World, &Config, &ParticipantInfo) -> T,
) -> Result<T, JoinError> {
    if admission.metadata.len() > limits::METADATA {
        return Err(JoinError::ClosedByMedia);
    }
    let now_ms = server.clock().now_ms(ClockHandle::Rooms);
    // `then` runs under the world's lock.
    let admitted = server.change(|world, config| {
        let (admitted, effects) = world.admit(admission, config, now_ms);
        (admitted.map(|participant| then(world, config, &participant)), effects)
    });
    admitted.map_err(|error| match error {
        AdmitError::RoomAbsent => JoinError::RoomNotFound,
        AdmitError::RoomFull => JoinError::ClosedByMedia,
        AdmitError::NoNode(CreateError::NoAnswer) => JoinError::NoAnswer,
        AdmitError::NoNode(CreateError::NoNodes) => JoinError::Store(NO_NODES),
    })
}

/// What `/rtc` and `/rtc/validate` both ask, in their order.
fn check(
    server: &LiveKitDev,
    claims: Option<&Claims>,
    join: Result<Join, UnreadableJoin>,
) -> Result<(Admission, Join), JoinError> {
    let (claims, grant) =
        claims.and_then(|claims| Some((claims, claims.video.as_ref()?))).ok_or(JoinError::NoGrant)?;
    let join = join?;
    if !grant.room_join {
        return Err(JoinError::Denied);
    }
    check_names(claims.identity(), &grant.room)?;
    let mut admission = Admission::of(claims, grant, &join);
    redis::check(server)?;
    if !server.look(|world| world.would_find_room(&admission, server.config())) {
        return Err(JoinError::RoomNotFound);
    }
    // Own attributes need the permission that changes them later.
    let brings_own = !join.attributes.is_empty() || !join.metadata.is_empty();
    if brings_own && !grant.can_update_own_metadata.unwrap_or(false) {
        return Err(JoinError::NoGrant);
    }
    if !join.metadata.is_empty() {
        admission.metadata.clone_from(&join.metadata);
    }
    // An attribute of the token can be replaced, and not taken away.
    let own = join.attributes.iter().filter(|(_, value)| !value.is_empty());
    admission.attributes.extend(own.map(|(key, value)| (key.clone(), value.clone())));
    Ok((admission, join))
}

fn check_names(identity: &str, room: &str) -> Result<(), JoinError> {
    match identity.len() {
        0 => return Err(JoinError::NoIdentity),
        length if length > limits::NAME => return Err(JoinError::LongIdentity),
        _ => {}
    }
    match room.len() {
        0 => Err(JoinError::NoRoomName),
        length if length > limits::NAME => Err(JoinError::LongRoomName),
        _ => Ok(()),
    }
}

impl Admission {
    /// As the token says.
    fn of(claims: &Claims, grant: &VideoGrant, join: &Join) -> Self {
        let kind = claims.participant_kind();
        Self {
            room: RoomSpec::from_token(&grant.room, claims.room_config.as_ref()),
            may_create: grant.room_create,
            identity: claims.identity().to_owned(),
            name: claims.name.clone(),
            metadata: claims.metadata.clone(),
            attributes: claims.attributes.clone(),
            kind,
            permission: grant.permission(),
            dependent: grant.is_dependent(kind),
            client: join.client.clone(),
        }
    }
}

/// Where a client connects from. Tests may run the router without a socket.
pub(crate) struct Address(IpAddr);

impl<S: Sync> FromRequestParts<S> for Address {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let known = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self(known.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.0.ip())))
    }
}
