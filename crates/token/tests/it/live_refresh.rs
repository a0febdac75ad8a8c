//! Every token is a new decision: users who were removed, left or lost their seat get no second token.

use chassis::status::Reason;
use sqlx::{PgPool, postgres::PgConnectOptions};

use crate::{
    live_issuing::on_air,
    world::{FakeRoom, SlowClock, run, world},
};

const KICK: &str = "insert into livekit_participants (room_id, user_id, role, status, kicked_at)
                    select id, 'gus', 'viewer', 'kicked', app_now() from livekit_rooms";
const BAN: &str = "insert into live_room_bans (live_room_id, user_id, banned_by)
                   select id, 'gus', 'hanna' from live_rooms";
const REJECT: &str = "update live_room_attendance set lobby_status = 'rejected' where user_id = 'gus'";
const LEAVE: &str = "update live_room_attendance set left_at = app_now() where user_id = 'gus'";
const WAIT: &str = "update live_room_attendance set lobby_status = 'waiting' where user_id = 'gus'";
const END: &str = "update live_room_sessions set status = 'ended', ended_at = app_now()";

async fn refused_after(pool: &PgPool, connect: &PgConnectOptions, change: &'static str, reason: Reason) {
    let (room, _, _) = on_air(pool).await;
    let world = world(connect, &FakeRoom::silent()).await;
    world.enter("gus", &room).await.unwrap();
    run(pool, change).await;
    assert_eq!(world.enter("gus", &room).await.unwrap_err().reason, reason, "{change}");
    assert_eq!(world.enter_now("gus", &room).await.unwrap_err().reason, reason, "{change}");
    if reason != Reason::RoomNotActive {
        world.enter("sam", &room).await.unwrap(); // other users are not affected
    }
}

macro_rules! refused_after {
    ($($test:ident: $change:ident, $reason:ident;)+) => {$(
        #[testkit::test]
        async fn $test(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
            refused_after(&pool, &connect, $change, Reason::$reason).await;
        }
    )+};
}

refused_after! {
    kicked_guest_gets_no_second_token: KICK, Kicked;
    banned_guest_gets_no_second_token: BAN, Banned;
    rejected_guest_gets_no_second_token: REJECT, Rejected;
    guest_gets_no_second_token_after_leaving: LEAVE, NotParticipant;
    guest_waits_when_sent_back_to_the_lobby: WAIT, WaitingInLobby;
    guest_gets_no_second_token_after_the_session: END, RoomNotActive;
}

#[testkit::test]
async fn expired_ban_and_ban_from_another_room_do_not_refuse(
    SlowClock(pool): SlowClock,
    connect: PgConnectOptions,
) {
    let (room, _, _) = on_air(&pool).await;
    let world = world(&connect, &FakeRoom::silent()).await;
    testkit::seed::live::live_room(&pool, "ida").await;
    run(
        &pool,
        "insert into live_room_bans (live_room_id, user_id, banned_by, until)
         select id, 'gus', host_user_id,
                case host_user_id when 'hanna' then app_now() + interval '1 h' end from live_rooms",
    )
    .await;
    assert_eq!(world.enter("gus", &room).await.unwrap_err().reason, Reason::Banned);
    run(&pool, "update live_room_bans set until = app_now() where until is not null").await;
    world.enter("gus", &room).await.unwrap();
}
