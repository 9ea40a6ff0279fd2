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
    /// Between which the middle half of the product's measurements lies, and of the floor's.
    pub(super) spread: [[f64; 2]; 2],
    /// How often each was measured.
    pub(super) n: usize,
}

impl Row {
    /// A row from what was measured: of the product, and of the floor.
    pub(super) fn of(name: &'static str, unit: &'static str, mut values: [Vec<f64>; 2]) -> Self {
        values.iter_mut().for_each(|values| values.sort_by(f64::total_cmp));
        let [median, floor] = [&values[0], &values[1]].map(|values| part(values, 0.5));
        let spread = [&values[0], &values[1]].map(|values| [part(values, 0.25), part(values, 0.75)]);
        Self { name, unit, median, floor, spread, n: values[0].len() }
    }

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
            "spread": {"median": self.spread[0].map(rounded), "floor": self.spread[1].map(rounded)},
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
    Ok(Row::of(name, "us", times.map(|times| times.into_iter().map(microseconds).collect())))
}

/// A span in microseconds.
pub(super) fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn timed<P>(prepared: P, run: &mut impl FnMut(P) -> Result<(), Error>) -> Result<Duration, Error> {
    let begin = Instant::now();
    run(prepared)?;
    Ok(begin.elapsed())
}

/// The value that this part of all values lies below.
fn part(values: &[f64], part: f64) -> f64 {
    values.get((values.len() as f64 * part) as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        let row = Row::of("x", "us", [vec![9.0, 1.0, 5.0], vec![]]);
        assert_eq!((row.median, row.floor, row.n), (5.0, 0.0, 3));
        let row = Row::of("x", "us", [(0..100).map(f64::from).collect(), vec![7.0]]);
        assert_eq!((row.median, row.floor, row.spread), (50.0, 7.0, [[25.0, 75.0], [7.0, 7.0]]));
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
        let row = Row::of("audit-full", "us", [vec![3.0; 7], vec![2.0; 7]]);
        assert_eq!(
            row.to_json().to_string(),
            r#"{"name":"audit-full","unit":"us","median":3.0,"floor":2.0,"ratio":1.5,"n":7,"spread":{"median":[3.0,3.0],"floor":[2.0,2.0]}}"#
        );
    }
}
