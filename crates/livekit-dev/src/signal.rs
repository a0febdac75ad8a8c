//! Signalling: the WebSocket of a client, on `/rtc` (two peer connections) and `/rtc/v1` (one).
//!
//! A join is decided before the upgrade, under the world's lock, and the media engine learns of the client in the same
//! moment. From then on a socket task only carries messages: requests to the engine, and what the engine answers
//! back. It knows neither rooms nor media.

pub(crate) mod fault;
pub(crate) mod join;
pub(crate) mod message;
pub(crate) mod slots;
mod socket;
pub(crate) mod token;

use axum::{extract::ws::WebSocketUpgrade, response::Response};

use self::{join::Join, slots::Slot, socket::Socket};
use crate::{
    JoinError, LiveKitDev,
    clock::ClockHandle,
    grants::Claims,
    media::{self, Command, Entry, Incoming, Outgoing, Resume},
    rtc,
    state::participants::{Admission, Session},
};

/// The largest message of a client, in bytes.
const MESSAGE: usize = 2 * 1024 * 1024;

/// What a connection that was found good is about to do.
pub(crate) struct Arrival {
    pub claims: Claims,
    pub admission: Admission,
    pub join: Join,
    pub slot: Slot,
}

/// Joins or resumes, and answers with the upgrade.
pub(crate) fn connect(
    server: LiveKitDev,
    arrival: Arrival,
    upgrade: WebSocketUpgrade,
) -> Result<Response, JoinError> {
    let (outgoing, waiting) = media::outgoing();
    let Arrival { claims, admission, join, slot } = arrival;
    let (session, connection) = if join.reconnect {
        resume(&server, &admission, &claims, join, outgoing)
    } else {
        enter(&server, admission, &claims, join, outgoing)?
    };
    let upgrade = upgrade.max_message_size(MESSAGE).max_frame_size(MESSAGE);
    let (failed, closed) = (server.clone(), Incoming::Closed { session: session.clone(), connection });
    let tracked = server.sockets().token();
    let response = upgrade
        // The join has happened, so a failed upgrade must end it.
        .on_failed_upgrade(move |_| drop(tokio::spawn(async move { failed.media().receive(closed).await })))
        .on_upgrade(async move |stream| {
            let _tracked = tracked;
            Socket { server, session, connection, waiting, slot }.run(stream).await;
        });
    Ok(response)
}

type Entered = (Session, u64);

fn enter(
    server: &LiveKitDev,
    admission: Admission,
    claims: &Claims,
    join: Join,
    outgoing: Outgoing,
) -> Result<Entered, JoinError> {
    let connection = server.media().next_connection();
    let now_ms = server.clock().now_ms(ClockHandle::Rooms);
    let (room, identity) = (admission.room.name.clone(), admission.identity.clone());
    let session = rtc::enter(server, admission, |world, config, info| {
        let session = Session { room: room.clone(), identity, sid: info.sid.clone() };
        let response = message::join(world, config, &session, &join);
        let room_sid = response.room.as_ref().map(|room| room.sid.clone()).unwrap_or_default();
        let info = info.clone();
        let claims = claims.clone();
        let entry =
            Entry { session: session.clone(), room_sid, connection, info, claims, join, response, outgoing };
        // Inside of the change: the engine hears of the client before anything about it.
        server.media().post(Command::Enter(Box::new(entry)));
        session
    })?;
    tracing::debug!(room = %session.room, identity = %session.identity, now_ms, "client joined");
    Ok((session, connection))
}

/// The session is found by the identity of the token, as the real server does. A room that the token may create is
/// created.
fn resume(
    server: &LiveKitDev,
    admission: &Admission,
    claims: &Claims,
    join: Join,
    outgoing: Outgoing,
) -> Entered {
    let connection = server.media().next_connection();
    let now_ms = server.clock().now_ms(ClockHandle::Rooms);
    let session = server.change(|world, config| {
        let (sid, effects) = world.resume(admission, config, now_ms);
        let (room, identity) = (admission.room.name.clone(), admission.identity.clone());
        let session = Session { room, identity, sid: sid.unwrap_or_default() };
        let others = world.visible_participants(&session);
        let room = world.rooms.get(&session.room).map(crate::state::room::Room::snapshot);
        let claims = claims.clone();
        let resume = Resume { session: session.clone(), connection, others, room, claims, join, outgoing };
        server.media().post(Command::Resume(Box::new(resume)));
        (session, effects)
    });
    (session, connection)
}
