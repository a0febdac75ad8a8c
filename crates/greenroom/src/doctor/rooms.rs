//! `doctor`'s comparison of the rooms in the database with those on LiveKit, and the stray rows of the listing.
//!
//! A room may be created or deleted while it is compared. So what is found counts only if a second look finds it too.

use std::{collections::HashSet, hash::Hash, time::Duration};

use chassis::lifecycle::Lifecycle;
use room_lifecycle::{
    Error,
    admin::{Admin, repair::Findings},
    config::{Pace, Policy, Timeouts},
    kinds, nests,
    rooms::{self, Rooms, orphans::Strays, store::Record},
};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Failure, Outcome, Report, Target, database::failed};

pub const CHECKS: [&str; 2] = ["rooms_missing", "orphans"];
pub const STRAYS: &str = "strays";

/// Between the two looks.
const SECOND_LOOK_AFTER: Duration = Duration::from_secs(3);
/// A room that opens within this time is needed now.
const SOON: time::Duration = time::Duration::minutes(30);
/// How many names are printed.
const NAMED: usize = 3;

pub async fn examine(pool: &PgPool, target: &Target, report: &mut Report) {
    match admin(pool, target).await {
        Ok(admin) => {
            report.check(CHECKS[0], async { missing(&admin).await.unwrap_or_else(not_compared) }).await;
            report.check(CHECKS[1], async { orphans(&admin).await.unwrap_or_else(not_compared) }).await;
        }
        Err(error) => {
            let why = error.to_string();
            for check in CHECKS {
                report.check(check, async { Outcome::Skipped(why.clone()) }).await;
            }
        }
    }
}

/// The functions of `greenroom repair`, which only look here. The caller has checked that the deployment is set up:
/// otherwise this would set it up.
async fn admin(pool: &PgPool, target: &Target) -> Result<Admin, Error> {
    let settings = rooms::Settings {
        livekit: target.livekit.clone(),
        policy: Policy { at_booking: true, token_ttl: Duration::from_hours(1) },
        kinds: kinds::Settings { nest_link: nests::link::EventKind::default() },
        answer_timeout: Timeouts::default().answer,
        pace: Pace::default(),
    };
    Ok(Admin::new(Rooms::new(&settings, pool.clone(), &Lifecycle::new()).await?))
}

fn not_compared(error: Error) -> Outcome {
    Outcome::Failed(match error {
        Error::Database(error) => failed(&error),
        error => Failure::new(
            format!("the rooms could not be compared: {error}"),
            "see the log of LiveKit, and run `greenroom doctor` again",
        ),
    })
}

async fn missing(admin: &Admin) -> Result<Outcome, Error> {
    let Findings { missing: first, .. } = admin.find_broken().await?;
    let missing = if first.is_empty() {
        first
    } else {
        tokio::time::sleep(SECOND_LOOK_AFTER).await;
        let Findings { missing: mut second, .. } = admin.find_broken().await?;
        let before: HashSet<_> = first.into_iter().map(|room| room.id).collect();
        second.retain(|room| before.contains(&room.id));
        second
    };
    let is_soon = |room: &&Record| room.opens_at <= room.now + SOON;
    let soon = missing.iter().filter(is_soon).count();
    let names = named(missing.iter().map(|room| room.room_name.as_str()));
    let failure = |cause: String| {
        Failure::new(
            cause,
            "room-lifecycle creates them within a minute: see its log, and `greenroom_rooms_missing`; if it does not \
             run, `greenroom repair rooms`. If LiveKit has lost all rooms, check that it has Redis",
        )
    };
    Ok(match (missing.len(), soon) {
        (0, _) => Outcome::Passed("LiveKit has all rooms that are active in the database".to_owned()),
        (all, 0) => Outcome::Warned(failure(format!(
            "{all} rooms are active in the database and missing on LiveKit; none of them opens within \
             30 minutes: {names}"
        ))),
        (all, soon) => Outcome::Failed(failure(format!(
            "{all} rooms are active in the database and missing on LiveKit, {soon} of them open now or within 30 \
             minutes: {names}"
        ))),
    })
}

async fn orphans(admin: &Admin) -> Result<Outcome, Error> {
    let mut found = admin.find_orphans().await?;
    if total(&found) > 0 {
        tokio::time::sleep(SECOND_LOOK_AFTER).await;
        let second = admin.find_orphans().await?;
        found = Strays {
            retired: both(found.retired, second.retired),
            unknown: both(found.unknown, second.unknown),
            inhabited: both(found.inhabited, second.inhabited),
            unchecked: second.unchecked,
        };
    }
    if total(&found) == 0 {
        return Ok(Outcome::Passed("Every room of ours on LiveKit has an open owner".to_owned()));
    }
    let Strays { retired, unknown, inhabited, .. } = &found;
    let names = named(retired.iter().chain(unknown).chain(inhabited).map(String::as_str));
    Ok(Outcome::Warned(Failure::new(
        format!(
            "{} rooms of ours on LiveKit have no open owner ({} retired, {} unknown and empty, {} unknown with \
             participants): {names}",
            total(&found),
            retired.len(),
            unknown.len(),
            inhabited.len()
        ),
        "room-lifecycle deletes the first two kinds within a minute, unless they are too many: then check that this is \
         the right database, and run `greenroom repair orphans`, which lists them, and `--yes`, which deletes them",
    )))
}

fn total(strays: &Strays) -> usize {
    strays.retired.len() + strays.unknown.len() + strays.inhabited.len()
}

fn both<T: Hash + Eq>(first: Vec<T>, mut second: Vec<T>) -> Vec<T> {
    let first: HashSet<T> = first.into_iter().collect();
    second.retain(|one| first.contains(one));
    second
}

fn named<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.take(NAMED + 1).collect();
    if names.len() > NAMED {
        names[NAMED] = "…";
    }
    names.join(", ")
}

/// Counts rows of the listing that say live and belong to no live room.
pub async fn strays(pool: &PgPool) -> Outcome {
    match sync::store::count_strays(pool, Uuid::nil(), Uuid::max()).await {
        Ok(0) => Outcome::Passed("Every row of the listing that says live belongs to a live room".to_owned()),
        Ok(strays) => Outcome::Warned(Failure::new(
            format!("{strays} rows of community_live_streams say live and belong to no live room"),
            "if no other program owns them, `greenroom repair listing --end-strays` ends them (first with --dry-run)",
        )),
        Err(error) => Outcome::Failed(failed(&error)),
    }
}
