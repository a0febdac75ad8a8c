//! Markdown tables, and the median.

use std::fmt::Write;

pub struct Table(String);

impl Table {
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let mut text = format!("### {title}\n\n");
        let _ = writeln!(text, "| {} |", columns.join(" | "));
        let _ = writeln!(text, "|{}", "---|".repeat(columns.len()));
        Self(text)
    }

    pub fn row(&mut self, cells: &[String]) {
        let _ = writeln!(self.0, "| {} |", cells.join(" | "));
    }

    pub fn finish(self) -> String {
        self.0
    }
}

/// The median of all rounds, or zero without a round.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
