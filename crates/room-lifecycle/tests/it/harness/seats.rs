//! Live rooms and their seats.

use chassis::status::Reason;
use domain::{LiveRoomId, LiveSessionId, LiveStatus, LobbyStatus, Owner, SeatRole};
use proto::types::v1::Caller;
use room_lifecycle::{
    live::store::seats::Seat,
    rooms::store::{self, Record},
};
use testkit::seed::live::{self, LiveRoom};
use time::Duration;
use uuid::Uuid;

use super::{Service, World, reason};

/// A live room with an open session.
pub struct Open {
    pub room: LiveRoom,
    pub session: Uuid,
}

pub fn person(id: &str) -> Caller {
    Caller { user_id: id.to_owned(), name: format!("Name of {id}"), ..Caller::default() }
}

pub const VIEWER: Seat = Seat { role: SeatRole::Guest, lobby_status: LobbyStatus::Admitted };
pub const WAITING: Seat = Seat { role: SeatRole::Guest, lobby_status: LobbyStatus::Waiting };

/// A seat's row. Times are reduced to whether they are set.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each column")]
pub struct SeatRow {
    pub lobby_status: LobbyStatus,
    pub joined: bool,
    pub left: bool,
    pub disconnected: bool,
    pub held: bool,
    pub sid: Option<String>,
}

impl World {
    /// A session in this status in a new room, with this participant limit.
    pub async fn open(&self, status: LiveStatus, max_participants: i32) -> Open {
        let host = format!("host-{}", Uuid::new_v4().simple());
        let room = live::live_room(&self.pool, &host).await;
        let session = live::live_session(&self.pool, &room, status).await;
        self.alter(session, "max_participants", &max_participants.to_string()).await;
        Open { room, session }
    }

    /// A live session with its room on LiveKit.
    pub async fn live(&self, rooms: &Service, max_participants: i32) -> Open {
        let open = self.open(LiveStatus::Live, max_participants).await;
        rooms.ensure(Owner::LiveSession(LiveSessionId(open.session)), false).await.unwrap();
        open
    }

    /// Sets one column of a session.
    pub async fn alter(&self, session: Uuid, column: &str, value: &str) {
        self.execute(&format!("update live_room_sessions set {column} = {value} where id = '{session}'"))
            .await;
    }

    pub async fn live_record(&self, open: &Open) -> Record {
        store::find_record(&self.pool, open.session).await.unwrap().unwrap()
    }

    pub async fn enter(&self, open: &Open, who: &str) -> String {
        let record = self.live_record(open).await;
        self.join(&record.room_name, who).sid
    }

    pub async fn exit(&self, open: &Open, who: &str) {
        let record = self.live_record(open).await;
        self.server().leave(&record.room_name, who).unwrap();
    }

    /// Checks the room. The check must succeed.
    pub async fn check_live(&self, rooms: &Service, open: &Open) {
        let record = self.live_record(open).await;
        assert_eq!(rooms.reconcile(&[record.id]).await.unwrap(), [record.id], "checked: {record:?}");
    }

    /// Checks twice, far enough apart that participants who left LiveKit count as gone.
    pub async fn confirm_gone(&self, rooms: &Service, open: &Open) {
        self.check_live(rooms, open).await;
        self.advance(Duration::seconds(6));
        self.check_live(rooms, open).await;
    }

    pub async fn seat_row(&self, open: &Open, who: &str) -> SeatRow {
        sqlx::query_as!(
            SeatRow,
            r#"select lobby_status as "lobby_status: LobbyStatus", joined_at is not null as "joined!",
                      left_at is not null as "left!", disconnected_at is not null as "disconnected!",
                      held_until is not null as "held!", participant_sid as sid
               from live_room_attendance where session_id = $1 and user_id = $2"#,
            open.session,
            who
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// Current viewers, their peak, and whether the host is present.
    pub async fn numbers(&self, open: &Open) -> (i32, i32, bool) {
        let row = sqlx::query!(
            r#"select p.viewer_count as "viewers!", p.peak_viewers as "peak!", r.host_present,
                      s.host_present as session_says
               from live_stream_projection p join live_rooms r on r.id = p.id
               join live_room_sessions s on s.id = $2
               where p.id = $1"#,
            open.room.id,
            open.session
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        assert_eq!(row.host_present, row.session_says, "host_present of room and session");
        (row.viewers, row.peak, row.host_present)
    }

    /// Counts the taken seats without the host's.
    pub async fn seated(&self, open: &Open) -> i64 {
        sqlx::query_scalar!(
            r#"select count(*) as "n!" from live_room_attendance
               where session_id = $1 and left_at is null and lobby_status = 'admitted' and role <> 'host'"#,
            open.session
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }
}

pub async fn join(rooms: &Service, open: &Open, who: &str) -> Seat {
    let (seat, session) = rooms.live.join_live_room(&person(who), LiveRoomId(open.room.id)).await.unwrap();
    assert_eq!(session, LiveSessionId(open.session), "the session that {who} joined");
    seat
}

pub async fn refused(rooms: &Service, open: &Open, who: &str) -> Reason {
    reason(rooms.live.join_live_room(&person(who), LiveRoomId(open.room.id)).await)
}
