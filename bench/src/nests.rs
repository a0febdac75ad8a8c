//! The requests of nests' clients: a signed join of a participant, a guest's join, and the public information. They are
//! compared with the bare baseline (a). A signed request is compared with (a) plus the measured cost of one Schnorr
//! verification for each request.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use gateway::nostr::{
    nip98::{Expected, verify},
    sign::{Keys as NostrKeys, authorization},
};
use http::StatusCode;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    fixture::Fixture,
    load::{self, Load, Prepared, Requests},
    stack::{Keys, PUBLIC_URL, Stack},
    table::{Table, median},
    users::{self, SignIn},
};

const CONNECTIONS: usize = 32;
const NESTS: i32 = 64;
const PROOFS: i32 = 10_000;
const WARM_UP: Duration = Duration::from_secs(1);

/// The requests: a name, and the lowest ratio to (a) that issue 4 requires.
const KINDS: [(&str, f64); 3] =
    [("`GET /{id}`, signed", 0.6), ("`GET /{id}/guest`", 0.7), ("`GET /{id}/info`", 0.8)];

pub async fn measure(fixture: &Fixture) -> Result<String> {
    let secret = SignIn::hs256();
    let parties = users::book(&fixture.database.pool, NESTS).await?;
    let (_store, store_address) = fixture.baseline("baseline-store", None).await?;
    let (_http, http_address) = fixture.baseline("baseline-http", Some(store_address)).await?;
    let split = Stack::split(&fixture.greenroom, &fixture.shared, Keys::Secret(&secret)).await?;
    let keys = NostrKeys::generate();
    let nests = create(&fixture.database.pool, &keys.public_key().to_hex()).await?;
    let plain = Requests::repeated(
        parties
            .iter()
            .map(|party| Prepared::get(format!("/{}/{}", party.booking, party.user), None))
            .collect(),
    );
    let (mut base, mut loads): (Vec<Load>, [Vec<Load>; 3]) = Default::default();
    let cost = verification(&keys)?;
    for (kind, _) in KINDS.iter().enumerate() {
        let warm_up = requests(kind, &nests, &keys)?;
        load::run(split.address, &warm_up, CONNECTIONS, WARM_UP, StatusCode::OK).await?;
    }
    load::run(http_address, &plain, CONNECTIONS, WARM_UP, StatusCode::OK).await?;
    for round in 0..fixture.settings.rounds {
        eprintln!("round {}: nests", round + 1);
        base.push(load::run(http_address, &plain, CONNECTIONS, fixture.settings.time, StatusCode::OK).await?);
        for (kind, of_kind) in loads.iter_mut().enumerate() {
            let signed = requests(kind, &nests, &keys)?; // signed again: signatures are valid for two minutes
            let load =
                load::run(split.address, &signed, CONNECTIONS, fixture.settings.time, StatusCode::OK).await?;
            ensure!(load.failed * 1000 <= load.count(), "{} requests failed", load.failed);
            of_kind.push(load);
        }
    }
    split.stop().await?;
    let proofs = proofs(&fixture.database.pool).await?;
    Ok(report(&base, &loads, cost, proofs))
}

/// Creates open nests whose host has this key. Their rooms are created at the first request of a token.
async fn create(pool: &PgPool, key: &str) -> Result<Vec<Uuid>> {
    let created = sqlx::query_scalar!(
        r#"with created as (
               insert into nests (created_by, relays)
               select $1, array['wss://relay.example.org'] from generate_series(1, $2) returning id)
           insert into nest_participants (nest_id, pubkey, is_admin, is_speaker)
           select id, $1, true, true from created
           returning nest_id"#,
        key,
        NESTS
    );
    Ok(created.fetch_all(pool).await?)
}

fn requests(kind: usize, nests: &[Uuid], keys: &NostrKeys) -> Result<Arc<Requests>> {
    let request = |nest: &Uuid| {
        let path = format!("/api/v1/nests/{nest}");
        Ok(match kind {
            0 => {
                let signed = sign(keys, &path)?;
                Prepared { authorization: Some(signed), ..Prepared::get(path, None) }
            }
            1 => Prepared::get(format!("{path}/guest"), None),
            _ => Prepared::get(format!("{path}/info"), None),
        })
    };
    Ok(Requests::repeated(nests.iter().map(request).collect::<Result<_>>()?))
}

