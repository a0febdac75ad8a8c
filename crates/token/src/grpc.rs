//! What token says over gRPC: one call, and who is remembered on the way.

use std::sync::Arc;

use chassis::{
    grpc::{caller, system_caller, timestamp, uuid},
    lifecycle::Lifecycle,
    status::Refusal,
    transport::Transport,
};
use domain::{REFRESH_AFTER, Role};
use proto::{
    room::v1::{EnsureRoomRequest, room_service_client::RoomServiceClient},
    token::v1::{
        IssueForLiveRoomRequest, IssueForLiveRoomResponse, IssueForSessionRequest, IssueForSessionResponse,
        Person, token_service_server,
    },
    types::v1::Caller,
};
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    ahead::Ahead,
    decision::{Admission, Decision, Ensured, decide},
    error::Error,
    joins::Joins,
    sign::{Signer, Ticket},
    store::{self, Join},
};

/// How often room-lifecycle is asked within one request. The second time is for a room that changed in between.
const ENSURES: usize = 2;
/// People being remembered at once; whoever finds no place is remembered at his next join.
const REMEMBERING: usize = 2;

pub struct TokenService {
    pool: PgPool,
    room: RoomServiceClient<Transport>,
    signer: Signer,
    ws_url: String,
    joins: Arc<Joins>,
    ahead: Ahead,
    lifecycle: Lifecycle,
    remembering: Arc<Semaphore>,
}

impl TokenService {
    pub fn new(
        pool: PgPool,
        room: RoomServiceClient<Transport>,
        signer: Signer,
        ws_url: String,
        joins: Arc<Joins>,
        lifecycle: Lifecycle,
    ) -> Self {
        let remembering = Arc::new(Semaphore::new(REMEMBERING));
        let ahead = Ahead::new(room.clone(), lifecycle.clone());
        Self { pool, room, signer, ws_url, joins, ahead, lifecycle, remembering }
    }

    async fn issue(&self, request: IssueForSessionRequest) -> Result<IssueForSessionResponse, Error> {
        let caller = caller(request.caller).map_err(Error::Request)?;
        let session_id = uuid("session_id", &request.session_id).map_err(Error::Request)?;
        let mut ensured = if request.ensure_now { Ensured::Doubted } else { Ensured::NotAsked };
        for asked in 0..=ENSURES {
            let row = store::find_join(&self.pool, session_id, &caller.user_id).await?;
            let row = row.ok_or(Error::SessionNotFound)?;
            if asked == 0 {
                self.remember(&caller, &row);
            }
            match decide(&row, ensured) {
                Decision::Refuse(refused) => return Err(refused.into()),
                Decision::Sign(admission) => {
                    if row.confirmed_at.is_some_and(|at| row.now - at > REFRESH_AFTER) {
                        self.ahead.look(session_id);
                    }
                    return self.sign(&caller, &row, admission);
                }
                Decision::EnsureFirst if asked < ENSURES => {
                    ensured = self.ensure_room(session_id, request.ensure_now).await?;
                }
                Decision::EnsureFirst => {}
            }
        }
        Err(Error::Unsettled)
    }

    async fn ensure_room(&self, session_id: Uuid, now: bool) -> Result<Ensured, Error> {
        let request = EnsureRoomRequest {
            caller: Some(system_caller()),
            session_id: session_id.to_string(),
            now,
            ..EnsureRoomRequest::default()
        };
        let answer = self.room.clone().ensure_room(request).await;
        let answer = answer.map_err(|status| Error::Room(Refusal::from_status(&status)))?;
        let room = answer.into_inner().room.ok_or(Error::Unsettled)?;
        Ok(Ensured::Generation(room.generation))
    }

    fn sign(
        &self,
        caller: &Caller,
        row: &Join,
        admission: Admission<'_>,
    ) -> Result<IssueForSessionResponse, Error> {
        let Admission { role, room_id, room_name, left } = admission;
        let name = own_name(caller, row, role);
        let signed = self.signer.sign(Ticket {
            identity: &caller.user_id,
            name,
            role,
            room: room_name,
            signed_at: row.signed_at,
            left,
        })?;
        self.joins.expect(room_id, &caller.user_id, row.now);
        Ok(IssueForSessionResponse {
            token: signed.token,
            ws_url: self.ws_url.clone(),
            room_name: room_name.to_owned(),
            identity: caller.user_id.clone(),
            participant_name: name.to_owned(),
            role: role.as_str().to_owned(),
            can_record: role.can_record(),
            expires_at: Some(timestamp(signed.expires_at)),
            title: row.title.clone(),
            scheduled_at: Some(timestamp(row.scheduled_at)),
            opens_at: Some(timestamp(row.opens_at)),
            closes_at: Some(timestamp(row.closes_at)),
            other_participant: Some(other_person(row, role)),
        })
    }

    /// Off the path: the caller does not wait for it, and a failure is tried again by his next join.
    fn remember(&self, caller: &Caller, row: &Join) {
        if row.role.is_none() || !is_news(caller, row) {
            return;
        }
        let Ok(place) = Arc::clone(&self.remembering).try_acquire_owned() else {
            return;
        };
        let (pool, person) = (self.pool.clone(), caller.clone());
        self.lifecycle.spawn("remember person", async move {
            let _place = place;
            if let Err(error) = store::remember_person(&pool, &person).await {
                tracing::warn!(%error, "a person could not be remembered");
            }
        });
    }
}

#[tonic::async_trait]
impl token_service_server::TokenService for TokenService {
    async fn issue_for_session(
        &self,
        request: Request<IssueForSessionRequest>,
    ) -> Result<Response<IssueForSessionResponse>, Status> {
        let issued = self.issue(request.into_inner()).await.map_err(Refusal::from);
        let result = issued.as_ref().map_or_else(|refusal| refusal.reason.code(), |_| "issued");
        metrics::counter!("greenroom_tokens_total", "result" => result).increment(1);
        Ok(Response::new(issued?))
    }

    async fn issue_for_live_room(
        &self,
        _: Request<IssueForLiveRoomRequest>,
    ) -> Result<Response<IssueForLiveRoomResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }
}

/// Whether the caller's token tells what we do not know yet. Empty texts tell nothing.
fn is_news(caller: &Caller, row: &Join) -> bool {
    let told = [
        (&caller.name, &row.own_name),
        (&caller.email, &row.own_email),
        (&caller.avatar_url, &row.own_avatar),
    ];
    told.into_iter().any(|(told, known)| !told.is_empty() && known.as_ref() != Some(told))
}

/// What the others see: as he is called now, as we know him, as he was booked, or his id.
fn own_name<'a>(caller: &'a Caller, row: &'a Join, role: Role) -> &'a str {
    let booked = row.guest_name.as_deref().filter(|_| !role.is_host());
    [Some(caller.name.as_str()), row.own_name.as_deref(), booked]
        .into_iter()
        .flatten()
        .find(|name| !name.is_empty())
        .unwrap_or(&caller.user_id)
}

fn other_person(row: &Join, own_role: Role) -> Person {
    let booked = row.guest_name.as_ref().filter(|_| own_role.is_host());
    Person {
        id: row.other_id.clone(),
        name: row.other_name.as_ref().or(booked).unwrap_or(&row.other_id).clone(),
        avatar_url: row.other_avatar.clone().unwrap_or_default(),
    }
}
