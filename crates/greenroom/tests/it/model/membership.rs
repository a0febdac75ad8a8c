//! What the model knows about users in a room: their bans, kicks and speaker roles, learned from answers to the host.
//!
//! A moderation that was answered with 200 holds until the host reverts it or its session ends. A request without an
//! answer may have been executed, or may be executed later: its effect is unclear until the faults end.

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{
    acts::{Act, Answer, Move},
    moderation::Moderation,
    stage::{Stage, Token},
};

/// So close to its end a ban may hold or not.
const MARGIN: Duration = Duration::seconds(20);
/// No token is valid for longer.
const TOKEN_TTL: Duration = Duration::hours(1);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ban {
    Unclear,
    #[default]
    No,
    Until(Option<OffsetDateTime>),
}

impl Ban {
    /// An unclear state stays unclear: a request without an answer may be executed after a later one.
    fn learn(&mut self, learned: Self) {
        if *self != Self::Unclear {
            *self = learned;
        }
    }
}

/// A state that applies to one session only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InSession {
    Unclear,
    #[default]
    No,
    Of(String),
}

impl InSession {
    /// Whether it applies to this session. None if that is not known.
    fn holds_in(&self, session: &str) -> Option<bool> {
        match self {
            Self::Unclear => None,
            Self::No => Some(false),
            Self::Of(one) => Some(one == session),
        }
    }

    fn learn(&mut self, learned: Self) {
        if *self != Self::Unclear {
            *self = learned;
        }
    }
}

/// The state of one user in one room.
#[derive(Clone, Debug, Default)]
pub struct Membership {
    pub ban: Ban,
    pub kicked: InSession,
    pub speaks: InSession,
}

/// Whether a user may join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    Unclear,
    Allowed,
    Banned,
    /// Kicked from this session, and allowed in any other.
    Kicked(String),
}

impl Membership {
    fn is_banned(&self, now: OffsetDateTime) -> Option<bool> {
        match self.ban {
            Ban::Unclear => None,
            Ban::No => Some(false),
            Ban::Until(None) => Some(true),
            Ban::Until(Some(until)) => ((until - now).abs() > MARGIN).then_some(until > now),
        }
    }

    pub fn admission(&self, now: OffsetDateTime) -> Admission {
        match (self.is_banned(now), &self.kicked) {
            (Some(true), _) => Admission::Banned,
            (None, _) | (_, InSession::Unclear) => Admission::Unclear,
            (Some(false), InSession::Of(session)) => Admission::Kicked(session.clone()),
            (Some(false), InSession::No) => Admission::Allowed,
        }
    }

    /// Applies a moderation that was executed in this session.
    fn learn(&mut self, moderation: Moderation, session: InSession) {
        match moderation {
            Moderation::Kick => self.kicked.learn(session),
            Moderation::Promote => self.speaks.learn(session),
            Moderation::Demote => self.speaks.learn(InSession::No),
            Moderation::Ban { until } => self.ban.learn(Ban::Until(until)),
            Moderation::Unban => {
                self.ban.learn(Ban::No);
                self.kicked.learn(InSession::No);
            }
            Moderation::Mute => {}
        }
    }

    /// Marks the effects of a moderation as unclear.
    fn doubt(&mut self, moderation: Moderation) {
        match moderation {
            Moderation::Kick => self.kicked = InSession::Unclear,
            Moderation::Promote | Moderation::Demote => self.speaks = InSession::Unclear,
            Moderation::Ban { .. } => self.ban = Ban::Unclear,
            Moderation::Unban => (self.ban, self.kicked) = (Ban::Unclear, InSession::Unclear),
            Moderation::Mute => {}
        }
    }
}

/// The state of a user in a room, as the database has it.
struct Stored {
    room: Uuid,
    session: Option<Uuid>,
    who: String,
    banned: bool,
    until: Option<OffsetDateTime>,
    kicked: bool,
    speaks: bool,
}

impl Stored {
    /// Describes where the database differs from the learned state, if it does.
    fn contradicts(&self, learned: &Membership, now: OffsetDateTime) -> Option<String> {
        let lasts = self.banned && self.until.is_none_or(|until| until > now);
        let differs = |learned: &InSession, stored: bool| {
            let session = self.session.map(|session| session.to_string());
            session.is_some_and(|session| learned.holds_in(&session).is_some_and(|holds| holds != stored))
        };
        let wrong = learned.is_banned(now).is_some_and(|banned| banned != lasts)
            || differs(&learned.kicked, self.kicked)
            || differs(&learned.speaks, self.speaks);
        wrong.then(|| format!("{learned:?} was learned, and {:?} {lasts} is stored", self.membership()))
    }

    fn membership(&self) -> Membership {
        let session = self.session.map(|session| session.to_string());
        let in_session = |is_so: bool| match &session {
            Some(session) if is_so => InSession::Of(session.clone()),
            _ => InSession::No,
        };
        Membership {
            ban: if self.banned { Ban::Until(self.until) } else { Ban::No },
            kicked: in_session(self.kicked),
            speaks: in_session(self.speaks),
        }
    }
}

