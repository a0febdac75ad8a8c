//! The worker: once a second, each recording goes one step on, and those that end get their files.

use crate::{LiveKitDev, state::egress::End};

/// One step of every recording. Files are written outside of the lock, and before any event says that they are there.
pub(crate) fn work(server: &LiveKitDev) {
    let Some(root) = &server.config().recordings else { return };
    for egress in server.look(crate::state::World::ending_egresses) {
        let now_ns = server.now_ns();
        let end = match egress.output.write(root, &egress.info, now_ns) {
            Ok(results) => End::Complete(results),
            Err(error) => End::Failed(error.to_string()),
        };
        // The recording may have ended in between; then this changes nothing.
        server.change(|world, _| ((), world.end_egress(&egress.info.egress_id, end, now_ns)));
    }
    let now_ns = server.now_ns();
    // After the ends: a recording that has just become `ending` gets its file in the next second.
    server.change(|world, _| ((), world.work(now_ns)));
    for egress in server.look(crate::state::World::active_egresses) {
        if let Err(error) = egress.output.write_live(root, &egress.info, now_ns) {
            tracing::warn!(%error, egress.id = egress.info.egress_id, "a live playlist could not be written");
        }
    }
}
