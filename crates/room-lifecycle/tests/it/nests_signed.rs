//! A signed request is carried out once. The same event again has the same answer, until its key changes something else.

use chassis::status::Reason;
use domain::NestRole;
use livekit_protocol::TrackSource;
use proto::room::v1::{CreateNestRequest, Proof, SetPermissionsRequest};

use crate::harness::{
    Service, World,
    hosts::person,
    nests::{OpenNest, create, get, key, proof},
    refused,
};

fn create_request(host: &str) -> CreateNestRequest {
    CreateNestRequest { caller: Some(person(host)), proof: Some(proof()), ..CreateNestRequest::default() }
}

/// Allows or forbids the second key to speak, with this proof.
async fn speaks(
    rooms: &Service,
    nest: &OpenNest,
    by: &str,
    can_publish: bool,
    signed: &Proof,
) -> Result<bool, Reason> {
    let amend = |request: &mut SetPermissionsRequest| {
        request.can_publish = Some(can_publish);
        request.proof = Some(signed.clone());
    };
    nest.permit(rooms, (by, &key(2)), amend).await.map_err(|refusal| refusal.reason)
}

async fn is_speaker(rooms: &Service, nest: &OpenNest) -> bool {
    get(rooms, &nest.id.to_string()).await.unwrap().speakers.contains(&key(2))
}

/// A nest with the second key as a listener, and the third as an admin.
async fn nest(world: &World, rooms: &Service) -> OpenNest {
    let nest = world.nest(rooms).await;
    for participant in [key(2), key(3)] {
        nest.join(rooms, &participant).await.unwrap();
    }
    nest.permit(rooms, (&nest.host, &key(3)), |request| request.is_admin = Some(true)).await.unwrap();
    nest
}

#[testkit::test]
async fn same_event_creates_one_nest_over_all_replicas(world: World) {
    let (one, other) = (world.rooms().await, world.rooms().await);
    let request = create_request(&key(1));
    let asked = [&one, &other, &one, &other].map(|rooms| create(rooms, request.clone()));
    let created = futures::future::try_join_all(asked).await.unwrap();
    assert!(created.iter().all(|nest| nest.id == created[0].id), "{created:?}");
    assert_eq!(create(&other, request.clone()).await.unwrap().id, created[0].id);
    assert_eq!(world.count_nests().await, 1, "nests");
    // The same event with another body is another request. So is the next event.
    let mut other_body = request.clone();
    other_body.proof.as_mut().unwrap().body_hash = vec![7; 32];
    create(&one, other_body).await.unwrap();
    create(&other, create_request(&key(1))).await.unwrap();
    assert_eq!(world.count_nests().await, 3, "nests");
    assert_eq!(create(&other, request).await.unwrap_err().reason, Reason::SignatureUsed);
}

#[testkit::test]
async fn same_event_again_is_answered_the_same_and_does_nothing(world: World) {
    let (rooms, other) = (world.rooms().await, world.rooms().await);
    let nest = nest(&world, &rooms).await;
    let (on, unchanged) = (proof(), proof());
    assert_eq!(speaks(&rooms, &nest, &nest.host, true, &on).await, Ok(true));
    assert_eq!(speaks(&other, &nest, &nest.host, true, &on).await, Ok(true), "the same answer");
    // Another admin changes it. The host's event does not change it back.
    assert_eq!(speaks(&rooms, &nest, &key(3), false, &proof()).await, Ok(true));
    assert_eq!(speaks(&other, &nest, &nest.host, true, &on).await, Ok(true));
    assert!(!is_speaker(&rooms, &nest).await, "the second key may not speak");

    assert_eq!(speaks(&rooms, &nest, &nest.host, false, &unchanged).await, Ok(false));
    assert_eq!(speaks(&rooms, &nest, &key(3), true, &proof()).await, Ok(true));
    assert_eq!(speaks(&other, &nest, &nest.host, false, &unchanged).await, Ok(false), "the same answer");
    assert!(is_speaker(&rooms, &nest).await, "the second key may speak");
}

