//! From a row to a token: read, decide, ensure the room if its record proves nothing, read again, sign.
//!
//! The steps are the same for each kind of room: they work on the [`Snapshot`] of a row. The caller waits for nothing
//! else. Storing the profile, refreshing the room ahead of time and watching for the join run in the background.

use std::sync::Arc;

use chassis::{
    grpc::datetime,
    lifecycle::Lifecycle,
    status::{Reason, Refusal},
    transport::Transport,
};
use domain::{LiveRoomId, NestId, Owner, REFRESH_AFTER, SessionId};
use proto::{
    room::v1::{EnsureRoomRequest, room_service_client::RoomServiceClient},
    types::v1::Caller,
};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use crate::{
    config::Config,
    decision::{Admission, Decision, Ensured, Refused, Snapshot, TokenRole, decide},
    error::Error,
    joins::Joins,
    refresh_ahead::{RefreshAhead, request_for},
    sign::{Signer, Ticket},
    store::{self, Join, LiveJoin, NestJoin, StoredProfile},
};

/// Calls of `EnsureRoom` within one request. The second call is for a room that changed after the first one.
const MAX_ENSURE_CALLS: usize = 2;
/// Profiles written at the same time. A profile that gets no permit is written at the user's next join.
const MAX_PROFILE_WRITES: usize = 2;

pub struct Issuer {
    pool: PgPool,
    room: RoomServiceClient<Transport>,
    signer: Signer,
    ws_url: String,
    room_admin_grant: bool,
    joins: Arc<Joins>,
    refresh_ahead: RefreshAhead,
    lifecycle: Lifecycle,
    profile_writes: Arc<Semaphore>,
}

/// A token, and what each response with a token contains. Deliberately without `Debug`.
pub struct Issued {
    pub token: String,
    pub expires_at: OffsetDateTime,
    pub ws_url: String,
    pub room_name: String,
    pub identity: String,
    pub name: String,
    pub token_role: TokenRole,
}

/// The steps of one request so far.
pub struct Steps {
    ensured: Ensured,
    /// LiveKit has just refused a token: room-lifecycle does not trust its record either.
    ensure_now: bool,
    ensure_calls: usize,
}

