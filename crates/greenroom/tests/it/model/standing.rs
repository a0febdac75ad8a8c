//! How people stand with a host, as far as the answers tell: what he was told is done holds, until he takes it back or
//! the session it was said of is over. What nobody answered may have been done, or be done yet: of that nothing is
//! known until it is quiet.

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{
    acts::{Act, Heard, Move},
    deeds::Deed,
    stage::{Stage, Token},
};

/// So near to its end a ban may hold or not.
const MARGIN: Duration = Duration::seconds(20);
/// No token lives longer.
const TOKEN_TTL: Duration = Duration::hours(1);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ban {
    Unclear,
    #[default]
    No,
    Until(Option<OffsetDateTime>),
}

impl Ban {
    /// What is unclear stays so: an act that nobody answered may be done after one that somebody did.
    fn learn(&mut self, told: Self) {
        if *self != Self::Unclear {
            *self = told;
        }
    }
}

/// What holds in one session and in no other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InSession {
    Unclear,
    #[default]
    No,
    Of(String),
}

impl InSession {
    /// None: that is not known.
    fn holds_in(&self, session: &str) -> Option<bool> {
        match self {
            Self::Unclear => None,
            Self::No => Some(false),
            Self::Of(one) => Some(one == session),
        }
    }

    fn learn(&mut self, told: Self) {
        if *self != Self::Unclear {
            *self = told;
        }
    }
}

/// How one person stands in one room.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    pub ban: Ban,
    pub kicked: InSession,
    pub speaks: InSession,
}

/// What somebody at the door is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Welcome {
    Unclear,
    Yes,
    Banned,
    /// Out of this session, and welcome in any other.
    Kicked(String),
}

impl Standing {
    fn is_banned(&self, now: OffsetDateTime) -> Option<bool> {
        match self.ban {
            Ban::Unclear => None,
            Ban::No => Some(false),
            Ban::Until(None) => Some(true),
            Ban::Until(Some(until)) => ((until - now).abs() > MARGIN).then_some(until > now),
        }
    }

    pub fn welcome(&self, now: OffsetDateTime) -> Welcome {
        match (self.is_banned(now), &self.kicked) {
            (Some(true), _) => Welcome::Banned,
            (None, _) | (_, InSession::Unclear) => Welcome::Unclear,
            (Some(false), InSession::Of(session)) => Welcome::Kicked(session.clone()),
            (Some(false), InSession::No) => Welcome::Yes,
        }
    }

    /// What a deed makes of him that was done in this session.
    fn learn(&mut self, deed: Deed, session: InSession) {
        match deed {
            Deed::Kick => self.kicked.learn(session),
            Deed::Promote => self.speaks.learn(session),
            Deed::Demote => self.speaks.learn(InSession::No),
            Deed::Ban { until } => self.ban.learn(Ban::Until(until)),
            Deed::Unban => {
                self.ban.learn(Ban::No);
                self.kicked.learn(InSession::No);
            }
            Deed::Mute => {}
        }
    }

    /// A deed may have been done, or may not, or may be yet.
    fn doubt(&mut self, deed: Deed) {
        match deed {
            Deed::Kick => self.kicked = InSession::Unclear,
            Deed::Promote | Deed::Demote => self.speaks = InSession::Unclear,
            Deed::Ban { .. } => self.ban = Ban::Unclear,
            Deed::Unban => (self.ban, self.kicked) = (Ban::Unclear, InSession::Unclear),
            Deed::Mute => {}
        }
    }
}

/// How the database says that somebody stands.
struct Written {
    room: Uuid,
    session: Option<Uuid>,
    who: String,
    banned: bool,
    until: Option<OffsetDateTime>,
    kicked: bool,
    speaks: bool,
}

impl Written {
    /// What was answered, and is not so.
    fn belies(&self, told: &Standing, now: OffsetDateTime) -> Option<String> {
        let lasts = self.banned && self.until.is_none_or(|until| until > now);
        let in_session = |told: &InSession, written: bool| {
            let session = self.session.map(|session| session.to_string());
            session.is_some_and(|session| told.holds_in(&session).is_some_and(|told| told != written))
        };
        let wrong = told.is_banned(now).is_some_and(|told| told != lasts)
            || in_session(&told.kicked, self.kicked)
            || in_session(&told.speaks, self.speaks);
        wrong.then(|| format!("{told:?} was told, and {:?} {lasts} is written", self.standing()))
    }

