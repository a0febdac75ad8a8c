//! Who may call each operation, tested with the real services. The table is compared with the OpenAPI document: a route
//! without cases fails here, and so does an answer that the document does not describe.

use std::collections::BTreeMap;

use gateway::nostr::sign::Keys;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;

use crate::{
    contract::Contract,
    world::{Replica, World},
};

/// The status for: anonymous, stranger, guest, host, admin.
type Cases = [u16; 5];

const EVERYONE: Cases = [200; 5];
const SIGNED_IN: Cases = [401, 200, 200, 200, 200];
const PARTIES: Cases = [401, 403, 200, 200, 403];
const PARTIES_AND_ADMIN: Cases = [401, 403, 200, 200, 200];
const HOST_AND_ADMIN: Cases = [401, 403, 403, 200, 200];
const ADMIN: Cases = [401, 403, 403, 403, 200];
const HOST: Cases = [401, 403, 403, 200, 403];

const CASES: &[(&str, Cases)] = &[
    ("createBooking", [401, 201, 201, 201, 201]),
    ("listBookings", SIGNED_IN),
    ("getBooking", PARTIES_AND_ADMIN),
    ("patchBooking", PARTIES_AND_ADMIN),
    ("cancelBooking", PARTIES_AND_ADMIN),
    ("getCalendar", PARTIES_AND_ADMIN),
    ("getMe", SIGNED_IN),
    ("patchMe", SIGNED_IN),
    ("listNotifications", SIGNED_IN),
    ("listDeliveries", ADMIN),
    ("listStuckRooms", ADMIN),
    ("listOrphans", ADMIN),
    ("getDrift", ADMIN),
    ("listEvents", ADMIN),
    ("readNotification", [401, 404, 404, 200, 404]), // it belongs to the host
    ("createRoom", PARTIES_AND_ADMIN),
    ("getAccessToken", PARTIES),
    ("endRoom", HOST_AND_ADMIN),
    ("getMeetingStatus", PARTIES_AND_ADMIN),
    ("kickParticipant", HOST_AND_ADMIN),
    ("getMyLiveRoom", SIGNED_IN),
    ("saveMyLiveRoom", SIGNED_IN),
    ("getLiveRoom", SIGNED_IN),
    ("patchLiveRoom", HOST),
    ("getLiveRoomState", SIGNED_IN),
    ("listLiveSessions", SIGNED_IN),
    ("goLive", HOST),
    ("startLiveSession", HOST),
    ("openLobby", HOST),
    ("endLiveSession", HOST),
    ("cancelLiveSession", [401, 403, 403, 409, 403]), // it is live
    ("resetLiveRoom", HOST_AND_ADMIN),
    ("markHostPresent", HOST),
    ("markHostAbsent", HOST),
    ("joinLiveRoom", SIGNED_IN),
    ("leaveLiveRoom", SIGNED_IN),
    ("disconnectFromLiveRoom", SIGNED_IN),
    ("getLiveAccessToken", HOST), // the others wait in the lobby
    ("listLobby", HOST),
    ("admitFromLobby", HOST),
    ("admitAllFromLobby", HOST),
    ("rejectFromLobby", HOST),
    ("promoteInLiveRoom", [401, 403, 403, 400, 403]), // the guest waits and has no seat
    ("demoteInLiveRoom", [401, 403, 403, 400, 403]),
    ("muteInLiveRoom", HOST),
    ("kickFromLiveRoom", HOST),
    ("banFromLiveRoom", HOST),
    ("unbanFromLiveRoom", HOST),
    ("raiseHand", [401, 403, 403, 403, 403]), // no seat is taken yet
    ("getLiveSummary", HOST),
    ("startRecording", [401, 403, 403, 202, 403]),
    ("stopRecording", [401, 403, 403, 202, 403]),
    ("listRecordings", PARTIES_AND_ADMIN),
    ("getRecording", PARTIES_AND_ADMIN),
    ("deleteRecording", [401, 403, 403, 204, 403]),
    ("getRecordingFile", [401; 5]), // only signed links open it
    ("startLiveRecording", [401, 403, 403, 202, 403]),
    ("stopLiveRecording", [401, 403, 403, 202, 403]),
    ("listLiveRecordings", HOST),
    ("getLiveRecording", HOST),
    ("deleteLiveRecording", [401, 403, 403, 204, 403]),
    ("getLiveRecordingFile", [401; 5]),
    ("listStreams", SIGNED_IN),
    ("watchStreams", SIGNED_IN),
    ("createStreamTicket", SIGNED_IN),
    ("createNest", [401, 200, 200, 200, 200]),
    ("getNestToken", [401, 200, 200, 200, 200]), // a join makes the caller a participant
    ("getNestGuestToken", EVERYONE),
    ("getNestInfo", EVERYONE),
    ("setNestPermissions", [401, 400, 401, 202, 400]), // 400: the caller is not in the nest
    ("endNest", [401, 401, 401, 204, 401]),
    ("startNestRecording", [401, 400, 400, 202, 400]), // 400: the caller is not an admin of the nest
    ("stopNestRecording", [401, 400, 400, 202, 400]),
    ("deleteNestRecording", [401, 400, 400, 202, 400]),
    ("listNestRecordings", [401, 400, 400, 200, 400]),
    ("getNestRecording", [401, 400, 400, 400, 400]), // the recording still runs
    ("getNestStream", [404; 5]),                     // the nest has no participants
    ("diagnoseRoom", EVERYONE),                      // callers without access get a diagnosis without details
    ("repairRoom", [401, 404, 403, 200, 200]),
    ("receiveWebhook", [401; 5]), // only LiveKit signs webhooks
    ("getHealth", EVERYONE),
    ("getLiveness", EVERYONE),
    ("getReadiness", EVERYONE),
];

