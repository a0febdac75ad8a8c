//! Creates, joins and ends nests. Each write is one transaction. LiveKit is called after the commit, and the request
//! waits a moment for it. The database holds the truth, whatever LiveKit answers.

use chassis::db::retry_on_contention;
use domain::{NestId, Owner};
use proto::room::v1::Proof;

use super::{
    NestError, Nests,
    store::{self, Nest},
};
use crate::{
    error::Error,
    replay,
    rooms::{
        ensure::Work,
        store::{Record, insert_intents},
    },
};

impl Nests {
    /// Creates a nest of the caller.
    pub async fn create_nest(
        &self,
        host: &str,
        proof: &Proof,
        relays: &[String],
        hls_stream: bool,
    ) -> Result<Nest, Error> {
        let (nest, intent) =
            retry_on_contention(|| self.insert_nest(host, proof, relays, hls_stream)).await?;
        metrics::counter!("greenroom_nests_created_total").increment(1);
        tracing::info!(nest.id = %nest.id, "nest created");
        self.rooms.apply_to_livekit(Owner::Nest(NestId(nest.id.0)), Work::Open(intent)).await;
        Ok(nest)
    }

    /// Inserts the nest, and the intent to have its room.
    async fn insert_nest(
        &self,
        host: &str,
        proof: &Proof,
        relays: &[String],
        hls_stream: bool,
    ) -> Result<(Nest, Option<Box<Record>>), Error> {
        let mut transaction = replay::begin(&self.rooms.pool, Some(proof)).await?;
        let id = store::insert_nest(&mut *transaction, host, relays, hls_stream).await?;
        let intent = insert_intents(&mut *transaction, &[Owner::Nest(NestId(id.0))]).await?.pop();
        let nest = store::find_nest(&mut *transaction, id).await?.ok_or(NestError::NoNest)?;
        transaction.commit().await?;
        Ok((nest, intent.map(Box::new)))
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

    /// Ends the caller's nest and its room.
    pub async fn end_nest(&self, host: &str, proof: &Proof, nest: NestId) -> Result<(), Error> {
        retry_on_contention(|| self.set_nest_ended(host, proof, nest)).await?;
        self.rooms.apply_to_livekit(Owner::Nest(nest), Work::Reconcile).await;
        Ok(())
    }

    async fn set_nest_ended(&self, host: &str, proof: &Proof, nest: NestId) -> Result<(), Error> {
        let mut transaction = replay::begin(&self.rooms.pool, Some(proof)).await?;
        // Locks the nest until the transaction ends.
        let owner = store::lock_nest(&mut *transaction, nest).await?.ok_or(NestError::NoNest)?;
        if owner != host {
            return Err(NestError::NotAllowed.into());
        }
        store::set_ended(&mut *transaction, nest).await?;
        Ok(transaction.commit().await?)
    }
}