impl Steps {
    pub fn new(ensure_now: bool) -> Self {
        let ensured = if ensure_now { Ensured::Doubted } else { Ensured::NotAsked };
        Self { ensured, ensure_now, ensure_calls: 0 }
    }
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
        let profile_writes = Arc::new(Semaphore::new(MAX_PROFILE_WRITES));
        let refresh_ahead = RefreshAhead::new(room.clone(), lifecycle.clone());
        let (ws_url, room_admin_grant) = (config.livekit.ws_url.clone(), config.nests_room_admin_grant);
        Self { pool, room, signer, ws_url, room_admin_grant, joins, refresh_ahead, lifecycle, profile_writes }
    }

    pub(crate) async fn session_join(&self, id: SessionId, caller: &Caller) -> Result<Join, Error> {
        store::find_join(&self.pool, id, &caller.user_id).await?.ok_or(Error::SessionNotFound)
    }

    pub(crate) async fn live_join(&self, id: LiveRoomId, caller: &Caller) -> Result<LiveJoin, Error> {
        store::find_live_join(&self.pool, id, caller).await?.ok_or(Refused::NoLiveRoom.into())
    }

    /// Reads the row of a participant, or of a guest if `caller` is empty.
    pub(crate) async fn nest_join(&self, id: NestId, caller: Option<&Caller>) -> Result<NestJoin, Error> {
        let pubkey = caller.map(|caller| caller.user_id.as_str());
        store::find_nest_join(&self.pool, id, pubkey).await?.ok_or(Refused::NoNest.into())
    }

    pub(crate) fn nest_snapshot<'a>(&self, row: &'a NestJoin, caller: Option<&Caller>) -> Snapshot<'a> {
        Snapshot::of_nest(row, caller.is_none(), self.room_admin_grant)
    }

    /// Takes one step from a snapshot that was just read. None: the room was ensured, so read again and take the next
    /// step.
    pub(crate) async fn step(
        &self,
        caller: &Caller,
        snapshot: &Snapshot<'_>,
        steps: &mut Steps,
    ) -> Result<Option<Issued>, Error> {
        // Once for a request, although the row is read up to three times.
        if steps.ensure_calls == 0 {
            self.store_profile(caller, snapshot.profile);
        }
        match decide(snapshot, steps.ensured) {
            Decision::Refuse(refused) => Err(refused.into()),
            Decision::Sign(admission) => self.sign(caller, snapshot, admission).map(Some),
            Decision::EnsureFirst(owner) if steps.ensure_calls < MAX_ENSURE_CALLS => {
                steps.ensure_calls += 1;
                steps.ensured = self.ensure_room(owner, steps.ensure_now).await?;
                Ok(None)
            }
            Decision::EnsureFirst(_) => Err(Error::Unsettled),
        }
    }

    async fn ensure_room(&self, owner: Owner, now: bool) -> Result<Ensured, Error> {
        let request = EnsureRoomRequest { now, ..request_for(owner) };
        match self.room.clone().ensure_room(request).await {
            Ok(answer) => {
                let room = answer.into_inner().room.ok_or(Error::Unsettled)?;
                // From the answer, because a read-only database has no newer time in the row.
                let observed_at = room.confirmed_at.as_ref().and_then(datetime);
                Ok(Ensured::Generation { owner, generation: room.generation, observed_at })
            }
            Err(status) => match Refusal::from_status(&status) {
                // The session ended after the row was read. Read the row again: it has the reason, or the next session.
                refusal if is_over(refusal.reason) => Ok(Ensured::Doubted),
                refusal => Err(Error::Room(refusal)),
            },
        }
    }

    fn sign(
        &self,
        caller: &Caller,
        snapshot: &Snapshot<'_>,
        admission: Admission<'_>,
    ) -> Result<Issued, Error> {
        let Snapshot { now, signed_at, record, profile, .. } = *snapshot;
        let Admission { permit, room_id, room_name } = admission;
        // Fresh enough for this token. The check runs beside it, for the next ones.
        if record.confirmed_at.is_some_and(|at| now - at > REFRESH_AFTER) {
            self.refresh_ahead.start(permit.owner);
        }
        let name = display_name(caller, profile);
        let signed = self.signer.sign(Ticket {
            identity: &caller.user_id,
            name,
            token_role: permit.token_role,
            room: room_name,
            signed_at,
            left: permit.left,
        })?;
        let ttl = (signed.expires_at - signed_at).whole_seconds();
        tracing::info!(
            identity = caller.user_id,
            room.name = room_name,
            role = permit.token_role.name,
            ttl_s = ttl,
            "token issued"
        );
        if profile.is_some() {
            self.joins.expect(room_id, &caller.user_id, now); // joins of guests are not recorded
        }
        Ok(Issued {
            token: signed.token,
            expires_at: signed.expires_at,
            ws_url: self.ws_url.clone(),
            room_name: room_name.to_owned(),
            identity: caller.user_id.clone(),
            name: name.to_owned(),
            token_role: permit.token_role,
        })
    }

    /// Stores a changed profile in the background. The caller does not wait for it. After a failure the user's next
    /// join tries again.
    fn store_profile(&self, caller: &Caller, known: Option<StoredProfile<'_>>) {
        if !known.is_some_and(|known| is_changed(caller, known)) {
            return;
        }
        // Never waits: token requests must not queue behind writes of profiles.
        let Ok(permit) = Arc::clone(&self.profile_writes).try_acquire_owned() else {
            return;
        };
        let (pool, user) = (self.pool.clone(), caller.clone());
        self.lifecycle.spawn("remember person", async move {
            let _permit = permit;
            if let Err(error) = store::upsert_user(&pool, &user).await {
                tracing::warn!(%error, "failed to store a user profile");
            }
        });
    }
}

/// Whether room-lifecycle answered that the owner is closed or does not exist.
fn is_over(reason: Reason) -> bool {
    matches!(reason, Reason::RoomNotActive | Reason::SessionNotFound)
}

/// Whether the caller's bearer token differs from the stored profile. Its empty texts do not count.
fn is_changed(caller: &Caller, known: StoredProfile<'_>) -> bool {
    let texts = [
        (&caller.name, known.name),
        (&caller.email, known.email),
        (&caller.avatar_url, known.avatar),
        (&caller.locale, known.locale),
        (&caller.zoneinfo, known.zoneinfo),
    ];
    // Without an address the flag says nothing.
    let verified = caller.email_verified.filter(|_| !caller.email.is_empty());
    texts.into_iter().any(|(new, known)| !new.is_empty() && known != Some(new))
        || verified.is_some() && verified != known.email_verified
}

/// The name that other participants see: from the bearer token, from the stored profile, from the booking, or the id.
fn display_name<'a>(caller: &'a Caller, known: Option<StoredProfile<'a>>) -> &'a str {
    [Some(caller.name.as_str()), known.and_then(|known| known.name), known.and_then(|known| known.booked)]
        .into_iter()
        .flatten()
        .find(|name| !name.is_empty())
        .unwrap_or(&caller.user_id)
}
