//! Listens to NOTIFY of the database: each notification nudges a pass of [`crate::reconcile`].

use std::{io, time::Duration};

use secrecy::SecretString;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::{interval_at, timeout};

use crate::{
    db::{self, Needs, READ_ONLY},
    lifecycle::Lifecycle,
    reconcile::Nudge,
};

/// How often a listening connection is asked which server it leads to, and how long it may take to answer. A host
/// without power sends nothing, and neither does a server that gets no more writes.
#[derive(Clone, Copy)]
struct Check {
    every: Duration,
    answer: Duration,
}

const CHECK: Check = Check { every: Duration::from_secs(5), answer: Duration::from_secs(5) };

/// Nudges on every NOTIFY of `channel`, through one dedicated connection. It subscribes before the first nudge, and nudges
/// after each reconnect, because notifications were lost in between.
pub fn listen(lifecycle: &Lifecycle, url: SecretString, channel: &'static str, nudge: Nudge) {
    let stopping = lifecycle.stopping().clone();
    let task = async move {
        while !stopping.is_cancelled() {
            let heard = stopping.run_until_cancelled(follow(&url, channel, &nudge, CHECK)).await;
            if let Some(Err(error)) = heard {
                tracing::debug!(%error, channel, "listening failed; polling continues");
            }
            // Also after a regular end: a server that closes connections must not be asked in a tight loop.
            let _ = stopping.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await;
        }
    };
    lifecycle.spawn("listen", task);
}

async fn follow(url: &SecretString, channel: &str, nudge: &Nudge, check: Check) -> Result<(), sqlx::Error> {
    // As PgListener::connect creates it, with our options.
    let alone = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
    let pool = alone.connect_with(db::connect_options(url)?).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false); // our caller reconnects
    listener.listen(channel).await?;
    ask(&mut listener, check).await?;
    nudge.now();
    let mut checks = interval_at(tokio::time::Instant::now() + check.every, check.every);
    loop {
        tokio::select! {
            biased;
            // First (`biased`): also under a flood of notifications the server must be checked.
            _ = checks.tick() => ask(&mut listener, check).await?,
            heard = listener.try_recv() => match heard? {
                Some(_) => nudge.now(),
                // The connection was lost. The caller connects again and nudges.
                None => return Ok(()),
            },
        }
    }
}

/// Fails unless the listener is connected to a server that takes writes.
async fn ask(listener: &mut PgListener, check: Check) -> Result<(), sqlx::Error> {
    let server = timeout(check.answer, db::ask(listener)).await.map_err(io::Error::from)??;
    if server.suits(Needs::Writes) { Ok(()) } else { Err(io::Error::other(READ_ONLY).into()) }
}

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions, postgres::PgConnectOptions};
    use testkit::Wire;

    use super::*;

    #[testkit::test(empty)]
    async fn listener_fails_when_its_database_vanished(connect: PgConnectOptions) {
        let wire = Wire::to(format!("{}:{}", connect.get_host(), connect.get_port())).await;
        let through = connect.host("127.0.0.1").port(wire.address.port());
        let url = SecretString::from(through.to_url_lossy().to_string());
        let nudge = Nudge::default();
        let check = Check { every: Duration::from_millis(50), answer: Duration::from_secs(5) };
        let mut following = Box::pin(follow(&url, "room_marks", &nudge, check));
        tokio::select! {
            ended = &mut following => panic!("{ended:?}"),
            () = nudge.called() => {}
        }
        let quiet = timeout(check.every * 10, &mut following).await;
        assert!(quiet.is_err(), "it listens while the database answers");
        wire.forget();
        let lost = timeout(Duration::from_secs(10), following).await.expect("it does not wait forever");
        assert!(lost.is_err());
    }
}
