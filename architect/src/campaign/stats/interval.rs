//! How sure one can be of a rate: intervals for what was counted, and how many runs a wanted precision takes.
//!
//! The interval is Wilson's (E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal
//! of the American Statistical Association 22, 1927): it is right for small numbers and for rates near 0 and 1, where the
//! usual one has no width. The sample size is that of R. Leveugle, A. Calvez, P. Maistri and P. Vanhauwaert, "Statistical
//! fault injection: quantified error and confidence", DATE 2009, for a finite number of possible runs.

/// The normal distribution's two-sided 95 % quantile.
pub const Z: f64 = 1.959_963_984_540_054;

/// An interval that has the true value in 95 of 100 cases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Wilson's, for a rate that was seen `count` times in `of` runs; everything without a run.
    pub fn wilson(count: u64, of: u64) -> Self {
        if of == 0 {
            return Self { low: 0.0, high: 1.0 };
        }
        let (n, rate) = (of as f64, count as f64 / of as f64);
        let scale = 1.0 / (1.0 + Z * Z / n);
        let centre = scale * (rate + Z * Z / (2.0 * n));
        let half = scale * Z * (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt();
        // The ends are exact where nothing, or everything, was counted.
        Self {
            low: if count == 0 { 0.0 } else { centre - half },
            high: if count == of { 1.0 } else { centre + half },
        }
    }

    /// Half its width: the precision that was reached.
    pub fn half(self) -> f64 {
        (self.high - self.low) / 2.0
    }

    /// Whether a value is in it.
    pub fn has(self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// How many of `population` possible runs (all that there could ever be with `None`) must be made to know a rate of about
/// `rate` to within `margin`; with a rate of 0.5 it is enough for any.
pub fn sample_size(population: Option<u64>, margin: f64, rate: f64) -> u64 {
    let unlimited = Z * Z * rate * (1.0 - rate) / (margin * margin);
    let size = match population {
        None => unlimited,
        Some(0) => 0.0,
        // N / (1 + e^2 (N - 1) / (t^2 p (1 - p)))
        Some(all) => all as f64 / (1.0 + (all as f64 - 1.0) / unlimited),
    };
    size.ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_intervals() {
        let near = |interval: Interval, low: f64, high: f64| {
            assert!((interval.low - low).abs() < 5e-5 && (interval.high - high).abs() < 5e-5, "{interval:?}");
        };
        near(Interval::wilson(0, 40), 0.0, 0.0876);
        near(Interval::wilson(5, 10), 0.2366, 0.7634);
        near(Interval::wilson(1, 20), 0.0089, 0.2361);
        near(Interval::wilson(0, 0), 0.0, 1.0);
    }

    #[test]
    fn sample_sizes_of_the_paper() {
        // Its examples: 95 % confidence, unknown rate, very many possible faults.
        assert_eq!(sample_size(None, 0.01, 0.5), 9604);
        assert_eq!(sample_size(None, 0.05, 0.5), 385);
        assert_eq!(sample_size(Some(500), 0.03, 0.5), 341);
        assert_eq!(sample_size(Some(1), 0.03, 0.5), 1);
        assert_eq!(sample_size(Some(0), 0.03, 0.5), 0);
    }

    /// The binomial distribution's probability of `count` in `of`.
    fn binomial(count: u64, of: u64, rate: f64) -> f64 {
        let ways: f64 = (0..count).map(|i| (of - i) as f64 / (i + 1) as f64).product();
        ways * rate.powi(count as i32) * (1.0 - rate).powi((of - count) as i32)
    }

    #[test]
    fn the_true_rate_is_in_the_interval_as_often_as_is_claimed() {
        for of in [20, 50, 100, 200] {
            let mut coverage = 0.0;
            let rates: Vec<f64> = (1..100).map(|percent| f64::from(percent) / 100.0).collect();
            for rate in &rates {
                let covering = (0..=of).filter(|count| Interval::wilson(*count, of).has(*rate));
                coverage +=
                    covering.map(|count| binomial(count, of, *rate)).sum::<f64>() / rates.len() as f64;
            }
            assert!((0.945..0.965).contains(&coverage), "{coverage} of {of}");
        }
    }

    proptest! {
        #[test]
        fn an_interval_has_what_was_seen_and_narrows(of in 1..10_000_u64, part in 0.0..=1.0_f64) {
            let count = (part * of as f64) as u64;
            let interval = Interval::wilson(count, of);
            prop_assert!(interval.has(count as f64 / of as f64));
            prop_assert!(0.0 <= interval.low && interval.high <= 1.0);
            prop_assert!(Interval::wilson(4 * count, 4 * of).half() < interval.half());
            let mirrored = Interval::wilson(of - count, of);
            prop_assert!((mirrored.low + interval.high - 1.0).abs() < 1e-12);
        }

        #[test]
        fn as_many_runs_as_planned_give_the_precision(margin in 0.005..0.2_f64, part in 0.0..=1.0_f64) {
            let of = sample_size(None, margin, 0.5);
            let interval = Interval::wilson((part * of as f64) as u64, of);
            prop_assert!(interval.half() <= margin);
        }

        #[test]
        fn no_sample_is_larger_than_all_there_is(all in 0..1_000_000_u64, margin in 0.001..0.5_f64) {
            let size = sample_size(Some(all), margin, 0.5);
            prop_assert!(size <= all && size <= sample_size(None, margin, 0.5) && (all == 0 || size > 0));
        }
    }
}