fn sign(keys: &NostrKeys, path: &str) -> Result<String> {
    authorization(keys, "GET", &format!("{PUBLIC_URL}{path}"), None, unix_now()?)
        .map_err(|error| anyhow::anyhow!("the request could not be signed: {error}"))
}

/// Measures the CPU time of one complete NIP-98 verification on one core. Nearly all of it is the Schnorr verification.
fn verification(keys: &NostrKeys) -> Result<Duration> {
    let path = "/api/v1/nests/";
    let header = sign(keys, path)?;
    let bases = [PUBLIC_URL.parse()?];
    let uri = path.parse().context("a path")?;
    let now = i64::try_from(unix_now()?)?;
    let expected = Expected { bases: &bases, method: "GET", uri: &uri, now, window: Duration::from_mins(1) };
    let (started, mut times) = (Instant::now(), 0_u32);
    while started.elapsed() < Duration::from_secs(1) {
        ensure!(verify(header.as_bytes(), &expected).is_ok(), "our own signature is refused");
        times += 1;
    }
    Ok(started.elapsed() / times.max(1))
}

/// Returns the bytes that the proofs take in the database, with their indexes.
async fn proofs(pool: &PgPool) -> Result<i64> {
    sqlx::query!(
        "insert into nostr_seen (event_id, body_hash, pubkey, nest_id, status)
         select sha256(n::text::bytea), sha256(('body ' || n)::bytea), sha256('key'), gen_random_uuid(), 202
         from generate_series(1, $1) n",
        PROOFS
    )
    .execute(pool)
    .await?;
    Ok(sqlx::query_scalar!(r#"select pg_total_relation_size('nostr_seen') as "bytes!""#)
        .fetch_one(pool)
        .await?)
}

fn report(base: &[Load], loads: &[Vec<Load>; 3], cost: Duration, proofs: i64) -> String {
    let mut table = Table::new(
        "32 connections, 64 nests, services in their own processes",
        &["", "requests/s", "p50 ms", "p99 ms", "rate : baseline", "wanted"],
    );
    let row = |table: &mut Table, name: &str, loads: &[Load], ratio: String, wanted: String| {
        let of = |value: fn(&Load) -> f64| median(loads.iter().map(value));
        table.row(&[
            name.to_owned(),
            format!("{:.0}", of(Load::per_second)),
            format!("{:.2}", of(|load| load.percentile(50))),
            format!("{:.2}", of(|load| load.percentile(99))),
            ratio,
            wanted,
        ]);
    };
    row(&mut table, "(a) axum → tonic → SELECT", base, String::new(), String::new());
    #[expect(clippy::cast_precision_loss, reason = "a handful of cores")]
    let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    for (kind, ((name, wanted), loads)) in KINDS.into_iter().zip(loads).enumerate() {
        // The baseline of a signed request includes the CPU time of one verification.
        let added = if kind == 0 { cost.as_secs_f64() / cores } else { 0.0 };
        let ratios = loads
            .iter()
            .zip(base)
            .map(|(load, base)| load.per_second() / (1.0 / (1.0 / base.per_second() + added)));
        row(&mut table, name, loads, format!("**{:.2}**", median(ratios)), format!("≥ {wanted:.1}"));
    }
    #[expect(clippy::cast_precision_loss, reason = "a few MiB")]
    let mib = proofs as f64 / 1_048_576.0;
    format!(
        "## Nests\n\n{}\nOne NIP-98 verification takes {:.0} µs of a core; the baseline of the signed request is (a) with \
         that much more for each.\n\n{PROOFS} proofs take **{mib:.1} MiB** in the database, indexes among them (< 4); the \
         gateway keeps none.\n",
        table.finish(),
        cost.as_secs_f64() * 1e6,
    )
}

#[expect(clippy::disallowed_methods, reason = "the client's clock, not Greenroom's")]
fn unix_now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}
