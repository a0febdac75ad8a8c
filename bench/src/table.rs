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

#[cfg(test)]
mod tests {
    use super::{Table, median};

    #[test]
    fn median_is_the_middle_round() {
        assert!(median([9.0, 1.0, 2.0]).total_cmp(&2.0).is_eq());
        assert!(median([]).total_cmp(&0.0).is_eq());
    }

    #[test]
    fn table_is_markdown() {
        let mut table = Table::new("Rates", &["", "per s"]);
        table.row(&["services".to_owned(), "**9**".to_owned()]);
        assert_eq!(table.finish(), "### Rates\n\n|  | per s |\n|---|---|\n| services | **9** |\n");
    }
}
