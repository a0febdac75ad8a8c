//! The blocks of README.md, run as a person pastes them.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::program::{Up, open_directory};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
/// The part that is run, from its first heading to the first heading that does not belong to it.
const TUTORIAL: [&str; 2] = ["## A session from booking to end\n", "## Operate\n"];

/// What each run prints, in this order. Other lines may be between these.
const PRINTED: &[&str] = &[
    // a session
    "status: 'active'",
    "200",
    "not_participant: ",
    "slot_taken: ",
    "too_early: ",
    "cancelled",
    "meeting_ended: ",
    "404",
    // a live room
    "livekit: 'ready'",
    "Open evening  live",
    "200",
    "in_room: ",
    "idle",
    "room_not_active: ",
    "404",
    "Open evening  ended",
    "live",
    "idle",
    // a nest
    "ws+livekit://",
    "200",
    "recording: false",
    "200",
    "canPublish: false",
    "canPublish: true",
    "true",
    "one nest: ",
    "room_not_found: ",
    // why a user cannot join
    "meeting_ended  ",
    "room_not_known  ",
    "token_accepted  true",
    "You can join.",
    "not_admin: ",
    // an e-mail
    "Booked: Third lesson",
    // a recording
    "active",
    "already_recording: ",
    "complete",
    "recording_ready",
    "ftyp",
    "true",
    "kicked: ",
    "Room ended successfully",
];

/// The blocks of the tutorial, without those that install something.
fn blocks() -> Vec<String> {
    let readme = fs::read_to_string(README).unwrap();
    let (_, rest) = readme.split_once(TUTORIAL[0]).expect(TUTORIAL[0]);
    let (tutorial, _) = rest.split_once(TUTORIAL[1]).expect(TUTORIAL[1]);
    let blocks = tutorial.split("```sh\n").skip(1).map(|text| text.split_once("```").unwrap().0.to_owned());
    blocks.filter(|block| !block.contains("make call")).collect()
}

/// Runs a script with bash. Both its outputs are in `stdout`, in their order.
async fn bash(script: &str, dir: &Path, environment: &[(&str, &str)], input: &str) -> Output {
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("exec 2>&1\n{script}")]).current_dir(dir).env_clear().kill_on_drop(true);
    bash.env("PATH", std::env::var_os("PATH").unwrap()).envs(environment.iter().copied());
    let mut child = bash.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    tokio::time::timeout(Duration::from_mins(3), child.wait_with_output()).await.expect("it ends").unwrap()
}

#[tokio::test]
async fn readme_tutorial_runs_twice_against_one_up() {
    let dir = open_directory();
    fs::create_dir_all(dir.path().join("target/debug")).unwrap();
    symlink(env!("CARGO_BIN_EXE_greenroom"), dir.path().join("target/debug/greenroom")).unwrap();
    let up = Up::start(&dir.path().join(".data"), &[]).await;
    let script = blocks().concat();
    for run in ["first", "second"] {
        let output = bash(&script, dir.path(), &[("API", &up.url)], "").await;
        let printed = String::from_utf8(output.stdout).unwrap();
        let mut rest = printed.as_str();
        for expected in PRINTED {
            rest = rest.split_once(expected).unwrap_or_else(|| panic!("{run} run, {expected}: {printed}")).1;
        }
        for unexpected in
            ["the answer has no", "no answer", "command not found", "unauthenticated: ", "Error"]
        {
            assert!(!printed.contains(unexpected), "{run} run, {unexpected}: {printed}");
        }
    }
    up.stop(Signal::TERM).await;
}

#[tokio::test]
async fn readme_helper_shows_errors_as_code_and_message() {
    let blocks = blocks();
    assert!(!blocks.concat().contains("eval"), "texts of answers are never run");
    let dir = open_directory();
    let refused = r#"{"error": "Slot Taken", "code": "slot_taken", "message": "Choose another time."}"#;
    let rows =
        r#"{"data": [{"title": "a", "at": {"x": 1}}, {"title": "b", "at": {"x": null}}], "on": false}"#;
    for (arguments, input, code, printed) in [
        ("data.id", refused, 1, "slot_taken: Choose another time.\n"),
        ("data.0.title", rows, 0, "a\n"),
        ("on", rows, 0, "false\n"),
        ("data title at.x", rows, 0, "a  1\nb  \n"),
        ("data.id", rows, 1, "the answer has no data.id\n"),
        ("data.id", "Bad Gateway", 1, "not JSON: Bad Gateway\n"),
        ("data.id", "", 1, "no answer: does `make run` still run?\n"),
    ] {
        let script = format!("{}\njson {arguments}", blocks[0]);
        let output = bash(&script, dir.path(), &[], input).await;
        assert_eq!(String::from_utf8_lossy(&output.stdout), printed, "json {arguments}");
        assert_eq!(output.status.code(), Some(code), "json {arguments}");
    }
}
