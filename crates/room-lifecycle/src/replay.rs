//! Signed requests of Nostr clients: each is carried out once, whichever replica it reaches.

mod store;

use chassis::status::{Reason, Refusal};
use proto::room::v1::Proof;
use sqlx::{PgConnection, PgExecutor, PgPool, Postgres, Transaction};

use crate::error::Error;

/// Length of a SHA-256 hash in bytes.
const HASH_LENGTH: usize = 32;
/// Rows that one statement deletes.
const FORGET_BATCH: i64 = 5_000;
const MAX_FORGET_BATCHES: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signed request was carried out before")]
pub struct Replayed;

impl From<Replayed> for Refusal {
    fn from(_: Replayed) -> Self {
        Self::new(Reason::Unauthenticated, "This signed request was used already.")
    }
}

impl From<Replayed> for Error {
    fn from(error: Replayed) -> Self {
        Self::refused(error)
    }
}

/// Checks the form of a request's proof. The gateway has verified the signature.
pub(crate) fn proof(proof: Option<Proof>) -> Result<Proof, Refusal> {
    let proof = proof.unwrap_or_default();
    if proof.event_id.len() == HASH_LENGTH && proof.body_hash.len() == HASH_LENGTH {
        Ok(proof)
    } else {
        Err(Refusal::invalid("proof", "must be two hashes of 32 bytes"))
    }
}

/// Begins the transaction of a change. The proof of a signed request is the first write in it.
pub(crate) async fn begin(
    pool: &PgPool,
    proof: Option<&Proof>,
) -> Result<Transaction<'static, Postgres>, Error> {
    // In the transaction of the effect: if that fails, the request may be repeated.
    let mut transaction = chassis::db::begin(pool).await?;
    if let Some(proof) = proof {
        accept(&mut transaction, proof).await?;
    }
    Ok(transaction)
}

/// Records the proof of a signed request, and refuses a proof that was used before. It is the first write of the
/// transaction: two replicas with the same proof wait for each other here, so that the request is carried out once.
pub(crate) async fn accept(transaction: &mut PgConnection, proof: &Proof) -> Result<(), Error> {
    if store::insert_seen(transaction, proof).await? { Ok(()) } else { Err(replayed()) }
}

/// Refuses a signed request that was carried out before. Writes nothing.
pub(crate) async fn refuse_replayed(db: impl PgExecutor<'_>, proof: &Proof) -> Result<(), Error> {
    if store::is_seen(db, proof).await? { Err(replayed()) } else { Ok(()) }
}

fn replayed() -> Error {
    metrics::counter!("greenroom_nests_replayed_total").increment(1);
    Replayed.into()
}

/// Deletes the records of signed requests that are too old to be accepted again.
pub(crate) async fn forget_proofs(pool: &PgPool) -> Result<(), Error> {
    for _ in 0..MAX_FORGET_BATCHES {
        let forgotten = store::delete_expired(pool, FORGET_BATCH).await?;
        if i64::try_from(forgotten) != Ok(FORGET_BATCH) {
            break;
        }
    }
    Ok(())
}
