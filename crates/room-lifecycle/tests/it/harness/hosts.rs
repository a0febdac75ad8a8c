//! Hosts, their live rooms, and the invariants of live rooms.

use chassis::status::Refusal;
use domain::{LiveRoomId, LiveStatus};
use proto::{
    room::v1::{GoLiveRequest, GoLiveResponse, live_room_service_server::LiveRoomService},
    types::v1::Caller,
};
use room_lifecycle::live::{session_decision::Verb, store::Live};
use testkit::seed::live::{LiveRoom, live_room, live_session};
use tonic::Request;
use uuid::Uuid;

use super::{Service, World};

/// A user with a live room.
#[derive(Clone, Debug)]
pub struct Host {
    pub caller: Caller,
    pub room: LiveRoom,
}

impl Host {
    pub fn request(&self) -> GoLiveRequest {
        GoLiveRequest {
            caller: Some(self.caller.clone()),
            room_id: self.room.id.to_string(),
            ..GoLiveRequest::default()
        }
    }

    /// Goes live now, through the gRPC service.
    pub async fn go_live(&self, rooms: &Service) -> Result<GoLiveResponse, Refusal> {
        go_live(rooms, self.request()).await
    }

    pub async fn change(&self, rooms: &Service, verb: Verb) -> Result<Live, Refusal> {
        Ok(rooms.live.change_session(&self.caller, LiveRoomId(self.room.id), verb).await?)
    }
}

pub async fn go_live(rooms: &Service, request: GoLiveRequest) -> Result<GoLiveResponse, Refusal> {
    match LiveRoomService::go_live(&rooms.live, Request::new(request)).await {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) => Err(Refusal::from_status(&status)),
    }
}

pub fn person(id: &str) -> Caller {
    Caller { user_id: id.to_owned(), ..Caller::default() }
}

pub fn admin() -> Caller {
    Caller { is_admin: true, ..person("an-admin") }
}

impl World {
    pub async fn host(&self) -> Host {
        let id = format!("host-{}", Uuid::new_v4().simple());
        let room = live_room(&self.pool, &id).await;
        Host { caller: Caller { name: "Hanna Host".to_owned(), ..person(&id) }, room }
    }

    /// A host with a session in this status. The session has no room on LiveKit.
    pub async fn host_with(&self, status: LiveStatus) -> (Host, Uuid) {
        let host = self.host().await;
        let session = live_session(&self.pool, &host.room, status).await;
        (host, session)
    }

    /// Sets a session's planned start and end.
    pub async fn set_plan(&self, session: Uuid, starts_in_minutes: i32, ends_in_minutes: Option<i32>) {
        sqlx::query!(
            "update live_room_sessions
             set starts_at = app_now() + make_interval(mins => $2),
                 ends_at = app_now() + make_interval(mins => $3)
             where id = $1",
            session,
            starts_in_minutes,
            ends_in_minutes
        )
        .execute(&self.pool)
        .await
        .unwrap();
    }

    pub async fn live_status(&self, session: Uuid) -> String {
        sqlx::query_scalar!("select status from live_room_sessions where id = $1", session)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub async fn sessions_of(&self, room: Uuid) -> i64 {
        sqlx::query_scalar!(r#"select count(*) as "n!" from live_room_sessions where room_id = $1"#, room)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Counts stuck rooms as operators do.
    pub async fn stuck(&self) -> i64 {
        sqlx::query_scalar!(
            r#"select count(*) as "n!" from live_rooms
               where status in ('lobby', 'scheduled', 'live')
                 and (current_session_id is null
                      or current_session_id in (select id from live_room_sessions
                                                where status in ('ended', 'cancelled')))"#
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// Asserts I3, I5 and I6, as far as the database shows them.
    pub async fn assert_live_rooms_whole(&self) {
        assert_eq!(self.stuck().await, 0, "stuck rooms");
        let unsettled = sqlx::query_scalar!(r#"select id as "id!" from unsettled_live_rooms"#);
        assert_eq!(unsettled.fetch_all(&self.pool).await.unwrap(), Vec::<Uuid>::new(), "unsettled (I3)");
        let twice = sqlx::query_scalar!(
            "select room_id from live_room_sessions where status in ('scheduled', 'lobby', 'live')
             group by room_id having count(*) > 1"
        );
        assert_eq!(twice.fetch_all(&self.pool).await.unwrap(), Vec::<Uuid>::new(), "two open sessions (I5)");
        let roomless = sqlx::query_scalar!(
            "select s.id from live_room_sessions s
             where s.status in ('lobby', 'live')
               and not exists (select from livekit_rooms r where r.live_session_id = s.id)"
        );
        assert_eq!(
            roomless.fetch_all(&self.pool).await.unwrap(),
            Vec::<Uuid>::new(),
            "sessions without a room"
        );
    }
}
