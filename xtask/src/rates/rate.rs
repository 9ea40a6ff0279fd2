//! Rates with their confidence intervals.

/// Quantile of the normal distribution for 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// The share of runs in which something happened, with Wilson's 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    /// Runs in which it happened.
    pub(crate) count: usize,
    /// All runs.
    pub(crate) of: usize,
    /// The share, from 0 to 1.
    pub(crate) rate: f64,
    /// Lower end of the interval.
    pub(crate) low: f64,
    /// Upper end of the interval.
    pub(crate) high: f64,
}

/// By how much one rate is above another, with the 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Difference {
    /// The difference.
    pub(crate) change: f64,
    /// Lower end of the interval.
    pub(crate) low: f64,
    /// Upper end of the interval.
    pub(crate) high: f64,
}

impl Rate {
    /// The rate of `count` runs in `of`.
    pub(crate) fn new(count: usize, of: usize) -> Self {
        if of == 0 {
            return Self { count, of, rate: 0.0, low: 0.0, high: 1.0 };
        }
        let runs = of as f64;
        let rate = count as f64 / runs;
        let middle = rate + Z * Z / (2.0 * runs);
        let half = Z * (rate * (1.0 - rate) / runs + Z * Z / (4.0 * runs * runs)).sqrt();
        let square = Z * Z / runs;
        // Exact where it happened in no run or in all.
        let low = if count == 0 { 0.0 } else { (middle - half) / (1.0 + square) };
        let high = if count == of { 1.0 } else { (middle + half) / (1.0 + square) };
        Self { count, of, rate, low, high }
    }

    /// The interval as text.
    pub(crate) fn interval(&self) -> String {
        format!("{} to {}", percent(self.low), percent(self.high))
    }

    /// By how much it is above another rate (Newcombe 1998, method 10).
    pub(crate) fn minus(&self, other: &Self) -> Difference {
        let change = self.rate - other.rate;
        let low = change - (self.rate - self.low).hypot(other.high - other.rate);
        let high = change + (self.high - self.rate).hypot(other.rate - other.low);
        Difference { change, low, high }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", percent(self.rate), self.interval())
    }
}

/// A share as text.
pub(crate) fn percent(rate: f64) -> String {
    format!("{:.1} %", rate * 100.0)
}

#[cfg(test)]
mod tests {
    use super::Rate;

    #[test]
    fn intervals_are_wilsons() {
        assert_eq!(Rate::new(0, 200).to_string(), "0.0 % (0.0 % to 1.9 %)");
        assert_eq!(Rate::new(64, 200).to_string(), "32.0 % (25.9 % to 38.8 %)");
        assert_eq!(Rate::new(200, 200).to_string(), "100.0 % (98.1 % to 100.0 %)");
        assert_eq!(Rate::new(0, 0).to_string(), "0.0 % (0.0 % to 100.0 %)");
    }

    #[test]
    fn a_difference_has_newcombes_interval() {
        // The example of Newcombe's table II: 56 of 70 against 48 of 80, 0.0524 to 0.3339.
        let difference = Rate::new(56, 70).minus(&Rate::new(48, 80));
        let shown = format!("{:.4} {:.4} {:.4}", difference.change, difference.low, difference.high);
        assert_eq!(shown, "0.2000 0.0524 0.3339");
    }
}
