//! The moves of users. A step is one move, or several at once. The dice plan all moves first. Then they are performed,
//! and their answers are checked.

use std::{
    fmt,
    time::{Duration, Instant},
};

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    dice::Dice,
    expect::{On, Question},
    moderation::Moderation,
    stage::{ROOMS, Stage, Token},
};

/// How long a client waits for an answer: while faults are active, and without faults.
const FAULT_TIMEOUT: Duration = Duration::from_secs(2);
const CALM_TIMEOUT: Duration = Duration::from_secs(20);
/// A request that takes longer may have met a timeout inside the services.
const SLOW_REQUEST: Duration = Duration::from_millis(1_500);

#[derive(Clone, Debug)]
pub enum Act {
    Mine,
    GoLive {
        starts: Option<OffsetDateTime>,
        body: Value,
        key: Option<usize>,
    },
    Verb(&'static str),
    Seat(&'static str),
    Token {
        ensure: bool,
        /// The user joins LiveKit with the token.
        enters: bool,
    },
    Admit(usize),
    Reject(usize),
    AdmitAll,
    Moderate(Moderation, usize),
    Hand(bool),
    State,
    Streams,
    /// Joins LiveKit with a token that was issued before, perhaps in a second tab.
    Enter,
    Exit,
    Publish,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GoLive { body, key, .. } => write!(f, "GoLive {body} {key:?}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// An act of a user in a room, with the replica that gets the request.
#[derive(Clone, Debug)]
pub struct Move {
    pub who: usize,
    pub room: usize,
    pub replica: usize,
    pub act: Act,
}

/// An idempotency key, its request, and the session that it created.
#[derive(Clone, Debug)]
pub struct Key {
    pub text: String,
    pub body: Value,
    pub created: Option<String>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    /// The answer took long. On a busy machine even a call between services may time out, which is no failure.
    pub slow: bool,
}

impl Answer {
    pub fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }
}

/// The conditions under which a move was performed.
#[derive(Clone, Copy, Debug)]
struct Conditions {
    /// No fault is active.
    calm: bool,
    /// No other move of the step is in the room.
    alone: bool,
    /// Another move of the step decides the same.
    contested: bool,
}

impl Stage {
    /// Performs one move, or a few at once.
    pub async fn step(&mut self, dice: &mut Dice) {
        let together = if dice.one_in(5) { 2 + dice.roll(5) } else { 1 };
        let crowd = dice.one_in(2).then(|| dice.roll(ROOMS));
        let moves: Vec<Move> =
            (0..together).map(|_| self.plan(dice, crowd.filter(|_| together > 1))).collect();
        let calm = self.is_calm();
        let timeout = if calm { CALM_TIMEOUT } else { FAULT_TIMEOUT };
        let answers = join_all(moves.iter().map(|asked| self.perform(asked, timeout))).await;
        for (asked, answer) in moves.iter().zip(&answers) {
            let alone = moves.iter().filter(|other| other.room == asked.room).count() == 1;
            let contested = asked.is_contested(&moves);
            self.check_answer(asked, answer.as_ref(), Conditions { calm, alone, contested });
        }
    }

    fn plan(&mut self, dice: &mut Dice, room: Option<usize>) -> Move {
        let busy = self.busy();
        // Without participants, moves of moderation would have little effect.
        let what = dice.roll(if busy.is_empty() { 33 } else { 43 });
        let room = room.or_else(|| dice.pick_any(&busy).filter(|_| what >= 30));
        let room = room.unwrap_or_else(|| dice.roll(ROOMS));
        let anybody = dice.roll(self.users.len());
        let joiner = dice.pick_any(&self.excluded(room)).filter(|_| dice.one_in(4)).unwrap_or(anybody);
        let host = if dice.one_in(12) { anybody } else { room };
        let (who, act) = match what {
            0 => (anybody, Act::Mine),
            1..=5 => (host, self.plan_session(dice, room)),
            6..=7 => (host, Act::Verb("start")),
            8 => (host, Act::Verb("open-lobby")),
            9 => (host, Act::Verb(dice.pick(&["end", "end", "cancel", "reset"]))),
            10 => (host, Act::Verb(dice.pick(&["host-present", "host-absent"]))),
            11..=12 => (joiner, Act::Seat("join")),
            13 => (anybody, Act::Seat(dice.pick(&["leave", "disconnect"]))),
            14..=19 => (joiner, Act::Token { ensure: dice.one_in(3), enters: !dice.one_in(3) }),
            20 => (host, dice.pick(&[Act::Admit(anybody), Act::Reject(anybody)])),
            21 => (host, Act::AdmitAll),
            22 => (anybody, Act::State),
            23 => (anybody, Act::Streams),
            24..=27 => (anybody, Act::Enter),
            30..=38 => (host, self.plan_moderation(dice, room)),
            39 => (anybody, Act::Hand(!dice.one_in(3))),
            40..=41 => (anybody, Act::Publish),
            _ => (anybody, Act::Exit),
        };
        // `Mine` of another user would create a further room.
        let who = if matches!(act, Act::Mine) { who % ROOMS } else { who };
        Move { who, room, replica: dice.roll(2), act }
    }

    fn plan_session(&mut self, dice: &mut Dice, room: usize) -> Act {
        let now = self.now().replace_nanosecond(0).unwrap();
        let ahead = dice.pick(&[None, None, None, None, None, Some(10), Some(25), Some(180)]);
        let starts = match (&self.rooms[room].on, ahead) {
            (On::Open { starts, .. }, Some(_)) if dice.one_in(2) => Some(*starts),
            (_, ahead) => ahead.map(|minutes| now + time::Duration::minutes(minutes)),
        };
        let mut body = json!({
            "session_title": format!("Evening {}", dice.roll(1_000)),
            "auto_admit": !dice.one_in(3),
            "max_participants": dice.pick(&[1, 2, 3, 100]),
        });
        if let Some(starts) = starts {
            body["starts_at"] = starts.format(&Rfc3339).unwrap().into();
        }
        if !dice.one_in(3) {
            if dice.one_in(4) {
                // The service treats a start in the past as now.
                let starts = starts.map_or(now, |starts| starts.max(now));
                let ends = starts + time::Duration::minutes(dice.pick(&[5, 60, 600]));
                body["ends_at"] = ends.format(&Rfc3339).unwrap().into();
            }
            return Act::GoLive { starts, body, key: None };
        }
        let keys = &mut self.rooms[room].keys;
        if keys.is_empty() || dice.one_in(2) {
            let text = format!("key-{room}-{}", keys.len());
            keys.push(Key { text, body: body.clone(), created: None });
            return Act::GoLive { starts, body, key: Some(keys.len() - 1) };
        }
        let key = dice.roll(keys.len());
        let body = if dice.one_in(4) { body } else { keys[key].body.clone() };
        Act::GoLive { starts, body, key: Some(key) }
    }

    /// Sends the request of a move. Returns None without an answer: the client timed out, or the replica did not
    /// answer.
    async fn perform(&self, asked: &Move, timeout: Duration) -> Option<Answer> {
        let room = format!("/api/v1/live/rooms/{}", self.rooms[asked.room].id);
        let post = |verb: &str, body: Value| (Method::POST, format!("{room}/{verb}"), Some(body));
        let (method, path, body) = match &asked.act {
            Act::Mine => (Method::GET, "/api/v1/live/rooms/me".to_owned(), None),
            Act::GoLive { body, .. } => post("sessions", body.clone()),
            Act::Verb(verb) | Act::Seat(verb) => post(verb, json!({})),
            Act::Token { ensure, .. } => {
                let query = if *ensure { "?ensure=now" } else { "" };
                (Method::GET, format!("{room}/access-token{query}"), None)
            }
            Act::Admit(target) => post("admit", json!({"user_id": self.users[*target]})),
            Act::Reject(target) => post("reject", json!({"user_id": self.users[*target]})),
            Act::AdmitAll => post("admit-all", json!({})),
            Act::Moderate(moderation, target) => moderation.request(&room, &self.users[*target]),
            Act::Hand(raised) => post("hand", json!({"raised": raised})),
            Act::State => (Method::GET, format!("{room}/state"), None),
            Act::Streams => (Method::GET, "/api/v1/live/streams?limit=10".to_owned(), None),
            Act::Enter | Act::Exit | Act::Publish => return None,
        };
        let replica = self.replica(asked.replica);
        let mut request = self.http.request(method, format!("{}{path}", replica.url));
        request = request.bearer_auth(replica.token(&self.users[asked.who]));
        if let Act::GoLive { key: Some(key), .. } = asked.act {
            request = request.header("Idempotency-Key", &self.rooms[asked.room].keys[key].text);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let started = Instant::now();
        let answer = request.timeout(timeout).send().await.ok()?;
        let status = answer.status().as_u16();
        let body = answer.json().await.ok()?;
        Some(Answer { status, body, slow: started.elapsed() > SLOW_REQUEST })
    }

    fn check_answer(&mut self, asked: &Move, answer: Option<&Answer>, conditions: Conditions) {
        if matches!(asked.act, Act::Enter | Act::Exit | Act::Publish) {
            return self.on_livekit(asked);
        }
        let Conditions { calm, alone, contested } = conditions;
        let Move { who, room, replica, act } = asked;
        let outcome =
            answer.map_or("no answer".to_owned(), |answer| format!("{} {}", answer.status, answer.error()));
        let line = format!("p{who} room {room} replica {replica} {act} -> {outcome}");
        self.say(line.clone());
        let (seed, now) = (self.seed(), self.now());
        let Some(answer) = answer.filter(|answer| answer.status != 503 || (calm && !answer.slow)) else {
            assert!(!calm || answer.is_some(), "MODEL_SEED={seed}: no answer to {line}");
            if matches!(act, Act::GoLive { .. } | Act::Verb(_)) {
                self.rooms[*room].on = On::Unknown;
            }
            return self.learn_membership(asked, None);
        };
        let exact = calm && alone;
        let (on, keys) = (&self.rooms[*room].on, &self.rooms[*room].keys);
        let admission = self.admission(asked, contested);
        let question = Question { asked, is_host: who == room, on, keys, admission, exact, now };
        let objection = question.objection(answer);
        assert!(objection.is_none(), "MODEL_SEED={seed}: {line}; {objection:?}; {on:?}; {}", answer.body);
        if answer.status < 300 {
            self.learn(asked, answer, exact);
        }
        self.learn_membership(asked, Some(answer).filter(|_| !contested));
        if !alone && matches!(act, Act::GoLive { .. } | Act::Verb(_)) {
            self.rooms[*room].on = On::Unknown;
        }
    }

    fn learn(&mut self, asked: &Move, answer: &Answer, exact: bool) {
        let (seed, now) = (self.seed(), self.now());
        match &asked.act {
            Act::Token { enters, .. } => {
                let text = |field: &str| answer.body[field].as_str().unwrap().to_owned();
                let (room_name, identity) = (text("room_name"), text("identity"));
                assert_eq!(identity, self.users[asked.who], "MODEL_SEED={seed}: the token of another user");
                let (room, given) = (asked.room, now);
                let held = Token { room, room_name, identity, text: text("token"), given };
                if *enters {
                    self.enter(&held);
                }
                self.tokens.push(held);
            }
            Act::GoLive { key, body, .. } => {
                let room = &mut self.rooms[asked.room];
                let session = answer.body["session"]["id"].as_str().map(ToOwned::to_owned);
                if let (Some(key), 201) = (key, answer.status) {
                    let key = &mut room.keys[*key];
                    assert!(
                        key.created.is_none() || key.created == session,
                        "MODEL_SEED={seed}: two sessions of one key"
                    );
                    (key.created, key.body) = (session, body.clone());
                    room.on = On::Unknown; // the session of the key may have ended
                    return;
                }
                room.on = On::from_body(&answer.body, now);
                let ready = answer.body["session"]["livekit"] == "ready";
                let open = matches!(room.on, On::Open { status: super::expect::Status::Live, .. });
                assert!(
                    ready || !open || !exact || answer.slow,
                    "MODEL_SEED={seed}: live without LiveKit: {}",
                    answer.body
                );
            }
            Act::Verb(_) => self.rooms[asked.room].on = On::from_body(&answer.body, now),
            _ => {}
        }
    }

    /// A user joins LiveKit with a recent token, leaves it, or publishes.
    fn on_livekit(&mut self, asked: &Move) {
        if matches!(asked.act, Act::Publish) {
            return self.publish(asked);
        }
        let now = self.now();
        let recent = self.tokens.iter().rev();
        let recent = recent.filter(|held| held.lives(now) && self.livekit.room(&held.room_name).is_some());
        let recent: Vec<Token> = recent.take(8).cloned().collect();
        if recent.is_empty() {
            return;
        }
        let held = &recent[(asked.who + asked.room) % recent.len()];
        if matches!(asked.act, Act::Enter) {
            return self.enter(held);
        }
        let left = self.livekit.leave(&held.room_name, &held.identity).is_ok();
        self.say(format!("{} leaves {}: {left}", held.identity, held.room_name));
    }

    /// Joins LiveKit with a token. LiveKit may refuse: the room may have ended, or be full.
    pub fn enter(&mut self, held: &Token) {
        if self.open_tab(held) {
            return self.say(format!("{} enters {} with a client", held.identity, held.room_name));
        }
        let entered = self.livekit.join(&held.text).map(|one| one.sid).map_err(|error| error.to_string());
        self.say(format!("{} enters {}: {entered:?}", held.identity, held.room_name));
    }
}
