//! One recorded socket, and what it received in this run.

use std::collections::BTreeSet;

use livekit_protocol::{SignalResponse, signal_response::Message};
use rtc_client::Client;
use serde_json::{Map, Value};

use super::compare::Lanes;
use super::differences::SUBSCRIPTION_LANE;
use super::shape::{Shaper, snake};

pub struct Socket {
    pub name: String,
    /// Its index in the clients of the player.
    pub client: usize,
    /// The number of this socket among those of its client.
    number: u32,
    /// The only message of a socket that the server closed at once.
    pub refused: Option<Message>,
    /// Whether there is one peer connection: then answers name the sections. With two, offers name them.
    single: bool,
    pub recorded: Lanes,
    /// The tracks that the client receives, by its latest description.
    pub recorded_tracks: BTreeSet<String>,
    recorded_shaper: Shaper,
    /// Whether the recording omits the subscriptions of this participant.
    bystander: bool,
    /// Whether a lane timed out: it is not awaited again.
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

    /// Whether all received tracks are in the recording. A recorded track may be missing, because it was removed already.
    pub fn may_receive(&self, recorded: &BTreeSet<String>, replayed: &BTreeSet<String>) -> bool {
        self.bystander || replayed.is_subset(recorded)
    }

    /// Whether as much has arrived as was recorded.
    pub fn has_arrived(&self, client: &Client) -> bool {
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