/// Off, on and off within a second: the last one is the event of the first one.
#[testkit::test]
async fn same_event_after_a_later_change_is_signature_used(world: World) {
    let (rooms, other) = (world.rooms().await, world.rooms().await);
    let created = create_request(&key(1));
    let first = create(&rooms, created.clone()).await.unwrap();
    let first = OpenNest { id: first.id.parse().unwrap(), host: first.host };
    first.join(&rooms, &key(2)).await.unwrap();
    let (on, off) = (proof(), proof());
    assert_eq!(speaks(&rooms, &first, &first.host, true, &on).await, Ok(true));

    // A change in another nest is none in this one. For a creation each later change counts.
    world.nest(&rooms).await;
    assert_eq!(speaks(&other, &first, &first.host, true, &on).await, Ok(true));
    assert_eq!(create(&other, created).await.unwrap_err().reason, Reason::SignatureUsed);

    assert_eq!(speaks(&rooms, &first, &first.host, false, &off).await, Ok(true));
    let again = |request: &mut SetPermissionsRequest| request.proof = Some(on.clone());
    let refusal = first.permit(&other, (&first.host, &key(2)), again).await.unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.message.as_str()),
        (
            Reason::SignatureUsed,
            "This signed request was already carried out and something changed since. Sign it again."
        )
    );
    assert!(!is_speaker(&rooms, &first).await);
    assert_eq!(speaks(&rooms, &first, &first.host, true, &proof()).await, Ok(true), "signed again");
    assert!(is_speaker(&rooms, &first).await);
}

#[testkit::test]
async fn proof_of_another_key_or_nest_is_signature_used(world: World) {
    let rooms = world.rooms().await;
    let (nest, elsewhere) = (nest(&world, &rooms).await, world.nest(&rooms).await);
    elsewhere.join(&rooms, &key(2)).await.unwrap();
    let signed = proof();
    speaks(&rooms, &nest, &nest.host, true, &signed).await.unwrap();
    let used = Err(Reason::SignatureUsed);
    assert_eq!(speaks(&rooms, &nest, &key(3), true, &signed).await, used, "another key");
    assert_eq!(speaks(&rooms, &elsewhere, &nest.host, true, &signed).await, used, "another nest");
    let created = CreateNestRequest { proof: Some(signed.clone()), ..create_request(&nest.host) };
    assert_eq!(create(&rooms, created).await.unwrap_err().reason, Reason::SignatureUsed, "no nest");
    assert_eq!(speaks(&rooms, &nest, &nest.host, true, &signed).await, Ok(true));
    assert_eq!(world.count_nests().await, 2, "nests");
}

#[testkit::test]
async fn deletion_again_is_answered_the_same(world: World) {
    let (rooms, other) = (world.rooms().await, world.rooms().await);
    let nest = world.nest(&rooms).await;
    let signed = proof();
    let ends = [&rooms, &other].map(|rooms| nest.end_with(rooms, &nest.host, signed.clone()));
    futures::future::try_join_all(ends).await.unwrap();
    nest.end_with(&other, &nest.host, signed).await.unwrap();
    assert!(!world.nest_is_open(&nest).await, "the nest is open");
    assert_eq!(nest.end(&rooms, &nest.host).await.unwrap_err().reason, Reason::RoomNotFound, "signed again");
}

#[testkit::test]
async fn create_again_is_signature_used_when_the_nest_is_over(world: World) {
    let rooms = world.rooms().await;
    let request = create_request(&key(1));
    create(&rooms, request.clone()).await.unwrap();
    // It ends by itself: its host has made no later change.
    world.execute("update nests set status = 'ended', ended_at = app_now()").await;
    assert_eq!(create(&rooms, request).await.unwrap_err().reason, Reason::SignatureUsed);
    assert_eq!(world.count_nests().await, 1, "nests");
    create(&rooms, create_request(&key(1))).await.unwrap();
}

