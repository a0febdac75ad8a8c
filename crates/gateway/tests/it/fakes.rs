//! Fake services with one booking between `host-1` and `guest-1`, one live room of `host-1`, one nest and one listing.
//! They record every call, answer depending on the caller, and behave as the test sets ([`Behaviour`]).

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

use std::{any::Any, collections::HashSet, sync::Arc};

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

/// How the services answer the next calls.
#[derive(Clone, Default)]
pub enum Behaviour {
    /// Answer.
    #[default]
    Answer,
    Refuse(Refusal),
    /// Refuse this call, and answer the others.
    RefuseAt(&'static str, Refusal),
    /// Fail without a reason in the status.
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
    request: Arc<dyn Any + Send + Sync>,
}

impl Call {
    /// The request, which must have this type.
    #[track_caller]
    pub fn sent<R: Clone + 'static>(&self) -> R {
        let Some(sent) = self.request.downcast_ref::<R>() else {
            panic!("{} did not get a {}", self.method, std::any::type_name::<R>())
        };
        sent.clone()
    }
}

/// Behaviour and calls, the listing, the accepted proofs, and the participants of the nest.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<(Behaviour, Vec<Call>)>>, Listing, Proofs, Arc<Mutex<HashSet<String>>>);

type Proofs = Arc<Mutex<HashSet<(Vec<u8>, Vec<u8>)>>>;

impl Fake {
    pub fn set(&self, behaviour: Behaviour) {
        self.0.lock().0 = behaviour;
    }

    pub fn calls(&self) -> Vec<Call> {
        self.0.lock().1.clone()
    }

    /// The listing that sync serves.
    pub fn listing(&self) -> &Listing {
        &self.1
    }

    pub fn last(&self) -> Call {
        self.calls().pop().expect("a call")
    }

    /// Asserts that no service was called.
    #[track_caller]
    pub fn assert_not_called(&self) {
        let called: Vec<_> = self.calls().into_iter().map(|call| call.method).collect();
        assert!(called.is_empty(), "the gateway called {called:?}");
    }

    /// The request of the last call, which must have this type.
    #[track_caller]
    pub fn sent<R: Clone + 'static>(&self) -> R {
        self.last().sent()
    }

    /// Records a call, and returns the request and its caller if the behaviour is to answer.
    async fn take<R: Clone + Send + Sync + 'static>(
        &self,
        method: &'static str,
        request: Request<R>,
        caller: impl FnOnce(&R) -> Option<Caller>,
    ) -> Result<(R, Caller), Status> {
        let metadata = request.metadata().clone();
        let request = request.into_inner();
        let caller = caller(&request);
        let behaviour = {
            let mut inner = self.0.lock();
            let sent = Arc::new(request.clone());
            inner.1.push(Call { method, caller: caller.clone(), metadata, request: sent });
            inner.0.clone()
        };
        match behaviour {
            Behaviour::RefuseAt(at, refusal) if at == method => return Err(refusal.into()),
            Behaviour::HangAt(at) if at == method => std::future::pending().await,
            Behaviour::Answer | Behaviour::RefuseAt(..) | Behaviour::HangAt(_) => {}
            Behaviour::Refuse(refusal) => return Err(refusal.into()),
            Behaviour::Fail(status) => return Err(status),
            Behaviour::Panic => panic!("a deliberate panic"),
            Behaviour::Hang => std::future::pending().await,
        }
        let caller = caller.unwrap_or_default();
        Ok((request, caller))
    }
}

/// A time near 2027-01-15T08:00:00Z.
fn at(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: 1_800_000_000 + seconds, nanos: 0 }
}

type Answer<T> = Result<Response<T>, Status>;
