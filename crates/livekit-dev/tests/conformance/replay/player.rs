//! Replays a recording: each action waits until everything that was recorded before it has arrived.

mod acts;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use livekit_protocol::DataPacket;
use rtc_client::Client;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::compare::{Lanes, differences};
use super::names::{Names, written_out};
use super::shape::{hook, packet, snake};
use super::socket::Socket;
use crate::receiver::Receiver;
use crate::target::Target;
use crate::webhooks;

/// How long an action waits for what was recorded before it. What is then still missing is a difference.
const LIMIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

pub struct Player<'a> {
    target: &'a Target,
    room: String,
    clients: Vec<(String, Client)>,
    sockets: Vec<Socket>,
    /// Recorded ids to those of this run.
    names: Names,
    /// Packets by the name of their receiver and their channel.
    recorded_packets: BTreeMap<(String, String), Vec<Value>>,
    recorded_hooks: Lanes,
    hooks: Lanes,
    receiver: Option<Receiver>,
    statuses: Vec<String>,
    bystanders: BTreeSet<String>,
    /// Calls that a participant must answer.
    calls: Vec<(u64, JoinHandle<u16>)>,
}

impl<'a> Player<'a> {
    pub async fn new(target: &'a Target, name: &str, recording: &[Value]) -> Self {
        let room_of = |entry: &Value| entry["claims"]["video"]["room"].as_str().map(str::to_owned);
        let room = crate::target::fresh(&format!("{}-{}", name.replace('.', "-"), target.tag));
        let mut names = Names::default();
        names.insert(&recording.iter().find_map(room_of).unwrap_or_default(), room.clone());
        Self {
            target,
            room,
            clients: Vec::new(),
            sockets: Vec::new(),
            names,
            recorded_packets: BTreeMap::new(),
            calls: Vec::new(),
            recorded_hooks: Lanes::default(),
            hooks: Lanes::default(),
            receiver: webhooks::receiver(target).await,
            statuses: Vec::new(),
            bystanders: BTreeSet::new(),
        }
    }

    /// Replays the recording and returns all differences.
    pub async fn play(mut self, recording: &[Value]) -> Vec<String> {
        for entry in recording {
            if entry.get("saw").is_some() {
                self.expect_message(entry);
            } else if let Some(who) = entry["got"].as_str() {
                let label = entry["label"].as_str().unwrap_or_default();
                let key = (who.to_owned(), label.to_owned());
                self.recorded_packets.entry(key).or_default().push(entry["packet"].clone());
            } else if let Some(body) = entry.get("hook") {
                self.recorded_hooks.push(hook(body));
            } else if let Some(name) = entry["bystander"].as_str() {
                self.bystanders.insert(name.to_owned());
            } else if entry.get("step").is_none() {
                self.settle().await;
                self.act(entry).await;
            }
        }
        self.settle().await;
        self.settle_hooks().await;
        for (recorded, call) in std::mem::take(&mut self.calls) {
            let status = call.await.unwrap();
            if u64::from(status) != recorded {
                self.statuses.push(format!("PerformRpc: recorded {recorded}, replayed {status}"));
            }
        }
        self.result()
    }

    fn expect_message(&mut self, entry: &Value) {
        let who = entry["saw"].as_str().unwrap_or_default();
        let Some(at) = self.sockets.iter().position(|socket| socket.name == who) else { return };
        let message = snake(&entry["msg"]);
        self.learn(at, &message);
        self.sockets[at].expect(&message);
    }

    /// Learns the ids of this run that replace recorded ones.
    fn learn(&mut self, socket: usize, recorded: &Value) {
        let client = &self.clients[self.sockets[socket].client].1;
        if let Some(sid) = recorded["join"]["participant"]["sid"].as_str() {
            self.names.insert(sid, client.sid());
        }
        let published = &recorded["track_published"];
        if let (Some(cid), Some(sid)) = (published["cid"].as_str(), published["track"]["sid"].as_str())
            && let Some(actual) = self.names.get(&format!("sid of {cid}"))
        {
            self.names.insert(sid, actual.clone());
        }
    }

    /// Learns the ids that the server chose in packets: those of RPCs by the API.
    fn learn_from_packets(&mut self) {
        let mut pairs = Vec::new();
        for ((name, label), recorded) in &self.recorded_packets {
            pairs.extend(recorded.iter().map(snake).zip(self.packets_of(name, label)));
        }
        for (recorded, actual) in pairs {
            self.names.learn(&recorded, &actual);
        }
    }

    fn packets_of(&self, name: &str, label: &str) -> Vec<Value> {
        let clients = self.clients.iter().filter(|(client, _)| client == name);
        clients
            .flat_map(|(_, client)| {
                client.seen(|seen| {
                    let data = seen.data.iter().filter(|data| data.channel == label);
                    data.map(|data| snake(&serde_json::to_value(&data.packet).unwrap())).collect::<Vec<_>>()
                })
            })
            .collect()
    }

