//! Clients with media: they receive each other's media, Greenroom follows their presence, and kicked clients stay out.

use livekit_dev::{Code, Fault};
use livekit_protocol::{DisconnectReason, leave_request::Action};
use reqwest::StatusCode;
use rtc_client::{Error, Track};
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use testkit::Participant;

use crate::world::{Replica, World};

/// A host and a guest in the room of a booking, and the guest's token.
struct Call {
    session: String,
    host: Participant,
    guest: Participant,
    token: String,
}

impl Call {
    async fn begin(world: &World, replica: &Replica) -> Self {
        let session = replica.book("una", "gus", 1).await;
        let text = |admitted: serde_json::Value| admitted["token"].as_str().unwrap().to_owned();
        let (una, token) =
            (text(replica.admit("una", &session).await), text(replica.admit("gus", &session).await));
        let (host, guest) = (world.join(&una).await, world.join(&token).await);
        // A client knows that its connection is up shortly before LiveKit does.
        guest_is(replica, &session, "joined").await;
        Self { session, host, guest, token }
    }

    async fn kick(&self, replica: &Replica) {
        let path = format!("/api/sessions/{}/livekit/kick", self.session);
        let (status, answer) = replica.post("una", &path, json!({"userId": "gus"})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
}

/// Waits until the status page shows this status of the guest.
async fn guest_is(replica: &Replica, session: &str, wanted: &str) {
    let path = format!("/api/sessions/{session}/livekit/status");
    testkit::eventually(&format!("the guest is {wanted}"), async || {
        let (_, answer) = replica.get("una", &path).await;
        let participants = answer["data"]["participants"].as_array().unwrap();
        let gus = participants.iter().find(|one| one["userId"] == "gus").cloned();
        if gus.as_ref().is_some_and(|gus| gus["status"] == wanted) { Ok(()) } else { Err(gus) }
    })
    .await;
}

#[testkit::test]
async fn host_and_guest_receive_each_others_media(mut world: World) {
    let replica = world.replica().await;
    let Call { host, guest, .. } = Call::begin(&world, &replica).await;
    for (one, other) in [(&host, &guest), (&guest, &host)] {
        for track in [Track::camera(), Track::microphone()] {
            let sid = one.publish(track).await;
            other.receives(&sid).await;
        }
        one.0.send(b"hello", true);
        other.0.until("the message", |seen| seen.payloads() == [b"hello"]).await.unwrap();
    }
}

/// I9, with both tokens that a client has: the one from Greenroom, and the one to which LiveKit renewed it.
#[testkit::test]
async fn kicked_client_stays_out_with_old_tokens(mut world: World) {
    let replica = world.replica().await;
    let call = Call::begin(&world, &replica).await;
    let renewed = call.guest.0.find("a renewed token", |seen| seen.refreshed_token.clone()).await.unwrap();
    let camera = call.guest.publish(Track::camera()).await;
    call.host.receives(&camera).await;
    call.kick(&replica).await;
    assert_eq!(call.guest.ended().await, Some(DisconnectReason::ParticipantRemoved));
    for token in [&call.token, &renewed] {
        let Err(Error::Left(leave)) = call.guest.0.resume_with(token.clone()).await else {
            panic!("the session was resumed")
        };
        assert_eq!(leave.action(), Action::Reconnect);
        world.join_and_be_removed(token).await;
    }
    call.host.0.until("the guest is gone", |seen| !seen.others.contains_key("gus")).await.unwrap();
    guest_is(&replica, &call.session, "kicked").await;
}

/// I9: LiveKit does not remove the client at first, so it accepts the resume.
#[testkit::test]
async fn kicked_client_that_resumes_is_removed(mut world: World) {
    let replica = world.replica().await;
    let Some(livekit) = world.stand_in() else { return };
    let call = Call::begin(&world, &replica).await;
    livekit.faults().set("RemoveParticipant", Fault::Refuse { code: Code::Internal });
    livekit.set_webhook_urls(Vec::new());
    call.guest.0.cut_socket();
    call.kick(&replica).await;
    call.guest.0.resume().await.unwrap();
    livekit.faults().clear();
    assert_eq!(call.guest.ended().await, Some(DisconnectReason::ParticipantRemoved));
}

#[testkit::test]
async fn presence_follows_clients(mut world: World) {
    let replica = world.replica().await;
    let Call { session, guest, token, .. } = Call::begin(&world, &replica).await;
    guest.leave().await;
    guest_is(&replica, &session, "left").await;
    let guest = world.join(&token).await;
    guest_is(&replica, &session, "joined").await;
    let sid = guest.0.sid();
    guest.0.cut_socket();
    guest.0.resume().await.unwrap();
    assert_eq!(guest.0.sid(), sid, "a resume changes nothing");
    guest_is(&replica, &session, "joined").await;
}

#[testkit::test]
async fn vanished_client_has_left(connect: PgConnectOptions) {
    let mut world = World::with_fast_disconnects(&connect).await;
    let replica = world.replica().await;
    if world.stand_in().is_none() {
        return;
    }
    let Call { session, guest, host: _host, .. } = Call::begin(&world, &replica).await;
    drop(guest);
    guest_is(&replica, &session, "left").await;
}
