//! The tables: rates compared with their baselines, CPU time, memory.

use super::Target;
use crate::{
    load::Load,
    process::Usage,
    table::{Table, median},
};

pub(super) fn rates(targets: &[Target<'_>]) -> String {
    let mut table = Table::new(
        "32 connections, 64 warm rooms",
        &["", "requests/s", "p50 ms", "p99 ms", "rate : baseline", "wanted", "p99 : baseline"],
    );
    for target in targets {
        let of = |value: fn(&Load) -> f64| median(target.rounds.iter().map(|round| value(&round.load)));
        let ratio = |baseline: usize, value: fn(&Load) -> f64| {
            let pairs = target.rounds.iter().zip(&targets[baseline].rounds);
            median(pairs.map(|(own, bare)| value(&own.load) / value(&bare.load)))
        };
        let p99 = |load: &Load| load.percentile(99);
        let (rate, wanted, slower) = match target.compared {
            None => Default::default(),
            Some((baseline, wanted)) => (
                format!("**{:.2}**", ratio(baseline, Load::per_second)),
                format!("≥ {wanted:.2}"),
                format!("{:.2} (≤ 2)", ratio(baseline, p99)),
            ),
        };
        table.row(&[
            target.name.to_owned(),
            format!("{:.0}", of(Load::per_second)),
            format!("{:.2}", of(|load| load.percentile(50))),
            format!("{:.2}", of(p99)),
            rate,
            wanted,
            slower,
        ]);
    }
    table.finish()
}

pub(super) fn cpu(targets: &[Target<'_>]) -> String {
    let mut table = Table::new("CPU time per request, µs", &["", "sum", "of each process"]);
    for target in targets {
        let Some(first) = target.rounds.first() else { continue };
        let each: Vec<(String, f64)> = (0..first.cpu.len())
            .map(|process| {
                let per_request = target.rounds.iter().map(|round| {
                    #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
                    let requests = round.load.count() as f64;
                    round.cpu[process].1.as_secs_f64() * 1e6 / requests
                });
                (first.cpu[process].0.clone(), median(per_request))
            })
            .collect();
        let used = each.iter().filter(|(_, cpu)| *cpu >= 0.05);
        table.row(&[
            target.name.to_owned(),
            format!("{:.0}", each.iter().map(|(_, cpu)| cpu).sum::<f64>()),
            used.map(|(name, cpu)| format!("{name} {cpu:.1}")).collect::<Vec<_>>().join(", "),
        ]);
    }
    table.finish()
}

pub(super) fn memory(idle: &[(String, Usage)], loaded: &[(String, Usage)]) -> String {
    let mut table = Table::new("Memory, MiB resident", &["", "idle (< 25)", "loaded, at most (< 64)"]);
    let mib = |kib: u64| format!("{:.1}", f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0);
    for ((name, idle), (_, loaded)) in idle.iter().zip(loaded) {
        table.row(&[name.clone(), mib(idle.memory_kib), mib(loaded.peak_kib)]);
    }
    table.finish()
}
