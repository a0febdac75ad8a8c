//! The UDP port and address of the built-in LiveKit's media: `--rtc-port` and `--rtc-address`.

use std::{fs, net::UdpSocket, path::Path, process::Stdio};

use livekit_api::access_token::{AccessToken, VideoGrants};
use rtc_client::{Client, Options, Track};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

use crate::program::{Up, command, greenroom, open_directory};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A port that is in use until the socket is dropped.
fn taken() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// The values that `up` keeps from one start to the next.
fn kept(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("kept.json")).unwrap()).unwrap()
}

fn keep(dir: &Path, rtc_port: u16) {
    let kept = json!({
        "internal_token": SECRET, "livekit_api_key": "devkey", "livekit_api_secret": SECRET,
        "sign_in_secret": SECRET, "rtc_port": rtc_port,
    });
    fs::write(dir.join("kept.json"), kept.to_string()).unwrap();
}

/// Starts and stops `up`. Returns the log line with the media address, and the port that is kept.
async fn start(dir: &Path, arguments: &[&str]) -> (String, u64) {
    let up = Up::start_with(dir, arguments, &[]).await;
    let log = up.log();
    let line = log.lines().find(|line| line.contains("media over UDP")).expect(&log).to_owned();
    up.stop(Signal::TERM).await;
    (line, kept(dir)["rtc_port"].as_u64().unwrap())
}

#[tokio::test]
async fn free_media_port_is_kept_when_the_default_is_taken() {
    let dir = open_directory();
    let (held, usual) = taken();
    keep(dir.path(), usual);
    let (line, free) = start(dir.path(), &[]).await;
    assert_ne!(free, u64::from(usual));
    assert!(line.contains(&format!("127.0.0.1:{free}")), "{line}");
    drop(held);
    let (line, again) = start(dir.path(), &[]).await;
    assert_eq!(again, free);
    assert!(line.contains(&format!("127.0.0.1:{free}")), "{line}");
    // A port that was set is kept too.
    let asked = {
        let (_held, port) = taken();
        port
    };
    let (line, kept) = start(dir.path(), &["--rtc-port", &asked.to_string()]).await;
    assert_eq!(kept, u64::from(asked));
    assert!(line.contains(&format!("127.0.0.1:{asked}")), "{line}");
}

#[tokio::test]
async fn taken_media_port_is_an_error_when_set() {
    let (_held, port) = taken();
    let named = format!("--rtc-port: UDP port {port} cannot be used");
    let dir = open_directory();
    let data_dir = dir.path().to_str().unwrap().to_owned();
    let port = port.to_string();
    for arguments in [
        ["livekit-dev", "--rtc-port", &port, "--listen", "127.0.0.1:0"].as_slice(),
        &[
            "up",
            "--rtc-port",
            &port,
            "--listen",
            "127.0.0.1:0",
            "--ops-listen",
            "127.0.0.1:0",
            "--data-dir",
            &data_dir,
        ],
    ] {
        let result = greenroom(arguments, &[]).await;
        assert_eq!(result.code, 1, "{}", result.err);
        assert!(result.err.contains(&named), "{}", result.err);
    }
}

/// A running `greenroom livekit-dev`, its line about media, and its URL.
async fn livekit_dev(arguments: &[&str]) -> (Child, String, String) {
    let usual = ["livekit-dev", "--listen", "127.0.0.1:0", "--auto-create", "--api-secret", SECRET];
    let arguments = [&usual, arguments].concat();
    let mut child = command(&arguments, &[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut media = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some(url) = line.strip_prefix("ready ") {
            return (child, media, url.to_owned());
        }
        if line.starts_with("media over UDP") {
            media = line;
        }
    }
    panic!("livekit-dev ended: {media}");
}

async fn join(url: &str, identity: &str) -> Client {
    let grants = VideoGrants { room_join: true, room: "room".to_owned(), ..VideoGrants::default() };
    let token = AccessToken::with_api_key("devkey", SECRET).with_identity(identity).with_grants(grants);
    Client::connect(Options::new(url, &token.to_jwt().unwrap())).await.unwrap()
}

#[tokio::test]
async fn media_flows_over_the_given_address() {
    let (_child, media, url) = livekit_dev(&["--rtc-address", "127.0.0.2", "--rtc-port", "0"]).await;
    let port = media.split_once(" 127.0.0.2:").expect(&media).1.split_once(' ').unwrap().0;
    assert_ne!(port, "0", "{media}");
    let (ann, bob) = (join(&url, "ann").await, join(&url, "bob").await);
    let camera = ann.publish(Track::camera()).await.unwrap();
    bob.until("frames", |seen| seen.frames(&camera.sid) > 2).await.unwrap();
    assert!(UdpSocket::bind(format!("127.0.0.2:{port}")).is_err(), "{media}");
}
