//! Who receives which track.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use livekit_protocol::{
    SubscriptionPermission, SubscriptionPermissionUpdate, UpdateSubscription, signal_response::Message,
};
use str0m::media::MediaKind;

use super::{
    client::{Client, Sid, Subscription},
    engine::Engine,
    layers::Wanted,
};

/// How long the server collects what is new before it changes sections.
const SUBSCRIBE_DELAY: Duration = Duration::from_millis(10);

/// The same for what is gone.
const UNSUBSCRIBE_DELAY: Duration = Duration::from_millis(200);

impl Engine {
    /// Idempotent. Nothing happens without such a track, or without permission.
    pub(super) fn subscribe(&mut self, sid: &Sid, track: &str) {
        let Some(subscriber) = self.clients.get(sid) else { return };
        if subscriber.subscriptions.contains_key(track) || !subscriber.may_subscribe() {
            return;
        }
        let found = self.members(&subscriber.room).find_map(|(publisher, client)| {
            let published = client.announced().find(|published| published.info.sid == track)?;
            Some((publisher.clone(), published.kind, client.allows(&subscriber.info, track)))
        });
        // A client does not receive its own tracks.
        let Some((publisher, kind, allowed)) = found.filter(|(publisher, ..)| publisher != sid) else {
            return;
        };
        if allowed {
            self.add_subscription(sid, &publisher, track, kind);
        }
        // Also when it is not allowed: the client must know of it.
        self.tell_permission(sid, &publisher, track, allowed);
    }

    fn add_subscription(&mut self, sid: &Sid, publisher: &Sid, track: &str, kind: MediaKind) {
        if let Some(published) = self.clients.get_mut(publisher).and_then(|client| client.track(track)) {
            published.subscribers.insert(sid.clone());
        }
        if let Some(client) = self.clients.get_mut(sid) {
            let (publisher, wanted) = (Arc::clone(publisher), Wanted::default());
            let subscription =
                Subscription { publisher, kind, mid: None, ready: false, wanted, current: None };
            client.subscriptions.insert(track.to_owned(), subscription);
            negotiate_in(client, SUBSCRIBE_DELAY);
        }
    }

