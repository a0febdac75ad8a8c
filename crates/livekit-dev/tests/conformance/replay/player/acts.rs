//! The actions of the clients and of the API.

use livekit_protocol::{
    AddTrackRequest, ParticipantInfo, SignalRequest, participant_info::State, signal_request, signal_response,
};
use reqwest::Method;
use rtc_client::{Client, Error, Options, SignalPath, Track};
use serde_json::{Value, json};

use super::super::names::written_out;
use super::super::socket::Socket;
use super::Player;
use crate::tokens;

impl Player<'_> {
    pub(super) async fn join(&mut self, who: &str, entry: &Value) {
        let name = who.split('#').next().unwrap_or_default().to_owned();
        let mut refused = None;
        if entry["resume"] == true {
            match self.latest(&name).resume().await {
                Ok(()) => {}
                Err(Error::Left(leave)) => refused = Some(signal_response::Message::Leave(*leave)),
                Err(error) => panic!("{who}: {error}"),
            }
        } else {
            let client = Client::join(self.options(entry)).await.unwrap();
            client.until("media", |seen| seen.connected).await.unwrap();
            let active = |info: &ParticipantInfo| {
                (info.sid == client.sid() && info.state() == State::Active).then_some(())
            };
            self.target.listed(&self.room, &name, active).await;
            self.clients.push((name.clone(), client));
        }
        let client = self.clients.iter().rposition(|(client, _)| *client == name).unwrap();
        let earlier =
            self.sockets.iter().filter(|socket| socket.client == client && socket.refused.is_none());
        let number = u32::try_from(earlier.count()).unwrap() + 1;
        let bystander = self.bystanders.contains(&name);
        let single = entry["path"] == "v1";
        let socket = Socket::new(who, (client, number), single, refused).of_bystander(bystander);
        self.sockets.push(socket);
    }

    /// Checks that the socket ends as in the recording.
    pub(super) async fn closed(&mut self, who: &str, entry: &Value) {
        let socket = self.sockets.iter().find(|socket| socket.name == who).unwrap();
        if socket.refused.is_some() {
            return;
        }
        let client = &self.clients[socket.client].1;
        let end = client.find("the end", |seen| seen.end.clone().filter(|_| seen.closed)).await;
        let code = end.ok().and_then(|end| end.code);
        if code.map(u64::from) != entry["code"].as_u64() {
            self.statuses.push(format!("{who} closed: recorded {}, replayed {code:?}", entry["code"]));
        }
    }

    fn options(&self, entry: &Value) -> Options {
        let mut claims = tokens::claims(&self.target.key, "", &json!({}));
        let recorded = self.names.translated(&entry["claims"]);
        claims.as_object_mut().unwrap().extend(recorded.as_object().unwrap().clone());
        let path = if entry["path"] == "v1" { SignalPath::V1 } else { SignalPath::V0 };
        let mut options = self.target.options(&tokens::sign(&self.target.secret, &claims)).over(path);
        options.auto_subscribe = entry["auto_subscribe"] == true;
        options.adaptive_stream = entry["adaptive_stream"] == true;
        options.client_info = serde_json::from_value(entry["client_info"].clone()).unwrap();
        options
    }

    pub(super) async fn send(&mut self, who: &str, message: &Value) {
        if let Some(request) = message.get("add_track") {
            let request: AddTrackRequest = serde_json::from_value(request.clone()).unwrap();
            let cid = request.cid.clone();
            if let Ok(track) = self.client(who).publish(Track::asked_as(request)).await {
                self.names.insert(&format!("sid of {cid}"), track.sid);
            }
            return;
        }
        let request: SignalRequest =
            serde_json::from_value(written_out(&self.names.translated(message))).unwrap();
        match request.message.unwrap() {
            signal_request::Message::Mute(mute) => self.client(who).mute(&mute.sid, mute.muted),
            leave @ signal_request::Message::Leave(_) => {
                self.client(who).request(leave);
                self.client(who).until("the end", |seen| seen.closed).await.unwrap();
            }
            message => self.client(who).request(message),
        }
    }

    pub(super) async fn call(&mut self, method: &str, entry: &Value) {
        let body = self.names.translated(&entry["request"]);
        let video = json!({"roomCreate": true, "roomList": true, "roomAdmin": true, "room": self.room});
        if method == "PerformRpc" {
            let path = format!("/twirp/livekit.RoomService/{method}");
            let request = self
                .target
                .request(Method::POST, &path)
                .bearer_auth(self.target.token("", &video))
                .json(&body);
            let call = tokio::spawn(async move { request.send().await.unwrap().status().as_u16() });
            self.calls.push((entry["status"].as_u64().unwrap_or_default(), call));
            return;
        }
        let (status, answer) = self.target.json(method, &video, &body).await;
        if status.as_u16() != entry["status"] {
            self.statuses.push(format!("{method}: recorded {}, replayed {status} {answer}", entry["status"]));
        }
    }
}
