//! Faults of LiveKit, its webhooks, the replicas and their database, and manual edits of the database. A fault lasts
//! until a later one reverts it or the phase ends.

use std::time::Duration;

use livekit_dev::{ANY_METHOD, ClientFault, Code, Fault, Order, Redis, Stop, Switches, WebhookFault};

use super::{dice::Dice, expect::On, stage::Stage};

const METHODS: [&str; 7] = [
    "CreateRoom",
    "DeleteRoom",
    "ListRooms",
    "ListParticipants",
    "RemoveParticipant",
    "UpdateParticipant",
    ANY_METHOD,
];

/// Manual edits. `$1` is a live room.
const EDITS: [&str; 18] = [
    "update live_rooms set status = 'live' where id = $1",
    "update live_rooms set status = 'lobby' where id = $1",
    "update live_rooms set status = 'scheduled' where id = $1",
    "update live_rooms set status = 'idle', current_session_id = null where id = $1",
    "update live_rooms set current_session_id = null where id = $1",
    "update live_rooms set host_present = not host_present where id = $1",
    "update live_rooms set current_session_id = (select id from live_room_sessions where room_id <> $1 limit 1)
     where id = $1",
    "update live_rooms set current_session_id = (select id from live_room_sessions where room_id = $1
                                                 and status in ('ended', 'cancelled') limit 1) where id = $1",
    // Only half of the columns, as a legacy writer sets them.
    "update live_room_sessions set ended_at = app_now() where room_id = $1 and status in ('lobby', 'live')",
    "update live_room_sessions set status = 'ended' where room_id = $1 and status in ('scheduled', 'lobby', 'live')",
    "insert into live_room_sessions (room_id, status, created_by) select id, 'live', host_user_id from live_rooms
     where id = $1 on conflict do nothing",
    // An end that is reverted, in half of the columns.
    "update live_room_sessions s set status = 'live'
     where s.id = (select id from live_room_sessions where room_id = $1 order by created_at desc limit 1)
       and not exists (select from live_room_sessions o
                       where o.room_id = $1 and o.status in ('scheduled', 'lobby', 'live'))",
    "update live_room_attendance set left_at = null where live_room_id = $1",
    "update live_room_attendance set joined_at = app_now(), participant_sid = 'PA_unknown' where live_room_id = $1",
    "update community_live_streams set status = 'live', viewer_count = 77, ended_at = null where id = $1",
    "update community_live_streams set title = 'nonsense', version = version + 1000, managed = false where id = $1",
    "delete from community_live_streams where id = $1",
    // This one leaves no mark: sync's comparison finds it.
    "with quiet as materialized (select set_config('greenroom.sync', 'on', true))
     update community_live_streams set status = 'pending', peak_viewers = 9 from quiet where id = $1",
];

impl Stage {
    pub async fn inject_fault(&mut self, dice: &mut Dice) {
        // Until the next recovery a request may fail, and its failure is no violation.
        self.has_faults = true;
        match dice.roll(22) {
            0..=4 => self.break_livekit(dice),
            5 => self.restart_livekit(dice),
            6..=8 => self.lose_webhooks(dice),
            9 => {
                let at = dice.roll(2);
                self.say(format!("replica {at} is killed"));
                self.kill(at).await;
            }
            10 => {
                let at = dice.roll(2);
                self.say(format!("replica {at} loses its database"));
                self.wires[at].cut();
                // Connections stay broken in the pools for a while, also after the wire is whole again.
                self.was_cut();
            }
            11 | 18 | 19 => {
                self.say("all faults end".to_owned());
                self.make_livekit_answer();
                self.wires.iter().for_each(testkit::Wire::join);
                self.was_cut();
            }
            12 => self.lose_listeners().await,
            13 => self.jump_ahead(dice).await,
            14 => {
                self.say("LiveKit's empty rooms expire".to_owned());
                self.livekit.advance_clock(Duration::from_hours(dice.pick(&[1, 30])));
            }
            20 | 21 => self.break_clients(dice),
            _ => self.edit(dice).await,
        }
    }

    /// Restarts LiveKit in one of several ways. Without Redis, an outage equals a crash, and a flush has no effect.
    fn restart_livekit(&mut self, dice: &mut Dice) {
        let roll = dice.roll(6);
        self.say(format!("LiveKit: {}", ["crash", "crash", "outage", "stop", "flush", "Redis hangs"][roll]));
        match roll {
            0 | 1 => self.livekit.restart(),
            2 => self.livekit.restart_after(Stop::Outage),
            3 => self.livekit.restart_after(Stop::Graceful { webhooks: dice.roll(3) }),
            4 => self.livekit.flush(),
            _ => self.livekit.set_switches(Switches { redis: Redis::Hangs, ..self.livekit.switches() }),
        }
    }

