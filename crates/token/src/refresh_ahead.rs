//! Refreshes the records of rooms ahead of time.
//!
//! A token request for a room whose record is still fresh, but not young, starts a check in the background. So joins
//! in a busy meeting do not wait for LiveKit. At most one check runs for each room, and [`MAX_CONCURRENT`] in all. A
//! check that is skipped or fails does no harm: the next join that finds a stale record checks the room and waits.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chassis::{context, grpc::system_caller, lifecycle::Lifecycle, transport::Transport};
use domain::Owner;
use proto::room::v1::{
    EnsureRoomRequest, ensure_room_request::Owner as Wire, room_service_client::RoomServiceClient,
};

/// Checks that run at the same time.
const MAX_CONCURRENT: usize = 64;
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

pub struct RefreshAhead {
    room: RoomServiceClient<Transport>,
    lifecycle: Lifecycle,
    running: Arc<Mutex<HashSet<Owner>>>,
}

impl RefreshAhead {
    pub fn new(room: RoomServiceClient<Transport>, lifecycle: Lifecycle) -> Self {
        Self { room, lifecycle, running: Arc::default() }
    }

    /// Starts a check of the owner's room, unless one is running.
    pub fn start(&self, owner: Owner) {
        {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            // More are not worth a queue: the next token request finds the record stale, and checks it.
            if running.len() >= MAX_CONCURRENT || !running.insert(owner) {
                return;
            }
        }
        let (mut room, running) = (self.room.clone(), Arc::clone(&self.running));
        self.lifecycle.spawn("look ahead", async move {
            // `ahead`: an active room is checked. Nothing is created for it.
            let request = EnsureRoomRequest { ahead: true, ..request_for(owner) };
            if let Err(status) = context::with_budget(CHECK_TIMEOUT, room.ensure_room(request)).await {
                tracing::debug!(code = ?status.code(), owner.id = %owner.id(), "room refresh failed");
            }
            running.lock().unwrap_or_else(PoisonError::into_inner).remove(&owner);
        });
    }
}

/// Returns an `EnsureRoom` request for the owner, with the system caller.
pub fn request_for(owner: Owner) -> EnsureRoomRequest {
    let owner = match owner {
        Owner::Session(id) => Wire::SessionId(id.to_string()),
        Owner::LiveSession(id) => Wire::LiveSessionId(id.to_string()),
        Owner::Nest(id) => Wire::NestId(id.to_string()),
    };
    EnsureRoomRequest { caller: Some(system_caller()), owner: Some(owner), ..EnsureRoomRequest::default() }
}
