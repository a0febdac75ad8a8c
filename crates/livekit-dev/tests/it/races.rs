//! Races of leaves, resumes, joins and calls of the API. In any order: each session begins and ends once, two sessions of
//! one participant never overlap, and in the end the rooms, the webhooks and the clients agree.

use std::{collections::BTreeSet, sync::Arc};

use livekit_api::services::room::{CreateRoomOptions, UpdateParticipantOptions};
use livekit_dev::Fault;
use livekit_protocol::{
    DisconnectReason, LeaveRequest, ParticipantInfo, ParticipantPermission, WebhookEvent,
    leave_request::Action, participant_info::State, signal_request,
};
use rtc_client::{Client, Error, SignalPath, Track};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    clients::{PATHS, served_with, settled},
    support::{Served, eventually, eventually_none},
};

/// An action that concerns ann.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Leave,
    Resume,
    /// Another client with the same identity.
    Join,
    Remove,
    Delete,
    Update,
    /// Revokes the permission to publish.
    Demote,
}

const RACES: [(Move, Move); 14] = [
    (Move::Leave, Move::Resume),
    (Move::Resume, Move::Leave),
    (Move::Remove, Move::Resume),
    (Move::Delete, Move::Resume),
    (Move::Update, Move::Resume),
    (Move::Join, Move::Resume),
    (Move::Join, Move::Leave),
    (Move::Join, Move::Remove),
    (Move::Join, Move::Join),
    (Move::Remove, Move::Leave),
    (Move::Delete, Move::Leave),
    (Move::Update, Move::Leave),
    (Move::Demote, Move::Resume),
    (Move::Demote, Move::Leave),
];

/// Repetitions of each race on each path.
const ROUNDS: usize = 4;

/// Limit of concurrent rounds: more would only wait for each other.
const AT_A_TIME: usize = 4;

/// A room with bob, who never leaves, and ann, who publishes.
struct Round {
    served: Arc<Served>,
    path: SignalPath,
    room: String,
    bob: Client,
    ann: Client,
}

impl Round {
    /// Joins create no room here: a deleted room stays deleted.
    async fn begin(served: &Arc<Served>, path: SignalPath, room: String) -> Self {
        served.api().create_room(&room, CreateRoomOptions::default()).await.unwrap();
        let bob = Client::join(served.options(&room, "bob").over(path).without_media()).await.unwrap();
        let ann = served.client_over(path, &room, "ann").await;
        ann.publish(Track::microphone()).await.unwrap();
        Self { served: Arc::clone(served), path, room, bob, ann }
    }

    /// Performs the action. Returns the client of a join.
    async fn make(&self, step: Move) -> Option<Client> {
        let api = self.served.api();
        match step {
            Move::Leave => self.ann.request(signal_request::Message::Leave(LeaveRequest {
                reason: DisconnectReason::ClientInitiated.into(),
                ..LeaveRequest::default()
            })),
            Move::Resume => {
                self.ann.cut_socket();
                // It is refused when the session has ended.
                if let Err(error) = self.ann.resume().await {
                    assert_refused(&error);
                }
            }
            Move::Join => {
                let joined = Client::join(self.served.options(&self.room, "ann").over(self.path)).await;
                return Some(joined.unwrap());
            }
            // A participant that has left cannot be removed or updated.
            Move::Remove => drop(api.remove_participant(&self.room, "ann").await),
            Move::Delete => api.delete_room(&self.room).await.unwrap(),
            Move::Update => drop(api.update_participant(&self.room, "ann", update(true)).await),
            Move::Demote => drop(api.update_participant(&self.room, "ann", update(false)).await),
        }
        None
    }

    async fn agrees(&self, joined: &[Client]) {
        let clients: Vec<&Client> = joined.iter().chain([&self.ann]).collect();
        eventually_none(|| Some(format!("{}: {}", self.room, self.disagreement(&clients)?))).await;
        assert_well_formed(&self.room, &self.served.server.events());
    }

    fn disagreement(&self, clients: &[&Client]) -> Option<String> {
        let participants = self.served.server.connected(&self.room);
        let found = |identity: &str| participants.iter().find(|participant| participant.identity == identity);
        let there = found("ann");
        if there.is_some_and(|ann| !clients.iter().any(|client| client.sid() == ann.sid)) {
            return Some("a session has no client".to_owned());
        }
        for client in clients {
            let now = there.filter(|ann| ann.sid == client.sid());
            if now.is_some() == client.seen(|seen| seen.closed) {
                return Some(format!("a client is closed or open, and its session is {now:?}"));
            }
            let own = client.seen(|seen| seen.participant.clone());
            if now.is_some_and(|now| now.state() != State::Active || said(now) != said(&own)) {
                return Some(format!("a client knows {own:?}, and it is {now:?}"));
            }
        }
        let seen = self.bob.seen(|seen| if seen.closed { None } else { seen.others.get("ann").cloned() });
        if found("bob").is_some() == self.bob.seen(|seen| seen.closed) {
            return Some("bob".to_owned());
        }
        let seen_by_bob = seen.as_ref().map(|ann| (&ann.sid, ann.state(), said(ann), tracks(ann)));
        let is = there.map(|ann| (&ann.sid, ann.state(), said(ann), tracks(ann)));
        (seen_by_bob != is).then(|| format!("bob sees {seen_by_bob:?}, and it is {is:?}"))
    }
}