    fn break_livekit(&mut self, dice: &mut Dice) {
        let names: Vec<String> = self.livekit.rooms().into_iter().map(|room| room.name).collect();
        let identity = dice.pick(&self.users);
        let fault = match dice.roll(9) {
            0 => Fault::Refuse { code: Code::Internal },
            1 => Fault::Refuse { code: Code::Unavailable },
            2 => Fault::Hang,
            3 => Fault::HangAfterEffect,
            4 => Fault::FailAfterEffect,
            5 => Fault::BadGateway,
            6 => Fault::EmptyList,
            7 => dice.pick_any(&names).map_or(Fault::EmptyList, Fault::OmitRoom),
            _ => Fault::OmitParticipant(identity),
        };
        let (method, calls) = (dice.pick(&METHODS), dice.pick(&[1, 2, 5, 20]));
        self.say(format!("LiveKit, {calls} calls of {method}: {fault:?}"));
        self.livekit.faults().set_next(method, calls, fault);
    }

    /// Injects a fault into all clients with media. Simulated participants ignore it.
    fn break_clients(&mut self, dice: &mut Dice) {
        let faults = [
            ClientFault::CutSocket,
            ClientFault::SilenceSocket,
            ClientFault::DropMedia,
            ClientFault::RefuseResume,
        ];
        let (fault, mut affected) = (dice.pick(&faults), 0);
        for room in self.livekit.rooms() {
            for one in self.livekit.connected(&room.name) {
                self.livekit.inject_client_fault(&room.name, &one.identity, fault);
                affected += 1;
            }
        }
        self.say(format!("clients among {affected} participants: {fault:?}"));
    }

    fn lose_webhooks(&mut self, dice: &mut Dice) {
        let what = dice.roll(7);
        self.say(format!("webhooks: {what}"));
        match what {
            0 => self.livekit.inject_webhook_fault(WebhookFault::Drop),
            1 => self.livekit.inject_webhook_fault(WebhookFault::Duplicate),
            2 => self.livekit.inject_webhook_fault(WebhookFault::Swap),
            3 => self.livekit.hold_webhooks(),
            4 => self.livekit.release_webhooks(dice.pick(&[Order::Reversed, Order::Shuffled])),
            5 => self.livekit.set_switches(Switches {
                late_duplicate_close: dice.one_in(2),
                stale_recreate: dice.one_in(2),
                ..Switches::default()
            }),
            _ => self.livekit.clear_mishaps(),
        }
    }

    /// Ends all connections that listen: notifications are lost until they listen again.
    async fn lose_listeners(&mut self) {
        self.say("every NOTIFY is lost".to_owned());
        // By its last statement: the connections that listen have no other mark.
        sqlx::query!(
            r#"select count(pg_terminate_backend(pid)) as "cut!" from pg_stat_activity
               where datname = current_database() and pid <> pg_backend_pid() and query ilike 'listen %'"#
        )
        .fetch_one(self.pool())
        .await
        .unwrap();
        self.was_cut();
    }

    async fn jump_ahead(&mut self, dice: &mut Dice) {
        let by = time::Duration::seconds(dice.pick(&[20, 130, 400, 1_000, 8_000]));
        self.say(format!("the database's clock jumps by {by}"));
        self.jump(by).await;
        // Sessions may have ended by the jump, so their state is read again later.
        self.rooms.iter_mut().for_each(|room| room.on = On::Unknown);
    }

    #[expect(clippy::disallowed_methods, reason = "manual edits are not checked queries")]
    async fn edit(&mut self, dice: &mut Dice) {
        let (statement, room) = (dice.pick(&EDITS), dice.roll(self.rooms.len()));
        let words: Vec<&str> = statement.split_whitespace().collect();
        self.say(format!("manual edit, room {room}: {}", words.join(" ")));
        // Retried: the edit may lose a deadlock against a pass.
        chassis::db::retry_on_contention(|| {
            sqlx::query(statement).bind(self.rooms[room].id).execute(self.pool())
        })
        .await
        .unwrap();
        self.rooms[room].on = On::Unknown;
    }
}
