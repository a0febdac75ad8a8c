//! The running state and what runs it.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::response::Response;
use axum::serve::ListenerExt;
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::watch, time::MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::{Clock, ClockHandle},
    config::Config,
    egress,
    faults::{About, Faults, Plan},
    media::{Command, Media},
    signal::slots::Slots,
    state::{World, notice::Effect, room::Room},
    webhook::{Webhooks, delivery},
};

/// How often rooms are looked at for expiry, as in LiveKit.
const TICK: Duration = Duration::from_secs(1);

/// How long calls that are under way may take after a shutdown.
const GRACE: Duration = Duration::from_secs(2);

/// One server. Clones share it; it exists without being served, but sends webhooks only then.
#[derive(Clone, Debug)]
pub struct LiveKitDev(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    clock: Arc<Clock>,
    world: Mutex<World>,
    faults: Faults,
    webhooks: Arc<Webhooks>,
    media: Media,
    slots: Slots,
    /// The tasks of upgraded sockets, which outlive their requests.
    sockets: TaskTracker,
    /// Calls received, by method.
    calls: watch::Sender<HashMap<String, u64>>,
    /// The shutdown of the latest `serve`: those that wait on purpose stop waiting then.
    stopping: Mutex<CancellationToken>,
}

impl LiveKitDev {
    pub fn new(config: Config) -> Self {
        let clock = Arc::new(Clock::new(&config));
        Self(Arc::new(Inner {
            webhooks: Arc::new(Webhooks::new(&config, clock.clone())),
            clock,
            config,
            world: Mutex::default(),
            faults: Faults::default(),
            media: Media::default(),
            slots: Slots::default(),
            sockets: TaskTracker::new(),
            calls: watch::Sender::default(),
            stopping: Mutex::default(),
        }))
    }

