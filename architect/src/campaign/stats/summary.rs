//! The summary of a campaign as a value; text, JSON and CSV are its renderers.

use super::effects::{self, Effect};
use super::tally::{Response, Tally};
use crate::campaign::identity::Levels;
use crate::campaign::store::Table;
use crate::error::{Error, Report};

/// The summary.
pub struct Stats<'a> {
    pub(super) table: &'a Table,
    pub(super) cells: Vec<(&'a Levels, Tally)>,
    pub(super) all: Tally,
    /// The outcomes and beats to report.
    pub(super) responses: Vec<Response>,
    /// The effects of the factors on each.
    pub(super) effects: Vec<(Response, Vec<Effect>)>,
    /// Wanted half width of the intervals.
    pub(super) precision: Option<f64>,
}

impl<'a> Stats<'a> {
    /// The summary of a campaign; `only` restricts it to these outcomes and beats.
    ///
    /// # Errors
    ///
    /// `only` names an outcome or beat that no run has.
    pub fn of(table: &'a Table, precision: Option<f64>, only: &[String]) -> Result<Self, Error> {
        let mut cells: Vec<_> = table.cells.iter().map(|levels| (levels, Tally::default())).collect();
        for row in &table.rows {
            // A row of a cell that does not exist comes from a file that was tampered with.
            if let Some((_, tally)) = cells.get_mut(row.cell) {
                tally.add(row);
            }
        }
        let all = Tally::of(&table.rows);
        let wanted =
            |response: &&Response| only.is_empty() || only.iter().any(|name| name == response.name());
        let responses: Vec<_> = all.responses().filter(wanted).cloned().collect();
        if let Some(unknown) =
            only.iter().find(|name| all.responses().all(|response| response.name() != *name))
        {
            let seen: Vec<_> = all.responses().map(Response::name).collect();
            return Err(Error::Input(Report::new(
                format!("no run has the outcome or the beat `{unknown}`"),
                "--of",
                format!("there are {}", seen.join(", ")),
            )));
        }
        let of = |response: &Response| {
            let seen: Vec<_> =
                cells.iter().map(|(levels, tally)| ((*levels).clone(), tally.seen(response))).collect();
            (response.clone(), effects::effects(&table.factors, &seen))
        };
        let effects = if table.factors.is_empty() { Vec::new() } else { responses.iter().map(of).collect() };
        Ok(Self { table, all, responses, effects, precision, cells })
    }

    /// Whether there is more than one cell.
    pub(super) fn is_sweep(&self) -> bool {
        !self.table.factors.is_empty()
    }
}
