//! Clients while the server does not answer.

use livekit_dev::Fault;
use rtc_client::{Client, Track};

use crate::{
    clients::{PATHS, more_frames, served},
    support::{Served, eventually},
};

/// Starts a resume that hangs.
async fn resuming(served: &Served, client: &Client) {
    for method in ["rtc", "rtc/v1"] {
        served.server.faults().set(method, Fault::Hang);
    }
    client.cut_socket();
    tokio::select! {
        _ = client.resume() => panic!("the server answered"),
        () = eventually("the resume hangs", || served.server.faults().hanging() == 1) => {}
    }
}

#[tokio::test]
async fn media_continues_while_a_resume_waits() {
    let served = served().await;
    for path in PATHS {
        let room = format!("waiting-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let camera = ann.publish(Track::camera()).await.unwrap();
        more_frames(&bob, &camera.sid).await;
        resuming(&served, &ann).await;
        more_frames(&bob, &camera.sid).await;
        more_frames(&bob, &camera.sid).await;
        served.server.faults().clear();
        ann.until("the new socket", |seen| !seen.closed).await.unwrap();
    }
}

#[tokio::test]
async fn dropped_client_is_gone_while_its_resume_waits() {
    let served = served().await;
    let ann = served.client("dropped", "ann").await;
    resuming(&served, &ann).await;
    drop(ann);
    eventually("nothing hangs", || served.server.faults().hanging() == 0).await;
}
