//! Creates, joins and ends nests. Each write is one transaction. LiveKit is called after the commit, and the request
//! waits a moment for it. The database holds the truth, whatever LiveKit answers.

use chassis::db::retry_on_contention;
use domain::{NestId, Owner};
use proto::room::v1::Proof;
use uuid::Uuid;

use super::{
    NestError, Nests,
    store::{self, Nest},
};
use crate::{
    error::Error,
    replay::{self, Answer, Event, Once},
    rooms::{
        ensure::Work,
        store::{Record, insert_intents},
    },
};

/// A nest that was created, and the intent to have its room.
type Created = (Nest, Option<Box<Record>>);

impl Nests {
    /// Creates a nest of the caller. The same signed request again returns the nest that it created.
    pub async fn create_nest(
        &self,
        host: &str,
        proof: &Proof,
        relays: &[String],
        hls_stream: bool,
    ) -> Result<Nest, Error> {
        let event = Event::new(proof, host, None)?;
        let (nest, intent) =
            match retry_on_contention(|| self.insert_nest(&event, host, relays, hls_stream)).await? {
                Once::New(created) => created,
                Once::Answered(answer) => return self.nest(NestId(answer.made.unwrap_or_default())).await,
            };
        metrics::counter!("greenroom_nests_created_total").increment(1);
        tracing::info!(nest.id = %nest.id, "nest created");
        self.rooms.apply_to_livekit(Owner::Nest(NestId(nest.id.0)), Work::Open(intent)).await;
        Ok(nest)
    }

    /// Inserts the nest, and the intent to have its room.
    async fn insert_nest(
        &self,
        event: &Event<'_>,
        host: &str,
        relays: &[String],
        hls_stream: bool,
    ) -> Result<Once<Created>, Error> {
        // The id is chosen here, so that it is in the request's answer before the nest exists.
        let id = NestId(Uuid::new_v4());
        let answer = Answer::OK.with(id.0);
        let mut transaction = match replay::begin(&self.rooms.pool, Some(event), Some(answer)).await? {
            Once::New(transaction) => transaction,
            Once::Answered(answer) => return Ok(Once::Answered(answer)),
        };
        store::insert_nest(&mut *transaction, id, host, relays, hls_stream).await?;
        let intent = insert_intents(&mut *transaction, &[Owner::Nest(id)]).await?.pop();
        let nest = store::find_nest(&mut *transaction, id).await?.ok_or(NestError::NoNest)?;
        transaction.commit().await?;
        Ok(Once::New((nest, intent.map(Box::new))))
    }

    /// An open nest.
    pub async fn nest(&self, nest: NestId) -> Result<Nest, Error> {
        Ok(store::find_nest(&self.rooms.pool, nest).await?.ok_or(NestError::NoNest)?)
    }

    /// Makes the caller a participant. Idempotent.
    pub async fn join_nest(&self, pubkey: &str, nest: NestId) -> Result<(), Error> {
        let is_in = retry_on_contention(|| store::insert_participant(&self.rooms.pool, nest, pubkey)).await?;
        if is_in.ok_or(NestError::NoNest)? { Ok(()) } else { Err(NestError::Full.into()) }
    }

    /// Ends the caller's nest and its room. The same signed request again does nothing.
    pub async fn end_nest(&self, host: &str, proof: &Proof, nest: NestId) -> Result<(), Error> {
        let event = Event::new(proof, host, Some(nest))?;
        if let Once::New(()) = retry_on_contention(|| self.set_nest_ended(&event, host, nest)).await? {
            self.rooms.apply_to_livekit(Owner::Nest(nest), Work::Reconcile).await;
        }
        Ok(())
    }

    async fn set_nest_ended(&self, event: &Event<'_>, host: &str, nest: NestId) -> Result<Once<()>, Error> {
        let answer = Some(Answer::NO_CONTENT);
        let mut transaction = match replay::begin(&self.rooms.pool, Some(event), answer).await? {
            Once::New(transaction) => transaction,
            Once::Answered(answer) => return Ok(Once::Answered(answer)),
        };
        // Locks the nest until the transaction ends.
        let owner = store::lock_nest(&mut *transaction, nest).await?.ok_or(NestError::NoNest)?;
        if owner != host {
            return Err(NestError::NotAllowed.into());
        }
        store::set_ended(&mut *transaction, nest).await?;
        Ok(Once::New(transaction.commit().await?))
    }
}
