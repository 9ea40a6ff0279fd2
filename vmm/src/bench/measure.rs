//! Rows, and how they are measured.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::Error;

/// One measure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// Median of the product, in this unit.
    pub(super) median: f64,
    /// Median of the floor.
    pub(super) floor: f64,
    /// How often each was measured.
    pub(super) n: usize,
}

impl Row {
    /// How many times the floor the product costs.
    pub(super) fn ratio(&self) -> f64 {
        self.median / self.floor
    }

    /// The row as programs read it.
    pub(super) fn to_json(&self) -> Value {
        let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
        json!({
            "name": self.name,
            "unit": self.unit,
            "median": rounded(self.median),
            "floor": rounded(self.floor),
            "ratio": rounded(self.ratio()),
            "n": self.n,
        })
    }
}

/// Measures product and floor in turns, `n` times each, in microseconds. Before each of them `prepare` sets things up
/// outside of the measured time, the same for both; what it gives is handed on.
pub(super) fn in_turns<P>(
    name: &'static str,
    n: usize,
    mut prepare: impl FnMut() -> Result<P, Error>,
    mut product: impl FnMut(P) -> Result<(), Error>,
    mut floor: impl FnMut(P) -> Result<(), Error>,
) -> Result<Row, Error> {
    let mut times = [Vec::with_capacity(n), Vec::with_capacity(n)];
    for _ in 0..n {
        times[0].push(timed(prepare()?, &mut product)?);
        times[1].push(timed(prepare()?, &mut floor)?);
    }
    let [median, floor] = times.map(|times| median(times).as_secs_f64() * 1e6);
    Ok(Row { name, unit: "us", median, floor, n })
}

fn timed<P>(prepared: P, run: &mut impl FnMut(P) -> Result<(), Error>) -> Result<Duration, Error> {
    let begin = Instant::now();
    run(prepared)?;
    Ok(begin.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        let of = |times: &[u64]| median(times.iter().map(|time| Duration::from_nanos(*time)).collect());
        assert_eq!(of(&[9, 1, 5]), Duration::from_nanos(5));
        assert_eq!(of(&[7]), Duration::from_nanos(7));
        assert_eq!(of(&[]), Duration::ZERO);
    }

    #[test]
    fn product_and_floor_take_turns() {
        let order = std::cell::RefCell::new(String::new());
        let note = |letter| {
            order.borrow_mut().push(letter);
            Ok(())
        };
        let row = in_turns("x", 2, || note('.'), |()| note('p'), |()| note('f'));
        assert_eq!(row.unwrap().n, 2);
        assert_eq!(order.into_inner(), ".p.f.p.f");
    }

    #[test]
    fn a_row_tells_its_ratio() {
        let row = Row { name: "audit-full", unit: "us", median: 3.0, floor: 2.0, n: 7 };
        assert_eq!(
            row.to_json().to_string(),
            r#"{"name":"audit-full","unit":"us","median":3.0,"floor":2.0,"ratio":1.5,"n":7}"#
        );
    }
}
