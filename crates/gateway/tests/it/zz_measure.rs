//! ad hoc
use std::time::{Duration, Instant};
use tokio::{io::{AsyncReadExt as _, AsyncWriteExt as _}, net::{TcpListener, TcpStream}};
use crate::{fakes::{Fake, ROOM, stream}, streams::LISTING, support::{args, checked, peers, routes, token}};
use testkit::{internal, runtime, serve_routes};

fn rss() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    text.lines().find(|l| l.starts_with("VmRSS")).unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measure() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let n: usize = 5000;
    let mut config = checked(args());
    config.rates.user = gateway::Rate::new(1_000_000, 1_000_000);
    let (fake, runtime) = (Fake::default(), runtime());
    let served = serve_routes(routes(&fake, true), &internal(), &runtime.lifecycle).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = gateway::start(&config, peers(&served.transport), &runtime).unwrap();
    let lifecycle = runtime.lifecycle.clone();
    tokio::spawn(async move { chassis::http::serve(router, listener, &lifecycle, chassis::http::Bounds::of(8192)).await });
    let token = token("ana");
    let before = rss(); let snap = counting::snapshot();
    let mut clients = Vec::with_capacity(n);
    for _ in 0..n {
        let mut c = TcpStream::connect(address).await.unwrap();
        c.write_all(format!("GET {LISTING}/events HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\naccept: text/event-stream\r\n\r\n").as_bytes()).await.unwrap();
        let mut b = [0; 1024];
        let mut got = String::new();
        while !got.contains("id: 0") { let k = c.read(&mut b).await.unwrap(); got.push_str(&String::from_utf8_lossy(&b[..k])); }
        clients.push(c);
    }
    println!("rss before {before} KiB, with {n}: {} KiB, each {:.2} KiB", rss(), (rss() - before) as f64 / n as f64);
    report(&snap, n);
    for round in 1..=5 {
        let started = Instant::now();
        fake.listing().write(stream(ROOM, round));
        let mut longest = Duration::ZERO;
        for c in &mut clients {
            let mut b = [0; 2048];
            let mut got = String::new();
            while !got.contains("\n\n") { let k = c.read(&mut b).await.unwrap(); got.push_str(&String::from_utf8_lossy(&b[..k])); }
            longest = longest.max(started.elapsed());
        }
        println!("change {round}: all in {longest:?}; rss {} KiB each {:.2}", rss(), (rss() - before) as f64 / n as f64);
    }
}

#[allow(unsafe_code, clippy::all)]
mod counting {
    use std::{alloc::{GlobalAlloc, Layout, System}, sync::atomic::{AtomicI64, Ordering}};
    pub struct Counting;
    pub static LIVE: [AtomicI64; 40_000] = [const { AtomicI64::new(0) }; 40_000];
    fn slot(size: usize) -> usize { size.min(39_999) }
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, l: Layout) -> *mut u8 { LIVE[slot(l.size())].fetch_add(1, Ordering::Relaxed); unsafe { System.alloc(l) } }
        unsafe fn dealloc(&self, p: *mut u8, l: Layout) { LIVE[slot(l.size())].fetch_sub(1, Ordering::Relaxed); unsafe { System.dealloc(p, l) } }
        unsafe fn realloc(&self, p: *mut u8, l: Layout, n: usize) -> *mut u8 { LIVE[slot(l.size())].fetch_sub(1, Ordering::Relaxed); LIVE[slot(n)].fetch_add(1, Ordering::Relaxed); unsafe { System.realloc(p, l, n) } }
    }
    pub fn snapshot() -> Vec<i64> { LIVE.iter().map(|a| a.load(Ordering::Relaxed)).collect() }
}
#[global_allocator]
static A: counting::Counting = counting::Counting;
pub fn report(before: &[i64], n: usize) {
    let after = counting::snapshot();
    let mut total = 0.0;
    for (size, (b, a)) in before.iter().zip(&after).enumerate() {
        let each = (a - b) as f64 / n as f64;
        total += each * size as f64;
        if each > 0.4 { println!("size {size}: {each:.2} each = {:.0} B", each * size as f64); }
    }
    println!("total {total:.0} B each");
}
