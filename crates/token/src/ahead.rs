//! Looks ahead: a room that is asked for is looked at again while its record is still fresh, off the path, so that
//! in a busy meeting nobody waits for LiveKit. At most one look per room and [`LOOKS`] in all; a look that finds no
//! place or fails is no loss, the next join that finds the record stale asks and waits.

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

/// Looks under way at once.
const LOOKS: usize = 64;
const BUDGET: Duration = Duration::from_secs(3);

pub struct Ahead {
    room: RoomServiceClient<Transport>,
    lifecycle: Lifecycle,
    under_way: Arc<Mutex<HashSet<Owner>>>,
}

impl Ahead {
    pub fn new(room: RoomServiceClient<Transport>, lifecycle: Lifecycle) -> Self {
        Self { room, lifecycle, under_way: Arc::default() }
    }

    /// Has the owner's room looked at, unless that is under way.
    pub fn look(&self, owner: Owner) {
        {
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            if under_way.len() >= LOOKS || !under_way.insert(owner) {
                return;
            }
        }
        let (mut room, under_way) = (self.room.clone(), Arc::clone(&self.under_way));
        self.lifecycle.spawn("look ahead", async move {
            let request = EnsureRoomRequest { ahead: true, ..request_for(owner) };
            if let Err(status) = context::with_budget(BUDGET, room.ensure_room(request)).await {
                tracing::debug!(code = ?status.code(), owner.id = %owner.id(), "a look ahead failed");
            }
            under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&owner);
        });
    }
}

/// `EnsureRoom` for the owner, as one of our own services.
pub fn request_for(owner: Owner) -> EnsureRoomRequest {
    let owner = match owner {
        Owner::Session(id) => Wire::SessionId(id.to_string()),
        Owner::LiveSession(id) => Wire::LiveSessionId(id.to_string()),
        Owner::Nest(id) => Wire::NestId(id.to_string()),
    };
    EnsureRoomRequest { caller: Some(system_caller()), owner: Some(owner), ..EnsureRoomRequest::default() }
}
