//! From a row to a token: read, decide, have the room ensured if only room-lifecycle can tell, read again, sign.
//!
//! The same for every kind of room; what differs stands in the rows ([`Door`]). The caller waits for nothing else: his
//! name is kept, the room looked at ahead and his arrival watched for off the path.

use std::sync::Arc;

use chassis::{
    grpc::datetime,
    lifecycle::Lifecycle,
    status::{Reason, Refusal},
    transport::Transport,
};
use domain::{Owner, REFRESH_AFTER};
use proto::{
    room::v1::{EnsureRoomRequest, room_service_client::RoomServiceClient},
    types::v1::Caller,
};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use crate::{
    Config,
    ahead::{Ahead, request_for},
    decision::{Admission, Decision, Door, Ensured, Known, Part, decide},
    error::Error,
    joins::Joins,
    sign::{Signer, Ticket},
    store,
};

/// How often room-lifecycle is asked within one request. The second time is for a room that changed in between.
const ENSURES: usize = 2;
/// People being remembered at once; whoever finds no place is remembered at his next join.
const REMEMBERING: usize = 2;

pub struct Issuer {
    pub(crate) pool: PgPool,
    room: RoomServiceClient<Transport>,
    signer: Signer,
    ws_url: String,
    pub(crate) room_admin_grant: bool,
    joins: Arc<Joins>,
    ahead: Ahead,
    lifecycle: Lifecycle,
    remembering: Arc<Semaphore>,
}

/// A token, and what is told with every token. Deliberately without `Debug`.
pub struct Issued {
    pub token: String,
    pub expires_at: OffsetDateTime,
    pub ws_url: String,
    pub room_name: String,
    pub identity: String,
    pub name: String,
    pub part: Part,
}

impl Issuer {
    pub fn new(
        pool: PgPool,
        room: RoomServiceClient<Transport>,
        signer: Signer,
        config: &Config,
        joins: Arc<Joins>,
        lifecycle: Lifecycle,
    ) -> Self {
        let remembering = Arc::new(Semaphore::new(REMEMBERING));
        let ahead = Ahead::new(room.clone(), lifecycle.clone());
        let (ws_url, room_admin_grant) = (config.livekit.ws_url.clone(), config.nests_room_admin_grant);
        Self { pool, room, signer, ws_url, room_admin_grant, joins, ahead, lifecycle, remembering }
    }

    /// A token from the row that `find` reads, as often as it has to be read; the row comes with it.
    pub async fn issue<R: Door, F: Future<Output = Result<R, Error>>>(
        &self,
        caller: &Caller,
        ensure_now: bool,
        find: impl Fn() -> F,
    ) -> Result<(R, Issued), Error> {
        let mut ensured = if ensure_now { Ensured::Doubted } else { Ensured::NotAsked };
        for asked in 0..=ENSURES {
            let row = find().await?;
            if asked == 0 {
                self.remember(caller, row.known());
            }
            match decide(&row, ensured) {
                Decision::Refuse(refused) => return Err(refused.into()),
                Decision::Sign(admission) => {
                    let issued = self.sign(caller, &row, admission)?;
                    return Ok((row, issued));
                }
                Decision::EnsureFirst(owner) if asked < ENSURES => {
                    ensured = self.ensure_room(owner, ensure_now).await?;
                }
                Decision::EnsureFirst(_) => {}
            }
        }
        Err(Error::Unsettled)
    }

    async fn ensure_room(&self, owner: Owner, now: bool) -> Result<Ensured, Error> {
        let request = EnsureRoomRequest { now, ..request_for(owner) };
        match self.room.clone().ensure_room(request).await {
            Ok(answer) => {
                let room = answer.into_inner().room.ok_or(Error::Unsettled)?;
                let seen_at = room.confirmed_at.as_ref().and_then(datetime);
                Ok(Ensured::Generation { owner, generation: room.generation, seen_at })
            }
            Err(status) => match Refusal::from_status(&status) {
                // Over since the row was read: the row says better what to do, and a next session may be on.
                refusal if is_over(refusal.reason) => Ok(Ensured::Doubted),
                refusal => Err(Error::Room(refusal)),
            },
        }
    }

    fn sign(&self, caller: &Caller, row: &impl Door, admission: Admission<'_>) -> Result<Issued, Error> {
        let Admission { permit, room_id, room_name } = admission;
        if row.record().confirmed_at.is_some_and(|at| row.now() - at > REFRESH_AFTER) {
            self.ahead.look(permit.owner);
        }
        let name = own_name(caller, row.known());
        let signed = self.signer.sign(Ticket {
            identity: &caller.user_id,
            name,
            part: permit.part,
            room: room_name,
            signed_at: row.signed_at(),
            left: permit.left,
        })?;
        let ttl = (signed.expires_at - row.signed_at()).whole_seconds();
        tracing::info!(
            identity = caller.user_id,
            room.name = room_name,
            role = permit.part.name,
            ttl_s = ttl,
            "token issued"
        );
        if row.known().is_some() {
            self.joins.expect(room_id, &caller.user_id, row.now()); // nobody records when a guest comes
        }
        Ok(Issued {
            token: signed.token,
            expires_at: signed.expires_at,
            ws_url: self.ws_url.clone(),
            room_name: room_name.to_owned(),
            identity: caller.user_id.clone(),
            name: name.to_owned(),
            part: permit.part,
        })
    }

    /// Off the path: the caller does not wait for it, and a failure is tried again by his next join.
    fn remember(&self, caller: &Caller, known: Option<Known<'_>>) {
        if !known.is_some_and(|known| is_news(caller, known)) {
            return;
        }
        let Ok(place) = Arc::clone(&self.remembering).try_acquire_owned() else {
            return;
        };
        let (pool, person) = (self.pool.clone(), caller.clone());
        self.lifecycle.spawn("remember person", async move {
            let _place = place;
            if let Err(error) = store::upsert_user(&pool, &person).await {
                tracing::warn!(%error, "a person could not be remembered");
            }
        });
    }
}

/// Whether room-lifecycle found the owner closed or gone.
fn is_over(reason: Reason) -> bool {
    matches!(reason, Reason::RoomNotActive | Reason::SessionNotFound)
}

/// Whether the caller's token tells what we do not know yet. Empty texts tell nothing.
fn is_news(caller: &Caller, known: Known<'_>) -> bool {
    let texts =
        [(&caller.name, known.name), (&caller.email, known.email), (&caller.avatar_url, known.avatar)];
    let verified = caller.email_verified.filter(|_| !caller.email.is_empty());
    texts.into_iter().any(|(new, known)| !new.is_empty() && known != Some(new))
        || verified.is_some() && verified != known.email_verified
}

/// What the others see: as he is called now, as we know him, as he was booked, or his id.
fn own_name<'a>(caller: &'a Caller, known: Option<Known<'a>>) -> &'a str {
    [Some(caller.name.as_str()), known.and_then(|known| known.name), known.and_then(|known| known.booked)]
        .into_iter()
        .flatten()
        .find(|name| !name.is_empty())
        .unwrap_or(&caller.user_id)
}
