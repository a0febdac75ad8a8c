//! The start of `greenroom up` with only a directory: it brings along its own Postgres and LiveKit.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{
    fixture::{self, Fixture},
    process::Process,
    stack::free_port,
    table::{Table, median},
};

pub async fn measure(fixture: &Fixture) -> Result<String> {
    let directory = fixture::directory("startup")?;
    let mut seconds = Vec::new();
    for round in 0..=fixture.settings.rounds {
        eprintln!("round {round}: startup");
        seconds.push(start(fixture, &directory).await?);
    }
    fixture::remove(&directory);
    let mut table = Table::new("`greenroom up` until `ready`", &["", "s", "wanted"]);
    table.row(&["first start, empty directory".to_owned(), format!("{:.2}", seconds[0]), String::new()]);
    let later = median(seconds.drain(1..));
    table.row(&["later starts".to_owned(), format!("**{later:.2}**"), "< 3".to_owned()]);
    Ok(format!("## Start\n\n{}", table.finish()))
}

async fn start(fixture: &Fixture, directory: &Path) -> Result<f64> {
    let listen = free_port()?.to_string();
    let directory = directory.to_str().context("the path is not UTF-8")?;
    let started = Instant::now();
    let arguments = ["up", "--listen", &listen, "--data-dir", directory];
    let mut process = Process::start("up", &fixture.greenroom, &arguments, &[])?;
    let mut lines = BufReader::new(process.stdout().context("no stdout")?).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await? {
            if line.starts_with("ready ") {
                return Ok(started.elapsed().as_secs_f64());
            }
        }
        bail!("`up` ended before it was ready; BENCH_LOGS=1 shows why")
    };
    let seconds = tokio::time::timeout(Duration::from_mins(1), ready)
        .await
        .context("`up` is not ready after 60 s")??;
    process.stop().await?;
    Ok(seconds)
}