    fn recorded_data(&self, name: &str) -> Lanes {
        let mut lanes = Lanes::default();
        for ((owner, label), packets) in &self.recorded_packets {
            for recorded in packets.iter().filter(|_| owner == name) {
                lanes.push(packet(label, recorded));
            }
        }
        lanes
    }

    async fn act(&mut self, entry: &Value) {
        if let Some(who) = entry["join"].as_str() {
            self.join(who, entry).await;
        } else if let Some(who) = entry["send"].as_str() {
            self.send(who, &entry["msg"]).await;
        } else if let Some(who) = entry["unpublish"].as_str() {
            let cid = entry["cid"].as_str().unwrap_or_default();
            if let Some(sid) = self.names.get(&format!("sid of {cid}")) {
                self.client(who).unpublish(sid);
            }
        } else if let Some(who) = entry["data"].as_str() {
            self.learn_from_packets();
            let packet: DataPacket =
                serde_json::from_value(written_out(&self.names.translated(&entry["packet"]))).unwrap();
            self.latest(who).send_packet(packet, entry["label"] == "_reliable");
        } else if let Some(who) = entry["cut"].as_str() {
            self.client(who).cut_socket();
        } else if let Some(who) = entry["close"].as_str() {
            self.client(who).close_socket();
        } else if let Some(who) = entry["closed"].as_str() {
            self.closed(who, entry).await;
        } else if let Some(dev) = self.target.dev_part().filter(|_| entry["restart"] == true) {
            dev.restart().await;
        } else if let Some(method) = entry["api"].as_str() {
            self.call(method, entry).await;
        }
    }

    fn client(&self, who: &str) -> &Client {
        let socket = self.sockets.iter().find(|socket| socket.name == who).unwrap();
        &self.clients[socket.client].1
    }

    fn latest(&self, name: &str) -> &Client {
        let mut clients = self.clients.iter().rev();
        &clients.find(|(client, _)| client == name).unwrap().1
    }

    /// Waits until each socket and each data channel has received as much as was recorded.
    async fn settle(&mut self) {
        for at in 0..self.sockets.len() {
            if self.sockets[at].late {
                continue;
            }
            let complete = async || {
                while !self.has_arrived(&self.sockets[at]) {
                    tokio::time::sleep(PAUSE).await;
                }
            };
            let late = tokio::time::timeout(LIMIT, complete()).await.is_err();
            self.sockets[at].late = late;
            let socket = &self.sockets[at];
            let (recorded, replayed) = self.tracks(socket);
            if late && !socket.may_receive(&recorded, &replayed) {
                self.statuses
                    .push(format!("{} receives: recorded {recorded:?}, replayed {replayed:?}", socket.name));
            }
        }
    }

    fn has_arrived(&self, socket: &Socket) -> bool {
        let name = socket.name.split('#').next().unwrap_or_default();
        let data = self.replayed_data(name);
        let recorded_data = self.recorded_data(name);
        let (recorded, replayed) = self.tracks(socket);
        socket.may_receive(&recorded, &replayed)
            && socket.has_arrived(&self.clients[socket.client].1)
            && recorded_data.0.iter().all(|(lane, lines)| data.len(lane) >= lines.len())
    }

    /// The tracks that the client receives by its latest description: recorded and replayed.
    fn tracks(&self, socket: &Socket) -> (BTreeSet<String>, BTreeSet<String>) {
        let actual = |track: &String| self.names.get(track).unwrap_or(track).clone();
        let recorded = socket.recorded_tracks.iter().map(actual).collect();
        (recorded, socket.replayed_tracks(&self.clients[socket.client].1))
    }

    fn replayed(&self, socket: &Socket) -> Lanes {
        socket.replayed(&self.clients[socket.client].1)
    }

    fn replayed_data(&self, name: &str) -> Lanes {
        let mut lanes = Lanes::default();
        for label in ["_reliable", "_lossy"] {
            for actual in self.packets_of(name, label) {
                lanes.push(packet(label, &actual));
            }
        }
        lanes
    }

    async fn settle_hooks(&mut self) {
        let expected: usize = self.recorded_hooks.0.values().map(Vec::len).sum();
        let Some(receiver) = &mut self.receiver else { return };
        // The room ends when the test's clock has passed its last timer.
        if let Some(dev) = self.target.dev_part() {
            dev.advance(20).await;
        }
        let rest = async {
            for _ in 0..expected {
                self.hooks.push(hook(&receiver.arrivals.recv().await.unwrap().json()));
            }
        };
        let _ = tokio::time::timeout(3 * LIMIT, rest).await;
    }

    fn result(self) -> Vec<String> {
        let mut found = self.statuses.clone();
        for socket in &self.sockets {
            found.extend(differences(&socket.name, &socket.recorded, &self.replayed(socket)));
        }
        let names: BTreeSet<&String> = self.recorded_packets.keys().map(|(name, _)| name).collect();
        for name in names {
            found.extend(differences(name, &self.recorded_data(name), &self.replayed_data(name)));
        }
        if self.receiver.is_some() {
            found.extend(differences("webhooks", &self.recorded_hooks.in_order(), &self.hooks.in_order()));
        }
        found
    }
}
