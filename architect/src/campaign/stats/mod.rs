//! `architect stats`: what became of a campaign's runs, with intervals; of a sweep, what each factor does.

mod csv;
mod document;
mod text;

use crate::campaign::args::StatsArgs;
use crate::campaign::effects::{self, Effect, Levels};
use crate::campaign::merge::Table;
use crate::campaign::tally::{Response, Tally};
use crate::cli::run;
use crate::error::{Error, Report};

/// Reads databases and prints what is in them; gives the exit status.
pub fn stats(args: &StatsArgs) -> Result<u8, Error> {
    let table = Table::read(&args.databases)?;
    if args.rows {
        return run::print(&csv::rows(&table.rows)).map(|()| 0);
    }
    let stats = Stats::of(&table, args.precision, &args.of)?;
    let text = match (args.json, args.csv) {
        (true, _) => format!("{:#}\n", stats.to_json()),
        (_, true) => stats.csv(),
        _ => stats.text(),
    };
    run::print(&text)?;
    Ok(0)
}

/// What is told.
struct Stats<'a> {
    table: &'a Table,
    cells: Vec<(&'a Levels, Tally)>,
    all: Tally,
    /// What is told of outcomes and beats.
    responses: Vec<Response>,
    /// What the factors do to each.
    effects: Vec<(Response, Vec<Effect>)>,
    /// Half the width that intervals are wanted to have.
    precision: Option<f64>,
}

impl<'a> Stats<'a> {
    fn of(table: &'a Table, precision: Option<f64>, only: &[String]) -> Result<Self, Error> {
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
    fn is_sweep(&self) -> bool {
        !self.table.factors.is_empty()
    }
}

#[cfg(test)]
mod tests;
