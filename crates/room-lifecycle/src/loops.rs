//! The loops of the service: what runs how often, and what wakes it earlier.

use std::time::Duration;

use chassis::{
    notify::listen,
    reconcile::{Nudge, spawn_periodic},
};

use crate::{Config, RoomLifecycle};

/// Between two checks of the rooms with a recent kick.
const WATCH_PERIOD: Duration = Duration::from_secs(1);
/// Between two checks for lobbies that have to open and scheduled live sessions that have to start.
const DUE_PERIOD: Duration = Duration::from_secs(1);
/// Between two searches for the files of recordings that LiveKit has completed.
const FILES_PERIOD: Duration = Duration::from_secs(5);
/// Between two turns of probing participants.
const PROBE_PERIOD: Duration = Duration::from_secs(1);
/// Between two polls of the marks when no NOTIFY arrives, and of the rooms that are to be closed.
const POLL_PERIOD: Duration = Duration::from_secs(1);

impl RoomLifecycle {
    pub(crate) fn spawn_loops(&self, config: &Config) {
        let (lifecycle, nudges) = (&self.rooms.lifecycle, &self.rooms.nudges);
        let never = Nudge::default;
        let pass = repeat(self, |service| async move { service.pass().await });
        spawn_periodic(lifecycle, "rooms", config.pass_period, nudges.pass.clone(), pass);
        let drain = repeat(&self.rooms, |rooms| async move { rooms.drain().await.map(drop) });
        spawn_periodic(lifecycle, "room_marks", POLL_PERIOD, nudges.marks.clone(), drain);
        let close = repeat(&self.rooms, |rooms| async move { rooms.close_due().await });
        spawn_periodic(lifecycle, "rooms_to_close", POLL_PERIOD, never(), close);
        let start = repeat(&self.live, |live| async move { live.start_due().await });
        spawn_periodic(lifecycle, "live_rooms", DUE_PERIOD, never(), start);
        let watch = repeat(&self.rooms, |rooms| async move { rooms.watch().await });
        spawn_periodic(lifecycle, "room_watch", WATCH_PERIOD, never(), watch);
        // A loop of its own: LiveKit waits 3 s before it answers that no node has a participant.
        let probe = repeat(&self.stale_participants, |stale| async move { stale.probe_participants().await });
        spawn_periodic(lifecycle, "ghosts", PROBE_PERIOD, never(), probe);
        self.spawn_recording_loops(config);
        listen(lifecycle, config.database.url.clone(), "room_marks", nudges.marks.clone());
    }

    fn spawn_recording_loops(&self, config: &Config) {
        let (lifecycle, nudges) = (&self.rooms.lifecycle, &self.recordings.nudges);
        // A loop of its own: recorders may take 25 s to answer, and nothing else has to wait for that.
        let watch = repeat(&self.recordings, |recordings| async move {
            let watched = recordings.watch_recordings().await;
            recordings.nudges.removals.now();
            watched
        });
        let woken = self.rooms.nudges.recordings.clone();
        spawn_periodic(lifecycle, "recordings", config.pass_period, woken, watch);
        // Loops of their own: a slow bucket must not delay the watch of recordings.
        let files = repeat(&self.recordings, |recordings| async move { recordings.check_files().await });
        spawn_periodic(lifecycle, "recording_files", FILES_PERIOD, nudges.files.clone(), files);
        let remove =
            repeat(&self.recordings, |recordings| async move { recordings.remove_recordings().await });
        spawn_periodic(lifecycle, "removals", config.pass_period, nudges.removals.clone(), remove);
    }
}

/// One pass of a loop, on a feature of its own.
fn repeat<T: Clone, P: Fn(T) -> F, F>(feature: &T, pass: P) -> impl Fn() -> F + use<T, P, F> {
    let feature = feature.clone();
    move || pass(feature.clone())
}
