//! The services, each in its own process.

use secrecy::ExposeSecret;
use sqlx::{ConnectOptions, postgres::PgConnectOptions};

use super::Findings;
use crate::{processes::Processes, program::greenroom};

#[testkit::test]
async fn services_are_called_with_the_internal_token(connect: PgConnectOptions) {
    let processes = Processes::start(&connect, &[]).await;
    let livekit = &processes.livekit.settings;
    let database = connect.to_url_lossy().to_string();
    let internal = "i".repeat(32);
    let usual = [
        ("LIVEKIT_API_KEY", livekit.api_key.as_str()),
        ("LIVEKIT_API_SECRET", livekit.api_secret.expose_secret()),
        ("LIVEKIT_WS_URL", &livekit.ws_url),
        ("DATABASE_URL", &database),
        ("INTERNAL_TOKEN", &internal),
        ("BOOKING_URL", &processes.booking.url),
        ("ROOM_URL", &processes.room.url),
        ("TOKEN_URL", &processes.token.url),
        ("SYNC_URL", &processes.sync.url),
    ];
    let services = async |other: &[(&str, &str)]| {
        Findings::of(&greenroom(&["doctor", "--json"], &[&usual[..], other].concat()).await)
    };
    services(&[]).await.assert("services", "passed", "booking, room-lifecycle, token, sync");
    let wrong = "w".repeat(32);
    let found = services(&[("INTERNAL_TOKEN", &wrong)]).await;
    found.assert("services", "failed", "booking at");
    found.assert("services", "failed", "refuses this INTERNAL_TOKEN");
    let found = services(&[("SYNC_URL", "http://127.0.0.1:1")]).await;
    found.assert("services", "failed", "sync at http://127.0.0.1:1 cannot be reached");
    assert!(!found["services"]["message"].as_str().unwrap().contains("booking"), "only sync: {found:?}");
    services(&[("TOKEN_URL", &processes.sync.url)]).await.assert("services", "failed", "is not token");

    let through = [
        ("INTERNAL_TOKEN", ""),
        ("BOOKING_URL", ""),
        ("ROOM_URL", ""),
        ("TOKEN_URL", ""),
        ("SYNC_URL", ""),
        ("API_URL", &processes.gateway.url),
    ];
    services(&through).await.assert("services", "passed", "booking, room-lifecycle, token, sync");
    services(&through[..5]).await.assert("services", "skipped", "INTERNAL_TOKEN");
}
