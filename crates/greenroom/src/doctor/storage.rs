//! `doctor`'s check of the output of recordings, with an object of its own.

use chassis::config::check;
use room_lifecycle::recordings::{
    output::Output,
    probe::{ProbeFailure, Probed, Step},
    settings::OutputSettings,
};
use uuid::Uuid;

use super::{Failure, Outcome, Report, Target};

/// Checks the output. Returns it if files can be read from it.
pub async fn examine(target: &Target, report: &mut Report) -> Option<Output> {
    if !target.records() {
        report
            .check("storage", async {
                Outcome::Skipped("RECORDING_OUTPUT is not set, so nothing can be recorded".to_owned())
            })
            .await;
        return None;
    }
    let opened = open(target);
    let works = report
        .check("storage", async {
            match &opened {
                Ok((output, place)) => probe(output, place).await,
                Err(cause) => Outcome::Failed(Failure::new(
                    cause,
                    "correct the settings of recordings (docs/recording.md, \"Settings\")",
                )),
            }
        })
        .await;
    opened.ok().filter(|_| works).map(|(output, _)| output)
}

/// The output of the settings, and what to call it.
fn open(target: &Target) -> Result<(Output, String), String> {
    let settings = check(|problems| target.recordings.clone().check(problems).output).map_err(|invalid| {
        format!("room-lifecycle does not start with these settings: {}", invalid.in_one_line())
    })?;
    let place = match &settings {
        OutputSettings::Folder { read, .. } => format!("the folder {}", read.display()),
        OutputSettings::Bucket { name, .. } => format!("the bucket {name}"),
    };
    let output = Output::new(&settings).map_err(|error| format!("{place} cannot be opened: {error}"))?;
    Ok((output, place))
}

async fn probe(output: &Output, place: &str) -> Outcome {
    let name = format!("greenroom-doctor-{}", Uuid::new_v4());
    match output.probe(&name).await {
        Ok(Probed::Whole) => Outcome::Passed(format!("An object was written to {place}, read and deleted")),
        Ok(Probed::WithoutWriting) => Outcome::Warned(Failure::new(
            format!("S3_ACCESS_KEY may not write to {place}; it may find and delete objects"),
            "nothing, if recorders have a key of their own that may write (deploy/egress.yaml); `doctor --deep` \
             checks it",
        )),
        Err(failure) => Outcome::Failed(explain(failure, place, &name)),
    }
}

fn explain(ProbeFailure { step, why, is_left }: ProbeFailure, place: &str, name: &str) -> Failure {
    let consequence = match step {
        Step::Write => "recorders may not write either",
        Step::Find | Step::Read => "recordings are not found, and fail after a day",
        Step::Delete => "recordings that users delete, or that are too old, stay there",
    };
    let rest = if is_left { format!(" The object {name} is still there.") } else { String::new() };
    let cause =
        format!("{place} does not let us {} an object, so {consequence}: {why}.{rest}", step.as_str());
    let fix = if place.starts_with("the folder") {
        "check that the folder exists, has space, and belongs to the user of room-lifecycle (RECORDING_READ, \
         docs/recording.md)"
    } else {
        "check S3_ENDPOINT and S3_REGION, and that S3_ACCESS_KEY may s3:ListBucket, s3:GetObject and s3:DeleteObject \
         (docs/recording.md)"
    };
    Failure::new(cause, fix)
}
