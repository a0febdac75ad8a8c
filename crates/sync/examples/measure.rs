//! scratch
#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).unwrap();
    let pool = chassis::db::pool(&chassis::db::Settings {
        url: url.into(),
        role: Some("greenroom_sync"),
        max_connections: 4,
    })
    .unwrap();
    for _ in 0..2 {
        let t = std::time::Instant::now();
        println!("{:?} {:?}", sync::compare(&pool).await, t.elapsed());
        let t = std::time::Instant::now();
        println!("{:?} {:?}", sync::drain(&pool).await, t.elapsed());
        println!(
            "{}",
            std::fs::read_to_string("/proc/self/status")
                .unwrap()
                .lines()
                .filter(|l| l.starts_with("VmHWM"))
                .collect::<String>()
        );
    }
}
