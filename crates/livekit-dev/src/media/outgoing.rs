//! The messages that wait for one client.
//!
//! A client that does not read must not fill the memory, and others must not be able to fill its queue: their many
//! updates become one while they wait.

use std::{collections::VecDeque, sync::Arc};

use livekit_protocol::{ParticipantInfo, signal_response::Message};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Frame;

/// Frames that may wait for a client that reads. One more ends its connection.
const LIMIT: usize = 256;

/// From here on a newer update takes the place of an older one.
const MANY: usize = LIMIT / 2;

/// Frames that may wait before the client begins to read: a join says one thing about each track of its room.
const FIRST: usize = 32 * 1024;

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Frame>,
    /// The client has begun to read.
    reading: bool,
    /// Of the frames that wait, those of before it read. They do not count.
    first: usize,
    closed: bool,
}

/// The way to one client. Dropped, the socket is closed after what waits.
#[derive(Debug)]
pub(crate) struct Outgoing(Arc<Queue>);

/// The other end.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Queue>);

/// Too much waits already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

pub(crate) fn outgoing() -> (Outgoing, Waiting) {
    let queue = Arc::new(Queue::default());
    (Outgoing(Arc::clone(&queue)), Waiting(queue))
}

impl Outgoing {
    pub(super) fn send(&self, frame: Frame) -> Result<(), Full> {
        // The lock is released before the waiter is woken.
        let pushed = self.0.state.lock().push(frame);
        self.0.changed.notify_one();
        pushed
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.changed.notify_one();
    }
}

impl Waiting {
    /// None: nothing more will come.
    pub(crate) async fn recv(&mut self) -> Option<Frame> {
        loop {
            {
                // Closed only counts when nothing waits any more: the last messages must still go out.
                let mut state = self.0.state.lock();
                match state.pop() {
                    None if state.closed => return None,
                    None => {}
                    frame => return frame,
                }
            }
            self.0.changed.notified().await;
        }
    }
}

impl State {
    fn push(&mut self, frame: Frame) -> Result<(), Full> {
        // Frames of before the client began to read do not count: a large room must not end its join.
        let counted = self.frames.len() - self.first;
        // Merged only when many wait, so that clients usually hear every step.
        let behind = self.reading && counted >= MANY;
        let left = if behind { self.merge(frame) } else { Some(frame) };
        let Some(frame) = left else { return Ok(()) };
        let limit = if self.reading { LIMIT } else { FIRST };
        if counted >= limit {
            return Err(Full);
        }
        self.frames.push_back(frame);
        Ok(())
    }

    fn pop(&mut self) -> Option<Frame> {
        if !self.reading {
            self.reading = true;
            // Everything that waits now belongs to the join.
            self.first = self.frames.len();
        }
        self.first = self.first.saturating_sub(1);
        self.frames.pop_front()
    }

    /// Returns what no waiting frame could take in.
    fn merge(&mut self, frame: Frame) -> Option<Frame> {
        let Frame::Message(mut message) = frame else { return Some(Frame::Cut) };
        // From the newest back: the latest state of a participant is the one to replace.
        let waiting = self.frames.iter_mut().rev().filter_map(|frame| match frame {
            Frame::Message(message) => Some(&mut **message),
            Frame::Cut => None,
        });
        let merged = match &mut *message {
            Message::Update(update) => {
                replace(waiting, &mut update.participants);
                update.participants.is_empty()
            }
            Message::SubscriptionPermissionUpdate(update) => {
                let mut older = waiting.filter_map(|message| match message {
                    Message::SubscriptionPermissionUpdate(older) => Some(older),
                    _ => None,
                });
                let same = older.find(|older| older.track_sid == update.track_sid);
                same.map(|older| older.clone_from(update)).is_some()
            }
            _ => false,
        };
        (!merged).then_some(Frame::Message(message))
    }
}

