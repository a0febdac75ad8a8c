//! The function of a page that docs/browsers.md and the OpenAPI document show, run as it is written there.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use crate::{
    fakes::{ROOM, stream},
    streams::LISTING,
    support::{Gateway, SECRET, claims},
};

/// Returns the only block of JavaScript in a text.
fn script(text: &str) -> String {
    let (_, rest) = text.split_once("```js\n").expect("a block of JavaScript");
    let (script, after) = rest.split_once("```").expect("the end of the block");
    assert!(!after.contains("```js"), "one block");
    script.to_owned()
}

fn documented() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/browsers.md");
    script(&fs::read_to_string(page).expect("docs/browsers.md"))
}

#[test]
fn openapi_and_docs_show_the_same_six_lines() {
    let document = gateway::openapi(None).unwrap();
    let operation = &document["paths"][format!("{LISTING}/ticket")]["post"];
    let shown = script(operation["description"].as_str().unwrap());
    assert_eq!(shown, documented());
    assert_eq!(shown.lines().count(), 2 + 6, "the head of the function, six lines, its end");
}

/// Passes connections on, and can cut them.
struct Wire {
    address: SocketAddr,
    open: Arc<Mutex<CancellationToken>>,
}

impl Wire {
    async fn to(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Self { address: listener.local_addr().unwrap(), open: Arc::default() };
        let open = Arc::clone(&wire.open);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let cut = open.lock().unwrap().clone();
                tokio::spawn(cut.run_until_cancelled_owned(async move {
                    let mut server = TcpStream::connect(gateway).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }));
            }
        });
        wire
    }

    fn cut(&self) {
        std::mem::take(&mut *self.open.lock().unwrap()).cancel();
    }
}

/// A page that listens, in Node.js: it prints each sign-in and each row that it shows.
struct Page {
    _process: Child,
    printed: watch::Receiver<Vec<String>>,
}

impl Page {
    /// Opens a page whose sign-ins are valid for these numbers of seconds. All further ones have the last number.
    fn open(wire: &Wire, lifetimes: &[i64]) -> Self {
        let streams = format!("http://{}{LISTING}", wire.address);
        let (lifetimes, claims, listen) = (json!(lifetimes), claims("ana"), documented());
        // Signed by the page: a token of this process could expire while Node.js starts.
        let page = format!(
            "const streams = {streams:?}, lifetimes = {lifetimes}, claims = {claims};
            const encode = (part) => Buffer.from(JSON.stringify(part)).toString('base64url');
            const token = async () => {{
                console.log('sign-in');
                const lifetime = lifetimes.length > 1 ? lifetimes.shift() : lifetimes[0];
                const exp = Math.floor(Date.now() / 1000) + lifetime;
                const text = encode({{ alg: 'HS256' }}) + '.' + encode({{ ...claims, exp }});
                return text + '.' + crypto.createHmac('sha256', {SECRET:?}).update(text).digest('base64url');
            }};
            const show = (row) => console.log(row.version);
            const readListing = () => console.log('read the listing');
            setInterval(() => {{}}, 60_000); // Node.js would end between two connections
            {listen}
            listen(0);"
        );
        let mut command = Command::new("node");
        command.args(["--experimental-eventsource", "--no-warnings", "--eval", &page]);
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("Node.js");
        let (written, printed) = watch::channel(Vec::new());
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                written.send_modify(|lines| lines.push(line));
            }
        });
        Self { _process: process, printed }
    }

    /// Waits until the page has printed exactly these lines. A browser waits up to 5 s before each reconnection.
    async fn expect(&mut self, expected: &[&str]) {
        let reached = self.printed.wait_for(|lines| lines == expected);
        let in_time =
            tokio::time::timeout(Duration::from_secs(40), reached).await.is_ok_and(|found| found.is_ok());
        assert!(in_time, "expected {expected:?}, got {:?}", *self.printed.borrow());
    }
}

#[tokio::test]
async fn documented_page_listens_over_cuts_and_new_tickets() {
    let gateway = Gateway::start().await;
    let (listing, wire) = (gateway.fake.listing(), Wire::to(gateway.address).await);
    listing.write(stream(ROOM, 1));
    let mut page = Page::open(&wire, &[600]);
    page.expect(&["sign-in", "1"]).await;
    for version in 2..=3 {
        wire.cut();
        listing.write(stream(ROOM, version));
        let rows: Vec<String> = (1..=version).map(|row| row.to_string()).collect();
        let expected: Vec<&str> = ["sign-in"].into_iter().chain(rows.iter().map(String::as_str)).collect();
        page.expect(&expected).await; // with the same ticket, without gaps and repetitions
    }
    drop(page);

    let mut page = Page::open(&wire, &[5, 600]);
    page.expect(&["sign-in", "1", "2", "3", "sign-in"]).await;
    listing.write(stream(ROOM, 4));
    page.expect(&["sign-in", "1", "2", "3", "sign-in", "4"]).await;
}

#[tokio::test]
async fn documented_page_reads_the_listing_after_a_reset() {
    let gateway = Gateway::start().await;
    gateway.fake.listing().write(stream(ROOM, 5));
    gateway.fake.listing().forget();
    let mut page = Page::open(&Wire::to(gateway.address).await, &[600]);
    page.expect(&["sign-in", "read the listing"]).await;
}
