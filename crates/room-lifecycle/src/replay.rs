//! Signed requests of Nostr clients: each is carried out once, whichever replica it reaches.
//!
//! A request leaves its event, its key, its nest and its answer in `nostr_seen`, in the transaction of its change.
//! Event times have whole seconds, so a client that asks for the same change twice within one sends the same event. It
//! gets the same answer, and nothing is done. After a later change of that key the answer would be wrong: the request
//! is refused, and its client signs it again. A request without an answer has failed after its transaction, and is
//! carried out again.

mod store;

use chassis::status::{Reason, Refusal};
use domain::{NestId, Pubkey};
use proto::room::v1::Proof;
use sqlx::{PgConnection, PgExecutor, PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::error::Error;

/// Length of a SHA-256 hash in bytes.
const HASH_LENGTH: usize = 32;
/// Rows that one statement deletes.
const FORGET_BATCH: i64 = 5_000;
const MAX_FORGET_BATCHES: usize = 20;

/// The signed request was carried out before, and its answer would be wrong now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signed request was carried out before, and something changed since")]
pub struct SignatureUsed;

impl From<SignatureUsed> for Refusal {
    fn from(_: SignatureUsed) -> Self {
        Self::new(
            Reason::SignatureUsed,
            "This signed request was already carried out and something changed since. Sign it again.",
        )
    }
}

impl From<SignatureUsed> for Error {
    fn from(error: SignatureUsed) -> Self {
        Self::refused(error)
    }
}

/// The refusal of a caller that has no valid public key.
pub(crate) fn no_key() -> Refusal {
    Refusal::new(Reason::Unauthenticated, "Sign the request with a Nostr key.")
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

/// A signed request that changes something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    proof: &'a Proof,
    /// The key that signed it.
    key: [u8; 32],
    /// The nest that it names. `None`: it creates one.
    nest: Option<NestId>,
}

impl<'a> Event<'a> {
    pub(crate) fn new(proof: &'a Proof, key: &str, nest: Option<NestId>) -> Result<Self, Refusal> {
        let key: Pubkey = key.parse().map_err(|_| no_key())?;
        Ok(Self { proof, key: key.to_bytes(), nest })
    }
}

/// The answer of a request that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status that the gateway answers with.
    status: i16,
    /// The nest or the recording that the request created.
    pub made: Option<Uuid>,
}

impl Answer {
    pub const OK: Self = Self { status: 200, made: None };
    pub const ACCEPTED: Self = Self { status: 202, made: None };
    pub const NO_CONTENT: Self = Self { status: 204, made: None };

    pub const fn of_change(changed: bool) -> Self {
        if changed { Self::ACCEPTED } else { Self::NO_CONTENT }
    }

    pub const fn with(self, made: Uuid) -> Self {
        Self { made: Some(made), ..self }
    }
}

/// The outcome of a change that is carried out once for each signed request.
#[derive(Debug)]
pub(crate) enum Once<T> {
    /// It was carried out now, or is to be.
    New(T),
    /// It was carried out before. Nothing was written, and nothing must be done.
    Answered(Answer),
}

/// Begins the transaction of a change. A signed request is the first write in it. `answer`: what the request will be
/// answered, where that is known before the change.
pub(crate) async fn begin(
    pool: &PgPool,
    event: Option<&Event<'_>>,
    answer: Option<Answer>,
) -> Result<Once<Transaction<'static, Postgres>>, Error> {
    // In the transaction of the effect: if that fails, the request may be repeated.
    let mut transaction = chassis::db::begin(pool).await?;
    if let Some(event) = event
        && let Some(before) = accept(&mut transaction, event, answer).await?
    {
        return Ok(Once::Answered(before));
    }
    Ok(Once::New(transaction))
}

/// Records a signed request before its change. `Some`: it was carried out before, with this answer. Requests of one key
/// in one nest wait for each other here until the transaction ends.
pub(crate) async fn accept(
    transaction: &mut PgConnection,
    event: &Event<'_>,
    answer: Option<Answer>,
) -> Result<Option<Answer>, Error> {
    Ok(decide(store::accept_signed(transaction, event, answer).await?)?)
}

/// Returns the answer of a signed request that was carried out before. Writes nothing.
pub(crate) async fn find_answer(db: impl PgExecutor<'_>, event: &Event<'_>) -> Result<Option<Answer>, Error> {
    Ok(decide(store::find_answer(db, event).await?)?)
}

/// Decides a request that was refused. `Ok`: it was carried out before, and that answer counts. For example, an equal
/// request has deleted its recording.
pub(crate) async fn answer_of_refused(
    pool: &PgPool,
    event: Option<&Event<'_>>,
    refused: Error,
) -> Result<Answer, Error> {
    let Some(event) = event.filter(|_| is_refusal(&refused)) else { return Err(refused) };
    find_answer(pool, event).await?.ok_or(refused)
}

/// Whether a request was refused because of what the rows say. After a failure it is not known what they say.
fn is_refusal(error: &Error) -> bool {
    let is_refused = matches!(error, Error::Refused { refusal, .. } if refusal.reason.http() < 500);
    is_refused && error.cause::<SignatureUsed>().is_none()
}

fn decide(before: Option<store::Before>) -> Result<Option<Answer>, SignatureUsed> {
    let Some(before) = before else { return Ok(None) };
    let answer =
        before.status.filter(|_| !before.is_used).map(|status| Answer { status, made: before.made_id });
    let result = if answer.is_some() { "answered" } else { "used" };
    metrics::counter!("greenroom_nests_replayed_total", "result" => result).increment(1);
    answer.map(Some).ok_or(SignatureUsed)
}

/// Stores the answer of a request, and returns the one that counts: of equal requests at the same time, the first.
pub(crate) async fn set_answer(
    db: impl PgExecutor<'_>,
    event: &Event<'_>,
    answer: Answer,
) -> Result<Answer, Error> {
    let status = store::set_answer(db, event, answer).await?.unwrap_or(answer.status);
    Ok(Answer { status, ..answer })
}

/// Removes the answer of a request whose change failed after its transaction: the same request is carried out again.
pub(crate) async fn withdraw_answer(pool: &PgPool, event: &Event<'_>) -> Result<(), Error> {
    Ok(store::delete_answer(pool, event).await?)
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
