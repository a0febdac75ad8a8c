//! A refused LiveKit key is reported, and tokens in LiveKit's error texts are not stored.

use chassis::{config::LiveKit, status::Reason};
use livekit_dev::LiveKitDev;
use room_lifecycle::Config;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::harness::{
    State, WithRecorder, World, owner, reason,
    recordings::{host, start_request},
};

const REFUSED: &str = "LiveKit refuses our API key or secret";
const SIGNATURE: &str = "token signature is invalid";
/// The first characters of every token.
const TOKEN: &str = "eyJ";

type Spoil = fn(&mut LiveKit);

fn wrong_key(livekit: &mut LiveKit) {
    "unheard-of".clone_into(&mut livekit.api_key);
}

fn wrong_secret(livekit: &mut LiveKit) {
    livekit.api_secret = SecretString::from("0".repeat(32));
}

/// The problem that readiness reports for LiveKit, once it contains `of`.
async fn problem(runtime: &testkit::TestRuntime, of: &str) -> String {
    testkit::eventually("readiness names the problem", || async {
        let problem = runtime.readiness.report().dependencies["livekit"].problem.clone();
        problem.filter(|problem| problem.contains(of)).ok_or_else(|| runtime.readiness.report())
    })
    .await
}

async fn started(config: &Config) -> testkit::TestRuntime {
    let runtime = testkit::runtime();
    room_lifecycle::start(config, &runtime).await.unwrap();
    runtime
}

#[testkit::test]
async fn refused_key_is_named_at_the_start(world: World) {
    let cases: [(Spoil, &str); 2] = [(wrong_key, "invalid API key: unheard-of"), (wrong_secret, SIGNATURE)];
    for (wrong, why) in cases {
        let mut config = world.config();
        wrong(&mut config.livekit);
        let runtime = started(&config).await;
        let problem = problem(&runtime, REFUSED).await;
        assert!(problem.contains(why) && !problem.contains(TOKEN), "{problem}");
    }
}

#[testkit::test]
async fn key_that_is_revoked_later_is_named(connect: PgConnectOptions) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = |listener, secret: &str| {
        let stop = CancellationToken::new();
        let server = LiveKitDev::new(livekit_dev::Config::new("devkey", secret));
        (tokio::spawn(server.serve(listener, stop.clone())), stop)
    };
    let world = World::new(connect).await;
    let mut config = world.config();
    config.livekit.url = format!("http://{address}");
    let (served, stop) = serve(listener, config.livekit.api_secret.expose_secret());
    let runtime = started(&config).await;
    testkit::eventually("LiveKit answers", || async {
        let report = runtime.readiness.report();
        if report.status == "ok" { Ok(()) } else { Err(report) }
    })
    .await;
    stop.cancel();
    served.await.unwrap().unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    let (_served, _stop) = serve(listener, &"1".repeat(32));
    let problem = problem(&runtime, REFUSED).await;
    assert!(problem.contains(SIGNATURE) && !problem.contains(TOKEN), "{problem}");
}

#[testkit::test]
async fn refused_calls_leave_no_token_in_the_database(WithRecorder(world): WithRecorder) {
    let refused = world.rooms_with(|config| wrong_secret(&mut config.livekit)).await;
    let pending = world.booking(State::OpenNow).await;
    let failed = refused.ensure(owner(&pending), false).await;
    assert_eq!(reason(failed), Reason::LivekitUnavailable);
    let error = sqlx::query_scalar!("select last_error from livekit_rooms where session_id = $1", pending.id);
    let error = error.fetch_one(&world.pool).await.unwrap().unwrap();
    assert!(error.contains(REFUSED) && error.contains(SIGNATURE) && !error.contains(TOKEN), "{error}");

    let (booking, _) = world.open_room(&*world.rooms().await).await;
    let failed = refused.recordings.record(&host(&booking), &start_request(&booking)).await;
    assert_eq!(reason(failed), Reason::RecordingUnavailable);
    let _ = refused.pass().await;
    let kept = sqlx::query_scalar!(
        r#"select coalesce(string_agg(r::text, ''), '') || coalesce((select string_agg(c::text, '') from recordings c), '')
                  || coalesce((select string_agg(n::text, '') from notifications n), '')
                  || coalesce((select string_agg(e::text, '') from livekit_events e), '') as "kept!"
           from livekit_rooms r"#
    );
    assert!(!kept.fetch_one(&world.pool).await.unwrap().contains(TOKEN));
}