    /// HTTP, media, expiry and webhooks, until `shutdown`. Webhooks that are queued then are lost, as with LiveKit.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
        // A child: the engine may stop this server, and not its caller.
        let shutdown = shutdown.child_token();
        // Set first, so that waits that begin now end with this shutdown.
        *self.0.stopping.lock() = shutdown.clone();
        let client = delivery::client().map_err(io::Error::other)?;
        let stopped = shutdown.clone().cancelled_owned();
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true))); // only slower without
        let mut media = self.0.media.start(&self, &shutdown)?;
        let service = self.router().into_make_service_with_connect_info::<SocketAddr>();
        let http = axum::serve(listener, service).with_graceful_shutdown(stopped);
        let webhooks = self.0.webhooks.clone().run(client, shutdown.clone());
        let expiry = shutdown.run_until_cancelled(self.expire());
        let hard_stop = async {
            // Twirp calls may wait for seconds on purpose. The shutdown does not wait for them.
            shutdown.cancelled().await;
            tokio::time::sleep(GRACE).await;
            Ok(())
        };
        let http = async {
            tokio::select! {
                served = http.into_future() => served,
                stopped = hard_stop => stopped,
            }
        };
        // Without media the server would only seem to be there.
        let media = async {
            let ended = media.stopped().await;
            if let Err(error) = &ended {
                tracing::error!(%error, "media engine ended");
                shutdown.cancel();
            }
            ended
        };
        let (served, (), _, media) = tokio::join!(http, webhooks, expiry, media);
        // A tracker must be closed to be waited for. Reopened, because a server may be served again.
        self.0.sockets.close();
        // Clients read that the server is going.
        let _ = tokio::time::timeout(GRACE, self.0.sockets.wait()).await;
        self.0.sockets.reopen();
        served.and(media)
    }

    async fn expire(&self) {
        let mut ticks = tokio::time::interval(TICK);
        // After a pause one tick is enough.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tick();
        }
    }

    pub(crate) fn tick(&self) {
        let now_s = self.0.clock.now_s(ClockHandle::Rooms);
        self.change(|world, _| ((), world.tick(now_s)));
        // After the rooms: a recording ends with its room.
        egress::work(self);
    }

    /// A transition. Its effects are queued before anything else can change the rooms, so webhooks and clients see
    /// changes in the order in which they happened.
    pub(crate) fn change<T>(&self, transition: impl FnOnce(&mut World, &Config) -> (T, Vec<Effect>)) -> T {
        // Held until the effects are queued; see the promise above.
        let mut world = self.0.world.lock();
        let (result, effects) = transition(&mut world, &self.0.config);
        for effect in effects {
            match effect {
                Effect::Webhook(event) => self.0.webhooks.emit(*event, world.switches.full_room_in_webhooks),
                Effect::Notice(notice) => self.0.media.post(Command::Notice(notice)),
            }
        }
        result
    }

    /// A change without events and notices.
    pub(crate) fn alter<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.0.world.lock())
    }

    pub(crate) fn look<T>(&self, read: impl FnOnce(&World) -> T) -> T {
        read(&self.0.world.lock())
    }

    /// Whether the store has the room.
    pub(crate) fn knows_room(&self, name: &str) -> bool {
        self.look(|world| world.rooms.get(name).is_some_and(Room::is_listed))
    }

    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The switches for misbehaviour.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// Nanoseconds since the epoch, as recordings are stamped.
    pub(crate) fn now_ns(&self) -> i64 {
        self.0.clock.now_ms(ClockHandle::Rooms).saturating_mul(1_000_000)
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn webhooks(&self) -> &Webhooks {
        &self.0.webhooks
    }

    pub(crate) fn media(&self) -> &Media {
        &self.0.media
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.0.slots
    }

    pub(crate) fn sockets(&self) -> &TaskTracker {
        &self.0.sockets
    }

    pub(crate) fn stopping(&self) -> CancellationToken {
        self.0.stopping.lock().clone()
    }

    /// Waits on purpose, but not into a shutdown.
    pub(crate) async fn pause(&self, time: Duration) {
        self.stopping().run_until_cancelled(tokio::time::sleep(time)).await;
    }

    /// Waits on the clock's hand for waits, but not into a shutdown.
    pub(crate) async fn wait(&self, time: Duration) {
        self.stopping().run_until_cancelled(self.clock().wait(time)).await;
    }

    /// Counts a call to something that is not Twirp and lets its faults happen; a response ends the call.
    pub(crate) async fn go_wrong(&self, method: &str) -> Option<Response> {
        self.plan(method).go_wrong(self).await
    }

    /// Counts a call to something that is not Twirp.
    pub(crate) fn plan(&self, method: &str) -> Plan {
        self.count_call(method);
        self.0.faults.plan(method, &About::default())
    }

    pub(crate) fn count_call(&self, method: &str) {
        self.0.calls.send_modify(|calls| *calls.entry(method.to_owned()).or_default() += 1);
    }

    /// How many calls of this method have arrived, refused ones included.
    pub fn calls(&self, method: &str) -> u64 {
        self.0.calls.borrow().get(method).copied().unwrap_or_default()
    }

    /// How many calls have arrived, by method.
    pub fn all_calls(&self) -> HashMap<String, u64> {
        self.0.calls.borrow().clone()
    }

    /// Resolves when this many calls of the method have arrived: for a test that needs one to be under way.
    pub async fn calls_reach(&self, method: &str, count: u64) {
        let mut calls = self.0.calls.subscribe();
        let reached = |calls: &HashMap<String, u64>| calls.get(method).is_some_and(|calls| *calls >= count);
        // The sender lives as long as `self`.
        let _ = calls.wait_for(reached).await;
    }

    /// Resolves when so many calls wait at the same time for an answer that does not come. A test may then move the
    /// clock's hand `Waits`.
    pub async fn waits_reach(&self, count: usize) {
        self.clock().waits_reach(count).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn server_without_its_media_engine_stops() {
        let server = LiveKitDev::new(Config::new("key", "secret"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let serving = tokio::spawn(server.clone().serve(listener, CancellationToken::new()));
        while server.media().addresses().is_empty() {
            tokio::task::yield_now().await;
        }
        server.media().post(Command::Panic);
        let ended = tokio::time::timeout(Duration::from_secs(30), serving).await;
        let error = ended.expect("serve goes on").unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the media engine panicked");
    }
}