fn body(operation: &str, guest: &str, round: usize) -> Option<Value> {
    let soon = chassis::clock::Clock::default().now() + time::Duration::days(30);
    let soon = soon.format(&time::format_description::well_known::Rfc3339).unwrap();
    Some(match operation {
        "createBooking" => {
            json!({"guestId": format!("new {round}"), "title": "Algebra", "scheduledAt": soon, "durationMinutes": 60})
        }
        "patchBooking" => json!({"title": "Geometry"}),
        "patchMe" => json!({"locale": "de", "timeZone": null}),
        "cancelBooking" => json!({"reason": "ill"}),
        "kickParticipant" => json!({"userId": guest}),
        "admitFromLobby" | "rejectFromLobby" | "promoteInLiveRoom" | "demoteInLiveRoom"
        | "kickFromLiveRoom" | "banFromLiveRoom" | "unbanFromLiveRoom" => json!({"user_id": guest}),
        "muteInLiveRoom" => json!({"user_id": guest, "source": "microphone"}),
        "raiseHand" => json!({"raised": true}),
        "goLive" | "saveMyLiveRoom" | "patchLiveRoom" => json!({}),
        "receiveWebhook" => json!({"event": "room_started"}),
        _ => return None,
    })
}

/// Books a meeting for one case, so that a case cannot change the result of the next one.
async fn meeting(replica: &Replica, round: usize) -> (String, String, String, String) {
    let (host, guest) = (format!("host {round}"), format!("guest {round}"));
    let session = replica.book(&host, &guest, 1).await;
    let (_, notifications) = replica.get(&host, "/api/notifications").await;
    let notification = notifications["data"][0]["id"].as_str().unwrap().to_owned();
    (host, guest, session, notification)
}

/// The path of the host's live room: it is live, and the guest waits in its lobby.
async fn live_room(replica: &Replica, host: &str, guest: &str) -> String {
    let (_, mine) = replica.get(host, "/api/v1/live/rooms/me").await;
    let room = mine["room"]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/live/rooms/{room}");
    let (status, answer) =
        replica.post(host, &format!("{path}/sessions"), json!({"auto_admit": false})).await;
    assert_eq!(status.as_u16(), 201, "{answer}");
    let (_, seat) = replica.post(guest, &format!("{path}/join"), json!({})).await;
    assert_eq!(seat["seat"]["lobby_status"], "waiting", "{seat}");
    room
}

/// Records the meeting, or the live room if there is one. Returns the recording's id.
async fn start_recording(replica: &Replica, host: &str, session: &str, room: &str) -> String {
    let (path, id) = if room.is_empty() {
        (format!("/api/sessions/{session}/recordings"), "/data/id")
    } else {
        (format!("/api/v1/live/rooms/{room}/recordings"), "/recording/id")
    };
    let (status, answer) = replica.post(host, &path, json!({})).await;
    assert_eq!(status.as_u16(), 202, "{answer}");
    answer.pointer(id).and_then(Value::as_str).unwrap().to_owned()
}

