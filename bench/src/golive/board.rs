//! The waiters for broadcasts to become live in the listing, and the one listener that receives all changes.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Error, Result};
use serde::Deserialize;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::events::Events;

type Waiting = HashMap<String, oneshot::Sender<Instant>>;

#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<Waiting>>);

#[derive(Deserialize)]
struct Row {
    title: String,
    status: String,
}

impl Board {
    /// Opens it, with the task that listens. The task ends only with an error.
    pub async fn open(address: SocketAddr, bearer: &str) -> Result<(Self, JoinHandle<Error>)> {
        let (board, events) = (Self::default(), Events::open(address, bearer).await?);
        let own = board.clone();
        Ok((board, tokio::spawn(async move { own.follow(events).await })))
    }

    /// Waits for the time when the row of this title is `live`. It is called before the row can exist.
    pub fn expect(&self, title: &str) -> oneshot::Receiver<Instant> {
        let (sender, receiver) = oneshot::channel();
        self.with(|waiting| waiting.insert(title.to_owned(), sender));
        receiver
    }

    pub fn forget(&self, title: &str) {
        self.with(|waiting| waiting.remove(title));
    }

    async fn follow(self, mut events: Events) -> Error {
        loop {
            let row = match events.next().await {
                Ok(data) => serde_json::from_slice::<Row>(&data).map_err(Error::from),
                Err(error) => Err(error),
            };
            match row {
                Ok(row) if row.status == "live" => {
                    if let Some(waiting) = self.with(|waiting| waiting.remove(&row.title)) {
                        let _ = waiting.send(Instant::now()); // fails if the waiter has timed out
                    }
                }
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Waiting) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
