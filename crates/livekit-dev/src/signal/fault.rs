//! Sockets that a fault upgrades: nothing joins, and no session is behind them.

use axum::{
    extract::ws::{WebSocket, WebSocketUpgrade},
    response::Response,
};
use livekit_protocol::{DisconnectReason, leave_request::Action, signal_response::Message};

use super::{
    message,
    slots::Slot,
    socket::{self, Ended, Format},
};
use crate::{LiveKitDev, faults::AfterUpgrade};

pub(crate) fn upgrade(
    server: LiveKitDev,
    upgrade: WebSocketUpgrade,
    mut slot: Slot,
    fault: AfterUpgrade,
) -> Response {
    let tracked = server.sockets().token();
    upgrade.on_upgrade(async move |mut stream| {
        let _tracked = tracked;
        // It counts as joined, or 8 such sockets would block their address.
        slot.joined();
        let stopping = server.stopping();
        // Either the client closed, or the server stops.
        let _ = stopping.run_until_cancelled(play(&mut stream, fault)).await;
    })
}

async fn play(stream: &mut WebSocket, fault: AfterUpgrade) -> Result<(), Ended> {
    let first = match fault {
        AfterUpgrade::Close => return socket::close(stream).await,
        AfterUpgrade::Silence => None,
        AfterUpgrade::Leave => Some(message::leave(DisconnectReason::ServerShutdown, Action::Disconnect)),
        AfterUpgrade::Unexpected => Some(Message::Pong(0)),
    };
    if let Some(first) = first {
        socket::write(stream, socket::encode(first, Format::Binary)).await?;
    }
    while stream.recv().await.is_some_and(|frame| frame.is_ok()) {}
    Ok(())
}
