//! One booking between `host-1` and `guest-1`, one live room of `host-1`, one listing, and the services that know them:
//! they record every call, decide by who asks, and do as they are told.

mod admin;
mod booking;
mod diagnosis;
mod live;
mod moderation;
mod nests;
mod recordings;
mod room;
mod seats;
mod sync;
mod token;

use std::{collections::HashSet, fmt::Debug, sync::Arc};

use chassis::status::Refusal;
use parking_lot::Mutex;
use proto::types::v1::Caller;
use tonic::{Request, Response, Status, metadata::MetadataMap};

pub use self::{
    live::LIVE_SESSION,
    nests::NEST,
    recordings::RECORDING,
    sync::{Listing, stream},
};

pub const SESSION: &str = "0190c9d2-5c1e-7a11-9c5e-2f6d3b1a7e01";
pub const ROOM: &str = "0190c9d2-5c1e-7a11-9c5e-2f6d3b1a7e03";
pub const NOTIFICATION: &str = "0190c9d2-5c1e-7a11-9c5e-2f6d3b1a7e02";

/// What the services do with the next calls.
#[derive(Clone, Default)]
pub enum Mood {
    /// Answer those who may.
    #[default]
    Well,
    Refuse(Refusal),
    /// Refuse this call, and answer the others.
    RefuseAt(&'static str, Refusal),
    /// Fail without a reason of ours.
    Fail(Status),
    Panic,
    Hang,
    /// Never answer this call, and answer the others.
    HangAt(&'static str),
}

#[derive(Clone)]
pub struct Call {
    pub method: &'static str,
    pub caller: Option<Caller>,
    pub metadata: MetadataMap,
    /// The request as `Debug` writes it.
    pub request: String,
}

/// The rest: proofs that were taken, and who is in the nest.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<(Mood, Vec<Call>)>>, Listing, Proofs, Arc<Mutex<HashSet<String>>>);

type Proofs = Arc<Mutex<HashSet<(Vec<u8>, Vec<u8>)>>>;

impl Fake {
    pub fn set(&self, mood: Mood) {
        self.0.lock().0 = mood;
    }

    pub fn calls(&self) -> Vec<Call> {
        self.0.lock().1.clone()
    }

    /// What sync tells.
    pub fn listing(&self) -> &Listing {
        &self.1
    }

    pub fn last(&self) -> Call {
        self.calls().pop().expect("a call")
    }

    async fn take<R: Debug>(
        &self,
        method: &'static str,
        request: Request<R>,
        caller: impl FnOnce(&R) -> Option<Caller>,
    ) -> Result<(R, Caller), Status> {
        let metadata = request.metadata().clone();
        let request = request.into_inner();
        let caller = caller(&request);
        let mood = {
            let mut inner = self.0.lock();
            inner.1.push(Call { method, caller: caller.clone(), metadata, request: format!("{request:?}") });
            inner.0.clone()
        };
        match mood {
            Mood::RefuseAt(at, refusal) if at == method => return Err(refusal.into()),
            Mood::HangAt(at) if at == method => std::future::pending().await,
            Mood::Well | Mood::RefuseAt(..) | Mood::HangAt(_) => {}
            Mood::Refuse(refusal) => return Err(refusal.into()),
            Mood::Fail(status) => return Err(status),
            Mood::Panic => panic!("on purpose"),
            Mood::Hang => std::future::pending().await,
        }
        let caller = caller.unwrap_or_default();
        Ok((request, caller))
    }
}

fn at(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: 1_800_000_000 + seconds, nanos: 0 }
}

type Answer<T> = Result<Response<T>, Status>;