/// Puts participants where their latest state waits, and leaves those that are new.
fn replace<'a>(waiting: impl Iterator<Item = &'a mut Message>, participants: &mut Vec<ParticipantInfo>) {
    let updates = waiting.filter_map(|message| match message {
        Message::Update(update) => Some(update),
        _ => None,
    });
    for older in updates.flat_map(|update| &mut update.participants) {
        // By SID and not by identity: two sessions of one identity are two states.
        if let Some(at) = participants.iter().position(|newer| newer.sid == older.sid) {
            *older = participants.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use livekit_protocol::{ParticipantUpdate, SubscriptionPermissionUpdate};

    use super::*;

    fn update(sid: usize, version: u32) -> Frame {
        let info = ParticipantInfo { sid: sid.to_string(), version, ..ParticipantInfo::default() };
        Frame::Message(Box::new(Message::Update(ParticipantUpdate { participants: vec![info] })))
    }

    fn permission(allowed: bool) -> Frame {
        let update =
            SubscriptionPermissionUpdate { track_sid: "a".to_owned(), allowed, ..Default::default() };
        Frame::Message(Box::new(Message::SubscriptionPermissionUpdate(update)))
    }

    fn pong(number: i64) -> Frame {
        Frame::Message(Box::new(Message::Pong(number)))
    }

    /// A client that has begun to read, and reads no more.
    async fn slow() -> (Outgoing, Waiting) {
        let (outgoing, mut waiting) = outgoing();
        outgoing.send(pong(0)).unwrap();
        waiting.recv().await.unwrap();
        (outgoing, waiting)
    }

    fn versions(waiting: &Waiting) -> Vec<u32> {
        let state = waiting.0.state.lock();
        let of = |frame: &Frame| match frame {
            Frame::Message(message) => match &**message {
                Message::Update(update) => Some(update.participants[0].version),
                _ => None,
            },
            Frame::Cut => None,
        };
        state.frames.iter().filter_map(of).collect()
    }

    #[tokio::test]
    async fn repeated_updates_of_a_participant_do_not_fill_a_queue() {
        let (outgoing, waiting) = slow().await;
        for version in 0..10_000 {
            outgoing.send(update(1, version)).unwrap();
            outgoing.send(permission(version % 2 == 0)).unwrap();
        }
        let versions = versions(&waiting);
        assert!(versions.is_sorted(), "{versions:?}");
        assert_eq!(versions.last(), Some(&9_999));
        assert!(matches!(waiting.0.state.lock().frames.back(), Some(frame) if *frame == permission(false)));
        outgoing.send(update(2, 0)).unwrap();
    }

    #[tokio::test]
    async fn all_updates_arrive_while_few_wait() {
        let (outgoing, waiting) = slow().await;
        for version in 0..100 {
            outgoing.send(update(1, version)).unwrap();
        }
        assert_eq!(versions(&waiting), (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn queue_of_a_client_that_does_not_read_becomes_full() {
        let (outgoing, _waiting) = slow().await;
        let sent = (0..1000).take_while(|number| outgoing.send(pong(*number)).is_ok());
        assert_eq!(sent.count(), LIMIT);
    }

    #[tokio::test]
    async fn first_messages_of_a_join_do_not_count() {
        let (outgoing, mut waiting) = outgoing();
        for number in 0..1000 {
            outgoing.send(pong(number)).unwrap();
        }
        waiting.recv().await.unwrap();
        let sent = (0..1000).take_while(|number| outgoing.send(pong(*number)).is_ok());
        assert_eq!(sent.count(), LIMIT);
        for _ in 1..1000 {
            waiting.recv().await.unwrap();
        }
        assert_eq!(outgoing.send(pong(0)), Err(Full));
        waiting.recv().await.unwrap();
        outgoing.send(pong(0)).unwrap();
    }

    #[tokio::test]
    async fn queue_ends_after_its_waiting_messages() {
        let (outgoing, mut waiting) = slow().await;
        outgoing.send(Frame::Cut).unwrap();
        drop(outgoing);
        assert_eq!(waiting.recv().await, Some(Frame::Cut));
        assert_eq!(waiting.recv().await, None);
    }
}