    fn tell_permission(&mut self, sid: &Sid, publisher: &Sid, track: &str, allowed: bool) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        if allowed && !client.allowed_told.insert(track.to_owned()) {
            return;
        }
        let (participant_sid, track_sid) = (publisher.to_string(), track.to_owned());
        let update = SubscriptionPermissionUpdate { participant_sid, track_sid, allowed };
        // The participant is announced before the track.
        self.send_later(sid, Message::SubscriptionPermissionUpdate(update));
    }

    pub(super) fn unsubscribe(&mut self, sid: &Sid, track: &str) {
        if let Some(client) = self.clients.get_mut(sid) {
            client.allowed_told.remove(track);
        }
        self.drop_subscription(sid, track);
    }

    fn drop_subscription(&mut self, sid: &Sid, track: &str) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        let Some(subscription) = client.subscriptions.remove(track) else { return };
        // A client with one connection keeps its section free for the next track.
        if let Some(mid) = subscription.mid
            && !client.single()
        {
            client.negotiation.stopped.push(mid);
        }
        negotiate_in(client, UNSUBSCRIBE_DELAY);
        let publisher = self.clients.get_mut(&subscription.publisher);
        if let Some(published) = publisher.and_then(|client| client.track(track)) {
            published.subscribers.remove(sid);
        }
    }

    /// The client or the API subscribes or unsubscribes. This holds until the next choice, or until the track is gone.
    pub(super) fn choose(&mut self, sid: &Sid, track: &str, subscribe: bool) {
        let Some(client) = self.clients.get(sid) else { return };
        let known = |client: &Client| client.announced().any(|published| published.info.sid == track);
        if self.members(&client.room).any(|(_, member)| known(member))
            && let Some(client) = self.clients.get_mut(sid)
        {
            // Only for tracks that exist: choices of invented SIDs would stay for ever.
            client.choices.insert(track.to_owned(), subscribe);
        }
        if subscribe {
            self.subscribe(sid, track);
        } else {
            self.unsubscribe(sid, track);
        }
    }

    /// Every track in the room that the client wants.
    pub(super) fn subscribe_to_all(&mut self, sid: &Sid) {
        let Some(client) = self.clients.get(sid) else { return };
        if !client.may_subscribe() {
            return;
        }
        // An older session of the same participant is on its way out.
        let identity = &client.session.identity;
        let others = self
            .members(&client.room)
            .filter(|(member, other)| *member != sid && other.session.identity != *identity);
        let tracks = others.flat_map(|(_, other)| other.announced().map(|track| track.info.sid.clone()));
        let tracks: Vec<String> = tracks.filter(|track| client.wants(track)).collect();
        for track in tracks {
            self.subscribe(sid, &track);
        }
    }

    fn unsubscribe_from_all(&mut self, sid: &Sid) {
        let tracks =
            self.clients.get(sid).map(|client| client.subscriptions.keys().cloned().collect::<Vec<_>>());
        for track in tracks.unwrap_or_default() {
            self.drop_subscription(sid, &track);
        }
    }

    /// What the participant may receive may have changed.
    pub(super) fn apply_permission(&mut self, sid: &Sid) {
        if self.clients.get(sid).is_some_and(Client::may_subscribe) {
            self.subscribe_to_all(sid);
        } else {
            self.unsubscribe_from_all(sid);
        }
    }

    /// A track that is not published any more has no subscribers.
    pub(super) fn track_gone(&mut self, room: &str, track: &str) {
        for member in self.member_sids(room) {
            self.unsubscribe(&member, track);
            // A SID is not used again, so the choice is of no use.
            if let Some(client) = self.clients.get_mut(&member) {
                client.choices.remove(track);
            }
        }
    }

    /// A client that is gone receives nothing.
    pub(super) fn forget_subscriber(&mut self, sid: &str, client: &Client) {
        for (track, subscription) in &client.subscriptions {
            let publisher = self.clients.get_mut(&subscription.publisher);
            if let Some(published) = publisher.and_then(|publisher| publisher.track(track)) {
                published.subscribers.remove(sid);
            }
        }
    }

    /// Clients name every track twice.
    pub(super) fn update_subscription(&mut self, sid: &Sid, update: &UpdateSubscription) {
        let nested = update.participant_tracks.iter().flat_map(|tracks| &tracks.track_sids);
        for track in update.track_sids.iter().chain(nested) {
            self.choose(sid, track, update.subscribe);
        }
    }

    /// A publisher says who may have its tracks.
    pub(super) fn subscription_permission(&mut self, sid: &Sid, allows: SubscriptionPermission) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        client.allows = allows;
        let room = client.room.clone();
        // Only announced tracks: the others are checked when they are announced.
        let tracks: Vec<String> = client.announced().map(|track| track.info.sid.clone()).collect();
        for member in self.member_sids(&room).into_iter().filter(|member| member != sid) {
            for track in &tracks {
                self.permit(sid, &member, track);
            }
        }
    }

    fn permit(&mut self, publisher: &Sid, subscriber: &Sid, track: &str) {
        let (Some(from), Some(to)) = (self.clients.get(publisher), self.clients.get(subscriber)) else {
            return;
        };
        let allowed = from.allows(&to.info, track);
        let present = to.subscriptions.contains_key(track);
        if present && !allowed {
            self.unsubscribe(subscriber, track);
            self.tell_permission(subscriber, publisher, track, false);
        } else if allowed && to.wants(track) {
            self.subscribe(subscriber, track);
        }
    }
}

/// Sooner than planned, never later.
fn negotiate_in(client: &mut Client, delay: Duration) {
    let at = Instant::now() + delay;
    let due = client.negotiation.due.map_or(at, |due| due.min(at));
    client.negotiation.due = Some(due);
}
