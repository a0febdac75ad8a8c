//! One recorded socket, and what came on it in this run.

use std::collections::BTreeSet;

use livekit_protocol::{SignalResponse, signal_response::Message};
use rtc_client::Client;
use serde_json::{Map, Value};

use super::compare::Lanes;
use super::differences::SUBSCRIPTION_LANE;
use super::shape::{Shaper, snake};

pub struct Socket {
    pub name: String,
    /// Its place among the clients of the player.
    pub client: usize,
    /// Which socket of this client it is.
    number: u32,
    /// The only message of a socket that the server closed again.
    pub refused: Option<Message>,
    /// One peer connection: sections are named in answers. With two they are named in offers.
    single: bool,
    pub recorded: Lanes,
    /// The tracks that the client receives, as its latest description names them.
    pub recorded_tracks: BTreeSet<String>,
    recorded_shaper: Shaper,
    /// The recording is silent about the subscriptions of this participant.
    bystander: bool,
    /// Whether a lane did not come in time: nothing waits for it again.
    pub late: bool,
}

impl Socket {
    pub fn new(name: &str, (client, number): (usize, u32), single: bool, refused: Option<Message>) -> Self {
        Self {
            name: name.to_owned(),
            client,
            number,
            refused,
            single,
            recorded_tracks: BTreeSet::new(),
            recorded: Lanes::default(),
            recorded_shaper: Shaper::default(),
            bystander: false,
            late: false,
        }
    }

    pub fn of_bystander(self, bystander: bool) -> Self {
        Self { bystander, ..self }
    }

    pub fn expect(&mut self, message: &Value) {
        let description = &message[if self.single { "answer" } else { "offer" }];
        if description.is_object() {
            let tracks = description["mid_to_track_id"].as_object().into_iter().flat_map(Map::values);
            self.recorded_tracks = tracks.filter_map(Value::as_str).map(str::to_owned).collect();
        }
        for line in self.recorded_shaper.lines(message) {
            self.recorded.push(line);
        }
    }

    pub fn replayed(&self, client: &Client) -> Lanes {
        self.shaped(client).0
    }

    pub fn replayed_tracks(&self, client: &Client) -> BTreeSet<String> {
        let named = |(_, message): &(u32, Message)| match message {
            Message::Answer(description) if self.single => Some(description.mid_to_track_id.clone()),
            Message::Offer(description) if !self.single => Some(description.mid_to_track_id.clone()),
            _ => None,
        };
        let latest = client.seen(|seen| {
            let messages = seen.messages.iter().rev().filter(|(number, _)| *number == self.number);
            messages.into_iter().find_map(named)
        });
        latest.unwrap_or_default().into_values().collect()
    }

    /// A track of the recording may be gone already; one that is not in it must not come, or not any more.
    pub fn may_receive(&self, recorded: &BTreeSet<String>, replayed: &BTreeSet<String>) -> bool {
        self.bystander || replayed.is_subset(recorded)
    }

    /// Whether as much has come as was recorded.
    pub fn has_come(&self, client: &Client) -> bool {
        let (lanes, shaper) = self.shaped(client);
        let complete = self.recorded.0.iter().all(|(lane, lines)| lanes.len(lane) >= lines.len());
        complete && shaper.knows_all_of(&self.recorded_shaper)
    }

    fn shaped(&self, client: &Client) -> (Lanes, Shaper) {
        let (mut lanes, mut shaper) = (Lanes::default(), Shaper::default());
        let mut push = |message: &Message| {
            for line in shaper.lines(&json_of(message)) {
                lanes.push(line);
            }
        };
        match &self.refused {
            Some(message) => push(message),
            None => client.seen(|seen| {
                let messages = seen.messages.iter().filter(|(number, _)| *number == self.number);
                messages.for_each(|(_, message)| push(message));
            }),
        }
        if self.bystander {
            lanes.0.remove(SUBSCRIPTION_LANE);
        }
        (lanes, shaper)
    }
}

fn json_of(message: &Message) -> Value {
    let response = SignalResponse { message: Some(message.clone()) };
    snake(&serde_json::to_value(response).unwrap())
}
