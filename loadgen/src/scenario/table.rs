//! The table at the end.

use std::fmt::Write as _;

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// The value.
    pub measured: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it should be; nothing when it only informs.
    pub target: Option<Target>,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// This much or less.
    AtMost(f64),
    /// This much or more.
    AtLeast(f64),
    /// Exactly this.
    Exactly(f64),
}

impl Row {
    /// A figure that only informs.
    #[must_use]
    pub fn note(what: impl Into<String>, measured: f64, unit: &'static str) -> Self {
        Self { what: what.into(), measured, unit, target: None }
    }

    /// A figure with a target.
    #[must_use]
    pub fn aim(what: impl Into<String>, measured: f64, unit: &'static str, target: Target) -> Self {
        Self { what: what.into(), measured, unit, target: Some(target) }
    }

    /// Whether the target is met; a figure that is no number meets none.
    #[must_use]
    pub fn is_met(&self) -> bool {
        match self.target {
            None => true,
            Some(Target::AtMost(most)) => self.measured <= most,
            Some(Target::AtLeast(least)) => self.measured >= least,
            Some(Target::Exactly(value)) => (self.measured - value).abs() < f64::EPSILON,
        }
    }
}

/// The table as text.
#[must_use]
pub fn print(rows: &[Row]) -> String {
    let wide = rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0).max(24);
    let mut text = format!("{:<wide$} {:>14} {:>14}  {:<10}\n", "figure", "measured", "target", "");
    for row in rows {
        let target = match row.target {
            None => String::new(),
            Some(Target::AtMost(value)) => format!("<= {}", number(value)),
            Some(Target::AtLeast(value)) => format!(">= {}", number(value)),
            Some(Target::Exactly(value)) => format!("= {}", number(value)),
        };
        let verdict = match (row.target, row.is_met()) {
            (None, _) => "",
            (_, true) => "met",
            (_, false) => "MISSED",
        };
        let unit = row.unit;
        let _ = writeln!(
            text,
            "{:<wide$} {:>14} {target:>14}  {unit:<10} {verdict}",
            row.what,
            number(row.measured)
        );
    }
    text
}

/// Three digits below a hundred, whole numbers with separators above.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    if value.fract() == 0.0 || value.abs() >= 1_000.0 {
        let digits = format!("{:.0}", value.abs());
        let mut grouped = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at) % 3 == 0 {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        return if value < 0.0 { format!("-{grouped}") } else { grouped };
    }
    let places = if value.abs() >= 100.0 { 1 } else { 3 };
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_easily() {
        for (value, text) in [
            (0.0, "0"),
            (1_234_567.0, "1,234,567"),
            (999.0, "999"),
            (1.5, "1.500"),
            (123.45, "123.5"),
            (-4_000.2, "-4,000"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_figure_that_is_no_number_misses_its_target() {
        let row = Row::aim("x", f64::NAN, "ms", Target::AtMost(1.0));
        assert!(!row.is_met() && print(&[row]).contains("MISSED"));
        assert!(Row::aim("x", 1.0, "ms", Target::AtMost(1.0)).is_met());
        assert!(!Row::aim("x", 1.7, "x", Target::AtLeast(1.8)).is_met());
        assert!(!Row::aim("lost", 1.0, "", Target::Exactly(0.0)).is_met());
    }
}