    fn standing(&self) -> Standing {
        let session = self.session.map(|session| session.to_string());
        let in_session = |is_so: bool| match &session {
            Some(session) if is_so => InSession::Of(session.clone()),
            _ => InSession::No,
        };
        Standing {
            ban: if self.banned { Ban::Until(self.until) } else { Ban::No },
            kicked: in_session(self.kicked),
            speaks: in_session(self.speaks),
        }
    }
}

impl Stage {
    /// How whoever comes stands, or is moderated.
    pub fn welcome(&self, asked: &Move, contested: bool) -> Welcome {
        let standing = &self.rooms[asked.room].standing[asked.act.whom().unwrap_or(asked.who)];
        if contested { Welcome::Unclear } else { standing.welcome(self.now()) }
    }

    /// None: whoever asked heard nothing that is certain, or somebody else decided the same meanwhile.
    pub fn learn_standing(&mut self, asked: &Move, heard: Option<&Heard>) {
        let Act::Moderate(deed, whom) = asked.act else { return };
        let room = self.rooms[asked.room].id;
        let standing = &mut self.rooms[asked.room].standing[whom];
        match heard {
            None => standing.doubt(deed),
            Some(heard) if heard.status == 200 => standing.learn(deed, open_session(heard, room)),
            Some(_) => {} // refused
        }
    }

    /// What is written must be what was answered; and it is what is known from now on. Whoever is not welcome gets no
    /// token.
    pub async fn recall_standing(&mut self) {
        let (now, seed) = (self.now(), self.seed());
        for written in self.list_written().await {
            let room = self.rooms.iter().position(|room| room.id == written.room).unwrap();
            let who = self.people.iter().position(|one| *one == written.who).unwrap();
            let told = &self.rooms[room].standing[who];
            let belied = written.belies(told, now);
            assert_eq!(
                belied, None,
                "MODEL_SEED={seed}: p{who} in room {room}, session {:?}",
                written.session
            );
            self.rooms[room].standing[who] = written.standing();
            match self.rooms[room].standing[who].welcome(now) {
                Welcome::Banned => self.stays_out(room, who, "BANNED").await,
                Welcome::Kicked(_) => self.stays_out(room, who, "KICKED").await,
                Welcome::Yes | Welcome::Unclear => {}
            }
        }
    }

    async fn stays_out(&self, room: usize, who: usize, why: &'static str) {
        let path = format!("/api/v1/live/rooms/{}/access-token", self.rooms[room].id);
        let (status, told) = testkit::eventually("a token, or none", || async {
            let (status, told) = self.replica(who % 2).get(&self.people[who], &path).await;
            if status == 503 { Err((status, told)) } else { Ok((status.as_u16(), told)) }
        })
        .await;
        let refused = matches!((status, told["error"].as_str()), (409, Some("ROOM_NOT_ACTIVE")))
            || (status == 403 && told["error"] == why);
        assert!(refused, "MODEL_SEED={}: p{who} in room {room} is {why}: {status} {told}", self.seed());
    }

    /// Whoever is not welcome comes back with each token that he has left.
    pub fn unwelcome_return(&mut self) {
        let now = self.now();
        let held: Vec<Token> = self.tokens.iter().filter(|held| held.lives(now)).cloned().collect();
        for held in held {
            let who = self.people.iter().position(|one| *one == held.identity).unwrap();
            let unwelcome = self.rooms[held.room].standing[who].welcome(now) != Welcome::Yes;
            if unwelcome && self.livekit.room(&held.room_name).is_some() {
                self.enter(&held);
            }
        }
    }

    async fn list_written(&self) -> Vec<Written> {
        let rooms: Vec<Uuid> = self.rooms.iter().map(|room| room.id).collect();
        sqlx::query_as!(
            Written,
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
            &self.people
        )
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }
}

impl Token {
    /// LiveKit takes it, and would on any clock.
    pub fn lives(&self, now: OffsetDateTime) -> bool {
        now < self.given + TOKEN_TTL
    }
}

/// The session that an answer was about, if that is certain: hands may have written another one into the room.
fn open_session(heard: &Heard, room: Uuid) -> InSession {
    let session = &heard.body["session"];
    let is_open = matches!(session["status"].as_str(), Some("lobby" | "live"));
    match session["id"].as_str() {
        Some(id) if is_open && session["room_id"] == room.to_string() => InSession::Of(id.to_owned()),
        _ => InSession::Unclear,
    }
}