impl Stage {
    /// Whether the caller may join, or for a moderation the moderated user.
    pub fn admission(&self, asked: &Move, contested: bool) -> Admission {
        let membership = &self.rooms[asked.room].membership[asked.act.target().unwrap_or(asked.who)];
        if contested { Admission::Unclear } else { membership.admission(self.now()) }
    }

    /// Learns from the answer to a moderation. None if there was no certain answer, or if another move decided the
    /// same.
    pub fn learn_membership(&mut self, asked: &Move, answer: Option<&Answer>) {
        let Act::Moderate(moderation, target) = asked.act else { return };
        let room = self.rooms[asked.room].id;
        let membership = &mut self.rooms[asked.room].membership[target];
        match answer {
            None => membership.doubt(moderation),
            Some(answer) if answer.status == 200 => membership.learn(moderation, open_session(answer, room)),
            Some(_) => {} // refused
        }
    }

    /// Checks that the database matches the learned states, and takes its states over. Users who may not join must get
    /// no token.
    pub async fn check_memberships(&mut self) {
        let (now, seed) = (self.now(), self.seed());
        for stored in self.list_stored().await {
            let room = self.rooms.iter().position(|room| room.id == stored.room).unwrap();
            let who = self.users.iter().position(|one| *one == stored.who).unwrap();
            let learned = &self.rooms[room].membership[who];
            let contradiction = stored.contradicts(learned, now);
            assert_eq!(
                contradiction, None,
                "MODEL_SEED={seed}: p{who} in room {room}, session {:?}",
                stored.session
            );
            self.rooms[room].membership[who] = stored.membership();
            match self.rooms[room].membership[who].admission(now) {
                Admission::Banned => self.gets_no_token(room, who, "BANNED").await,
                Admission::Kicked(_) => self.gets_no_token(room, who, "KICKED").await,
                Admission::Allowed | Admission::Unclear => {}
            }
        }
    }

    async fn gets_no_token(&self, room: usize, who: usize, why: &'static str) {
        let path = format!("/api/v1/live/rooms/{}/access-token", self.rooms[room].id);
        let (status, body) = testkit::eventually("an answer other than 503", || async {
            let (status, body) = self.replica(who % 2).get(&self.users[who], &path).await;
            if status == 503 { Err((status, body)) } else { Ok((status.as_u16(), body)) }
        })
        .await;
        let refused = matches!((status, body["error"].as_str()), (409, Some("ROOM_NOT_ACTIVE")))
            || (status == 403 && body["error"] == why);
        assert!(refused, "MODEL_SEED={}: p{who} in room {room} is {why}: {status} {body}", self.seed());
    }

    /// Users who may not join, or perhaps may not, join LiveKit again with each token that they still have.
    pub fn excluded_users_return(&mut self) {
        let now = self.now();
        let held: Vec<Token> = self.tokens.iter().filter(|held| held.lives(now)).cloned().collect();
        for held in held {
            let who = self.users.iter().position(|one| *one == held.identity).unwrap();
            let excluded = self.rooms[held.room].membership[who].admission(now) != Admission::Allowed;
            if excluded && self.livekit.room(&held.room_name).is_some() {
                self.enter(&held);
            }
        }
    }

    async fn list_stored(&self) -> Vec<Stored> {
        let rooms: Vec<Uuid> = self.rooms.iter().map(|room| room.id).collect();
        sqlx::query_as!(
            Stored,
            r#"select r.id as "room!", s.id as "session?", u.id as "who!", b.user_id is not null as "banned!",
                      b.until as "until?", coalesce(p.status = 'kicked', false) as "kicked!",
                      coalesce(a.role = 'speaker', false) as "speaks!"
               from live_rooms r
               cross join unnest($2::text[]) as u(id)
               left join live_room_sessions s on s.room_id = r.id and s.status in ('scheduled', 'lobby', 'live')
               left join live_room_bans b on b.live_room_id = r.id and b.user_id = u.id
               left join livekit_rooms k on k.live_session_id = s.id
               left join livekit_participants p on p.room_id = k.id and p.user_id = u.id
               left join live_room_attendance a on a.session_id = s.id and a.user_id = u.id
               where r.id = any($1)"#,
            &rooms,
            &self.users
        )
        .fetch_all(self.pool())
        .await
        .unwrap()
    }
}

impl Token {
    /// Whether LiveKit still accepts the token, also by the clock of the database.
    pub fn lives(&self, now: OffsetDateTime) -> bool {
        now < self.given + TOKEN_TTL
    }
}

/// The session of an answer, if that is certain: a manual edit may have written another session into the room.
fn open_session(answer: &Answer, room: Uuid) -> InSession {
    let session = &answer.body["session"];
    let is_open = matches!(session["status"].as_str(), Some("lobby" | "live"));
    match session["id"].as_str() {
        Some(id) if is_open && session["room_id"] == room.to_string() => InSession::Of(id.to_owned()),
        _ => InSession::Unclear,
    }
}