async fn case(
    replica: &Replica,
    who: usize,
    id: &str,
    method: Method,
    path: &str,
    round: usize,
) -> (StatusCode, Value) {
    let (host, guest, session, notification) = meeting(replica, round).await;
    let room =
        if path.contains("{room_id}") { live_room(replica, &host, &guest).await } else { String::new() };
    let recording = if path.contains("{recording") {
        start_recording(replica, &host, &session, &room).await
    } else {
        String::new()
    };
    let path = path
        .replace("{recordingId}", &recording)
        .replace("{recording_id}", &recording)
        .replace("{room_id}", &room)
        .replace("{ref}", &session)
        .replace("{bookingId}", &session)
        .replace("{sessionId}", &session)
        .replace("{notificationId}", &notification);
    let token = match who {
        0 => None,
        1 => Some(replica.token("stranger")),
        2 => Some(replica.token(&guest)),
        3 => Some(replica.token(&host)),
        _ => Some(replica.token_with("root", json!({"role": "admin"}))),
    };
    replica.send(token, method, &path, body(id, &guest, round)).await
}

/// Records the nest. Returns the recording's id.
async fn record(replica: &Replica, host: &Keys, nest: &str) -> String {
    let path = format!("/api/v1/nests/{nest}/recording");
    let (status, answer) = replica.nostr(Some(host), Method::POST, &path, Some(&json!({}))).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let (_, listed) = replica.nostr(Some(host), Method::GET, &path, None).await;
    listed[0]["id"].as_str().expect("a recording").to_owned()
}

/// Runs a case on a new nest that a guest has joined. The nest has its own admins: our admin is a stranger there.
async fn nest_case(
    replica: &Replica,
    who: usize,
    id: &str,
    method: Method,
    path: &str,
) -> (StatusCode, Value) {
    let [host, guest, stranger, admin] = std::array::from_fn(|_| Keys::generate());
    // The body is needed: without it, two requests within one second would have the same signature.
    let (_, created) = replica.nostr(Some(&host), Method::PUT, "/api/v1/nests", Some(&json!({}))).await;
    let nest = created["roomId"].as_str().expect("a nest").to_owned();
    let (status, answer) =
        replica.nostr(Some(&guest), Method::GET, &format!("/api/v1/nests/{nest}"), None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let keys = [None, Some(&stranger), Some(&guest), Some(&host), Some(&admin)][who];
    let recording = if path.contains("{rid}") { record(replica, &host, &nest).await } else { String::new() };
    let path = path.replace("{id}", &nest).replace("{file}", "live.m3u8").replace("{rid}", &recording);
    let guest = guest.public_key().to_hex();
    let body = (id == "setNestPermissions").then(|| json!({"participant": guest, "can_publish": true}));
    replica.nostr(keys, method, &path, body.as_ref()).await
}

#[testkit::test]
async fn documented_operations_follow_their_access_cases(connect: PgConnectOptions) {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::recording(&connect, folder.path()).await;
    world.services.gateway.auth.admin = Some(gateway::AdminClaim::parse("/role=admin").unwrap());
    let replica = world.replica().await;
    let document = replica.get("reader", "/openapi.json").await.1;
    let contract = Contract::of(document.clone());
    let (mut cases, mut round) = (CASES.iter().copied().collect::<BTreeMap<_, _>>(), 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().expect("an operation id");
            let expected = cases.remove(id).unwrap_or_else(|| panic!("{id} has no authorisation cases"));
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            for (who, expected) in expected.into_iter().enumerate() {
                round += 1;
                let (status, answer) = if operation["tags"] == json!(["Nests"]) {
                    nest_case(&replica, who, id, method.clone(), path).await
                } else {
                    case(&replica, who, id, method.clone(), path, round).await
                };
                assert_eq!(status.as_u16(), expected, "{id} by caller {who}: {answer}");
                contract.check_answer(operation, status, &answer);
            }
        }
    }
    assert!(cases.is_empty(), "cases without a route: {:?}", cases.keys());
}
