//! Where signalling and media begin: everything after a connection has been found good. Not built yet. What comes
//! here upgrades the socket, joins with `LiveKitDev::connect`, and calls `activate`, `publish` and `leave` where
//! tests call them now.
//!
//! A token that may create its room is an exception, because such a socket does something without a single message: the
//! server creates the room if there is none, and writes it to the store. No message is sent on it, and its participant
//! stays until the socket closes.

use std::time::Duration;

use axum::{
    extract::Request,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
    },
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use livekit_protocol::{DisconnectReason, ParticipantInfo};
use sha1::{Digest, Sha1};
use tokio::io::AsyncReadExt;

use crate::{LiveKitDev, clock::Hand};

/// RFC 6455, 1.3.
const WEBSOCKET: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The opcode of a frame that closes.
const CLOSE: u8 = 8;

/// How soon a socket closes whose participant was put out.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) fn absent() -> Response {
    let text = "livekit-dev has no signalling yet; POST /_dev/join makes this token's participant join";
    (StatusCode::NOT_IMPLEMENTED, text).into_response()
}

/// Answers the upgrade. The participant, who has entered the room, leaves with the socket.
pub(crate) fn connect(
    server: LiveKitDev,
    room: String,
    participant: &ParticipantInfo,
    request: Request,
) -> Response {
    let accept = accept(request.headers());
    let (identity, sid) = (participant.identity.clone(), participant.sid.clone());
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let stopping = server.stopping();
        stopping.run_until_cancelled(stay(&server, &room, (&identity, &sid), upgrade)).await;
        let now_s = server.clock().now_s(Hand::Rooms);
        server.change(|world, _| {
            let there = world.is_session(&room, &identity, &sid);
            let reason = DisconnectReason::SignalClose;
            ((), if there { world.leave(&room, &identity, reason, now_s) } else { Vec::new() })
        });
    });
    let headers = [
        (CONNECTION, "upgrade".to_owned()),
        (UPGRADE, "websocket".to_owned()),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

fn accept(headers: &HeaderMap) -> String {
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(WEBSOCKET).finalize())
}

/// Until either side closes.
async fn stay(server: &LiveKitDev, room: &str, (identity, sid): (&str, &str), upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let put_out = async {
        let mut looks = tokio::time::interval(LOOK);
        while server.look(|world| world.is_session(room, identity, sid)) {
            looks.tick().await;
        }
    };
    tokio::select! {
        () = closed(TokioIo::new(upgraded)) => {}
        () = put_out => {}
    }
}

/// What a client says is read and not understood.
async fn closed(mut socket: TokioIo<Upgraded>) {
    let mut buffer = [0; 1024];
    loop {
        match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) if buffer[0] & 0x0f == CLOSE => return,
            Ok(_) => {}
        }
    }
}
