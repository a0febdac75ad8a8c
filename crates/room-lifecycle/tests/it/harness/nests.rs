//! Nests, their participants, and what LiveKit shows of both.

use chassis::status::{Reason, Refusal};
use domain::NestRole;
use livekit_protocol::{ParticipantInfo, ParticipantPermission};
use proto::room::v1::{
    CreateNestRequest, EndNestRequest, GetNestRequest, JoinNestRequest, Nest, Proof, SetPermissionsRequest,
    nest_service_server::NestService,
};
use room_lifecycle::rooms::store::{self, Record};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Service, World, hosts::person};

/// An open nest and its host's key.
#[derive(Clone, Debug)]
pub struct OpenNest {
    pub id: Uuid,
    pub host: String,
}

/// A user's public key.
pub fn key(number: u32) -> String {
    format!("{number:064x}")
}

/// The proof of a signed request that was not used before.
pub fn proof() -> Proof {
    let half = || Uuid::new_v4().into_bytes();
    Proof { event_id: [half(), half()].concat(), body_hash: [half(), half()].concat() }
}

pub fn outcome<T>(answer: Result<Response<T>, Status>) -> Result<T, Refusal> {
    answer.map(Response::into_inner).map_err(|status| Refusal::from_status(&status))
}

pub async fn create(rooms: &Service, request: CreateNestRequest) -> Result<Nest, Refusal> {
    Ok(outcome(NestService::create_nest(&rooms.nests, Request::new(request)).await)?.nest.unwrap())
}

pub async fn get(rooms: &Service, id: &str) -> Result<Nest, Reason> {
    let request = GetNestRequest { caller: None, nest_id: id.to_owned() };
    let answer = outcome(NestService::get_nest(&rooms.nests, Request::new(request)).await);
    answer.map(|answer| answer.nest.unwrap()).map_err(|refusal| refusal.reason)
}

impl OpenNest {
    pub async fn of(rooms: &Service, host: &str) -> Self {
        let request = CreateNestRequest {
            caller: Some(person(host)),
            proof: Some(proof()),
            ..CreateNestRequest::default()
        };
        let nest = create(rooms, request).await.unwrap();
        Self { id: nest.id.parse().unwrap(), host: nest.host }
    }

    pub async fn join(&self, rooms: &Service, key: &str) -> Result<(), Refusal> {
        let request = JoinNestRequest { caller: Some(person(key)), nest_id: self.id.to_string() };
        outcome(NestService::join_nest(&rooms.nests, Request::new(request)).await).map(drop)
    }

    pub async fn end(&self, rooms: &Service, key: &str) -> Result<(), Refusal> {
        self.end_with(rooms, key, proof()).await
    }

    pub async fn end_with(&self, rooms: &Service, key: &str, proof: Proof) -> Result<(), Refusal> {
        let request =
            EndNestRequest { caller: Some(person(key)), proof: Some(proof), nest_id: self.id.to_string() };
        outcome(NestService::end_nest(&rooms.nests, Request::new(request)).await).map(drop)
    }

    /// Sends a permission change by `by` for `of`. `amend` sets the change.
    pub async fn permit(
        &self,
        rooms: &Service,
        (by, of): (&str, &str),
        amend: impl FnOnce(&mut SetPermissionsRequest),
    ) -> Result<bool, Refusal> {
        let mut request = SetPermissionsRequest {
            caller: Some(person(by)),
            proof: Some(proof()),
            nest_id: self.id.to_string(),
            participant: of.to_owned(),
            ..SetPermissionsRequest::default()
        };
        amend(&mut request);
        Ok(outcome(NestService::set_permissions(&rooms.nests, Request::new(request)).await)?.changed)
    }

    /// The host allows or forbids a participant to speak.
    pub async fn speaks(&self, rooms: &Service, key: &str, can_publish: bool) -> bool {
        let amend = |request: &mut SetPermissionsRequest| request.can_publish = Some(can_publish);
        self.permit(rooms, (&self.host, key), amend).await.unwrap()
    }

    pub async fn mute(&self, rooms: &Service, key: &str, muted: bool) -> Result<bool, Refusal> {
        let amend = |request: &mut SetPermissionsRequest| request.mute_microphone = Some(muted);
        self.permit(rooms, (&self.host, key), amend).await
    }
}

impl World {
    pub async fn nest(&self, rooms: &Service) -> OpenNest {
        OpenNest::of(rooms, &key(1)).await
    }

    pub async fn nest_record(&self, nest: &OpenNest) -> Record {
        store::find_record(&self.pool, nest.id).await.unwrap().unwrap()
    }

    /// Joins with a token for this role, as the token service signs it.
    pub async fn enter_nest(&self, nest: &OpenNest, identity: &str, role: NestRole) -> ParticipantInfo {
        let room = self.nest_record(nest).await.room_name;
        self.server().join(&self.nest_token(&room, identity, role)).unwrap()
    }

    pub fn nest_token(&self, room: &str, identity: &str, role: NestRole) -> String {
        self.token_for(room, identity, role.grants())
    }

    /// The LiveKit permission of a connected participant.
    pub async fn permission(&self, nest: &OpenNest, identity: &str) -> ParticipantPermission {
        let room = self.nest_record(nest).await.room_name;
        let there = self.server().connected(&room).into_iter().find(|one| one.identity == identity);
        there.unwrap().permission.unwrap()
    }

    pub async fn may_speak(&self, nest: &OpenNest, identity: &str) -> bool {
        self.permission(nest, identity).await.can_publish
    }

    /// The metadata of the nest's room on LiveKit.
    pub async fn metadata(&self, nest: &OpenNest) -> serde_json::Value {
        let room = self.nest_record(nest).await.room_name;
        serde_json::from_str(&self.server().room(&room).unwrap().metadata).unwrap()
    }

    pub async fn count_nests(&self) -> i64 {
        sqlx::query_scalar!(r#"select count(*) as "n!" from nests"#).fetch_one(&self.pool).await.unwrap()
    }

    pub async fn nest_is_open(&self, nest: &OpenNest) -> bool {
        sqlx::query_scalar!(r#"select status = 'open' as "open!" from nests where id = $1"#, nest.id)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Checks the nest's room.
    pub async fn check_nest(&self, rooms: &Service, nest: &OpenNest) {
        let record = self.nest_record(nest).await;
        rooms.reconcile(&[record.id]).await.unwrap();
    }
}