/// Otherwise the later one of two changes could be applied before the earlier one.
#[testkit::test]
async fn changes_of_one_key_wait_for_each_other(world: World) {
    let rooms = world.rooms().await;
    let nest = nest(&world, &rooms).await;
    let host = nest.host.parse::<domain::Pubkey>().unwrap().to_bytes();
    let mut earlier = chassis::db::begin(&world.pool).await.unwrap();
    sqlx::query!(
        r#"select status from accept_signed('\x01', '\x02', $1, $2, 202::smallint, null)"#,
        host.as_slice(),
        nest.id
    )
    .fetch_optional(&mut *earlier)
    .await
    .unwrap();
    let waits = async || {
        let waiting = sqlx::query_scalar!(
            r#"select exists (select from pg_locks where locktype = 'advisory' and not granted
                              and database = (select oid from pg_database
                                              where datname = current_database())) as "waits!""#
        );
        waiting.fetch_one(&world.pool).await.unwrap().then_some(())
    };
    let release = async {
        testkit::eventually("the later change waits", waits).await;
        assert!(!is_speaker(&rooms, &nest).await);
        // Changes of other keys, and in other nests, do not wait.
        assert_eq!(speaks(&rooms, &nest, &key(3), false, &proof()).await, Ok(false));
        world.nest(&rooms).await;
        earlier.commit().await.unwrap();
    };
    let participant = key(2);
    let (later, ()) = tokio::join!(nest.speaks(&rooms, &participant, true), release);
    assert!(later && is_speaker(&rooms, &nest).await);
}

#[testkit::test]
async fn failed_request_may_be_repeated(world: World) {
    let rooms = world.rooms().await;
    world.execute("alter table livekit_room_names add constraint closed check (false) not valid").await;
    let request = create_request(&key(1));
    create(&rooms, request.clone()).await.unwrap_err();
    assert_eq!(world.count_nests().await, 0, "nests");
    world.execute("alter table livekit_room_names drop constraint closed").await;
    create(&rooms, request).await.unwrap();
}

#[testkit::test]
async fn request_without_an_answer_is_carried_out_again(world: World) {
    let rooms = world.rooms().await;
    let (nest, ann) = (world.nest(&rooms).await, key(2));
    nest.join(&rooms, &ann).await.unwrap();
    nest.speaks(&rooms, &ann, true).await;
    world.enter_nest(&nest, &ann, NestRole::Speaker).await;
    let room = world.nest_record(&nest).await.room_name;
    world.server().publish(&room, &ann, TrackSource::Microphone).unwrap();
    let signed = proof();
    let mute = || {
        nest.permit(&rooms, (&nest.host, &ann), |request| {
            request.mute_microphone = Some(true);
            request.proof = Some(signed.clone());
        })
    };
    world.server().faults().set("MutePublishedTrack", refused());
    assert_eq!(mute().await.unwrap_err().reason, Reason::LivekitUnavailable);
    world.server().faults().clear();
    assert_eq!(mute().await, Ok(true));
    let calls = world.server().calls("MutePublishedTrack");
    assert_eq!(mute().await, Ok(true), "the same answer");
    assert_eq!(world.server().calls("MutePublishedTrack"), calls, "calls to mute");
}

#[testkit::test]
async fn passes_forget_only_expired_requests(world: World) {
    let rooms = world.rooms().await;
    world
        .execute(
            "insert into nostr_seen (event_id, body_hash, pubkey, accepted_at)
             select sha256(n::text::bytea), sha256('old'), sha256('key'),
                    clock_timestamp() - interval '10 minutes 1 s'
             from generate_series(1, 12000) n",
        )
        .await;
    let request = create_request(&key(1));
    let created = create(&rooms, request.clone()).await.unwrap();
    rooms.pass().await.unwrap();
    let left = sqlx::query_scalar!(r#"select count(*) as "n!" from nostr_seen"#);
    assert_eq!(left.fetch_one(&world.pool).await.unwrap(), 1);
    assert_eq!(create(&rooms, request).await.unwrap().id, created.id);
}