fn update(can_publish: bool) -> UpdateParticipantOptions {
    let permission =
        ParticipantPermission { can_subscribe: true, can_publish, ..ParticipantPermission::default() };
    UpdateParticipantOptions {
        metadata: "updated".to_owned(),
        permission: Some(permission),
        ..UpdateParticipantOptions::default()
    }
}

fn said(info: &ParticipantInfo) -> (&str, Option<&ParticipantPermission>) {
    (&info.metadata, info.permission.as_ref())
}

fn tracks(info: &ParticipantInfo) -> BTreeSet<&str> {
    info.tracks.iter().map(|track| track.sid.as_str()).collect()
}

fn assert_refused(error: &Error) {
    match error {
        Error::Left(leave) => {
            assert_eq!(
                (leave.reason(), leave.action()),
                (DisconnectReason::StateMismatch, Action::Reconnect)
            );
        }
        // The room was deleted, or the session ended before the first message.
        Error::Refused(refusal) => assert_eq!(refusal.status, 404, "{refusal:?}"),
        other => assert!(matches!(other, Error::Closed), "{other}"),
    }
}

/// Asserts that ann's sessions begin and end once, one after the other, and that the room is created once.
fn assert_well_formed(room: &str, events: &[WebhookEvent]) {
    let here = events.iter().filter(|event| event.room.as_ref().is_some_and(|info| info.name == room));
    let (mut open, mut begun, mut rooms) = (None, BTreeSet::new(), 0);
    for event in here {
        rooms += usize::from(event.event == "room_started");
        let Some(participant) = event.participant.as_ref().filter(|info| info.identity == "ann") else {
            continue;
        };
        let sid = participant.sid.clone();
        match event.event.as_str() {
            "participant_joined" => {
                assert_eq!(open, None, "{room}: {sid} begins before another one ends");
                assert!(begun.insert(sid.clone()), "{room}: {sid} begins twice");
                open = Some(sid);
            }
            "participant_left" => assert_eq!(open.take(), Some(sid), "{room}: another session ends"),
            "participant_connection_aborted" => {
                assert!(begun.insert(sid), "{room}: an active session was aborted");
            }
            other => assert_eq!(open, Some(sid), "{room}: {other}"),
        }
    }
    assert_eq!(rooms, 1, "{room}");
}

async fn served() -> Arc<Served> {
    Arc::new(served_with(|config| config.auto_create = false).await)
}

async fn play(served: Arc<Served>, path: SignalPath, (one, other): (Move, Move), round: usize) {
    let round = Round::begin(&served, path, format!("{path:?}-{one:?}-{other:?}-{round}")).await;
    let (first, second) = tokio::join!(round.make(one), round.make(other));
    let joined: Vec<Client> = first.into_iter().chain(second).collect();
    round.agrees(&joined).await;
    // Sessions that wait for a resume would continue to send to ports that later clients get.
    drop(served.api().delete_room(&round.room).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_begin_and_end_once_in_every_race() {
    let (served, permits) = (served().await, Arc::new(Semaphore::new(AT_A_TIME)));
    let mut rounds = JoinSet::new();
    for (path, round) in PATHS.into_iter().flat_map(|path| (0..ROUNDS).map(move |round| (path, round))) {
        for race in RACES {
            let (served, permits) = (Arc::clone(&served), Arc::clone(&permits));
            rounds.spawn(async move {
                let _permit = permits.acquire().await.unwrap();
                play(served, path, race, round).await;
            });
        }
    }
    while let Some(round) = rounds.join_next().await {
        round.unwrap();
    }
}

fn method(path: SignalPath) -> &'static str {
    match path {
        SignalPath::V1 => "rtc/v1",
        SignalPath::V0 => "rtc",
    }
}

/// Resumes, with the resume held by the server until the other action is done.
async fn resume_after(round: &Round, step: Move) -> Result<(), Error> {
    let (faults, method) = (round.served.server.faults(), method(round.path));
    round.ann.cut_socket();
    faults.set(method, Fault::Hang);
    let meanwhile = async {
        eventually("the resume waits", || faults.hanging() == 1).await;
        round.make(step).await;
        faults.clear();
    };
    tokio::join!(round.ann.resume(), meanwhile).0
}

#[tokio::test]
async fn late_resume_revives_no_session() {
    let served = served().await;
    for path in PATHS {
        for step in [Move::Remove, Move::Delete] {
            let round = Round::begin(&served, path, format!("late-{path:?}-{step:?}")).await;
            let refused = resume_after(&round, step).await.unwrap_err();
            assert_refused(&refused);
            assert!(!matches!(refused, Error::Closed), "the client must learn that it has to join again");
            round.agrees(&[]).await;
            assert!(
                served.server.connected(&round.room).iter().all(|participant| participant.identity != "ann"),
                "{step:?}, {path:?}"
            );
        }
    }
}

#[tokio::test]
async fn resume_delivers_the_update_meanwhile() {
    let served = served().await;
    for path in PATHS {
        let round = Round::begin(&served, path, format!("changed-{path:?}")).await;
        resume_after(&round, Move::Update).await.unwrap();
        settled(&round.ann).await;
        round.agrees(&[]).await;
        let own = round.ann.seen(|seen| seen.participant.clone());
        assert_eq!(said(&own), ("updated", update(true).permission.as_ref()), "{path:?}");
    }
}
