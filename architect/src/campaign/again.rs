//! A run that was made before: in a run's folder, or a row of a campaign's database.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::campaign::database::Database;
use crate::campaign::identity::Identity;
use crate::campaign::plan::Run;
use crate::cli::run::{MATRIX, sha256};
use crate::error::{Error, Report};
use crate::scenario::Scenario;
use crate::trace::hash::Marks;

/// A run, and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Again {
    /// Its scenario, with nothing left open.
    pub(super) scenario: Scenario,
    /// What messages call it.
    pub(super) place: String,
    /// How it ended, or what its faults did.
    pub(super) outcome: String,
    /// The hash of its events; `None` by a clock of real time.
    pub(super) trace_hash: Option<String>,
    /// What the hash was along the way, where that was kept.
    pub(super) marks: Option<Marks>,
    /// Its event stream, where it was kept.
    pub(super) events: Option<PathBuf>,
    /// Whether it was never made, but told from its golden run.
    pub(super) pruned: bool,
}

impl Again {
    /// Finds `DIR` or `DB#RUN`.
    pub(super) fn find(name: &Path) -> Result<Self, Error> {
        let text = name.to_string_lossy();
        let found = match text.rsplit_once('#') {
            // A folder may have any name.
            Some((database, run)) if !name.is_dir() => Self::in_database(Path::new(database), run),
            _ => Self::in_folder(name),
        }?;
        match found.trace_hash {
            Some(_) => Ok(found),
            None => Err(refused(
                name,
                "by the clock `apic` no run can be had again",
                "use vm.clock = \"virtual\"",
            )),
        }
    }

    fn in_folder(folder: &Path) -> Result<Self, Error> {
        let verdict = read(&folder.join("verdict.json"))?;
        let verdict: Value = serde_json::from_str(&verdict).map_err(|error| {
            refused(
                folder,
                &format!("its verdict.json cannot be read: {error}"),
                "give the folder of a run that ended",
            )
        })?;
        let Some(outcome) = verdict["outcome"].as_str() else {
            return Err(refused(
                folder,
                "this is not the folder of one run",
                "give one of the folders vm-00 and on in it",
            ));
        };
        same_image(folder, verdict["guest"]["image_sha256"].as_str().unwrap_or_default())?;
        let mut scenario = Scenario::read(&folder.join("scenario.toml"), None, &[])?.resolve(0);
        scenario.vm.vms = 1;
        Ok(Self {
            scenario,
            place: folder.display().to_string(),
            outcome: outcome.to_owned(),
            trace_hash: verdict["trace_hash"].as_str().map(str::to_owned),
            marks: None,
            events: Some(folder.join("events.jsonl")),
            pruned: false,
        })
    }

    fn in_database(path: &Path, run: &str) -> Result<Self, Error> {
        let database = Database::read(path)?;
        let rows = database.rows()?;
        let number = run.parse::<u64>().ok();
        let Some(row) = rows.into_iter().find(|row| Some(row.run) == number) else {
            let what = format!("there is no run `{run}` in the database");
            return Err(refused(path, &what, "`architect stats --rows` lists them"));
        };
        same_image(path, &database.fact(Identity::IMAGE)?)?;
        let place = format!("{}#{run}", path.display());
        let scenario = Scenario::parse(&database.fact(Identity::SCENARIO)?, &place, None, &[])?;
        let run = Run { number: row.run, cell: row.cell, seed: row.seed, draw: row.draw };
        let Some(scenario) = run.resolve(&scenario.cells()) else {
            return Err(refused(
                path,
                "the run's cell is not in the scenario",
                "name another file: it is damaged",
            ));
        };
        Ok(Self {
            scenario,
            place,
            outcome: row.outcome,
            trace_hash: row.trace_hash,
            marks: row.trace_marks.and_then(|marks| marks.parse().ok()),
            events: None,
            pruned: row.pruned,
        })
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|error| {
        refused(
            path,
            &format!("cannot read a run: {error}"),
            "give the folder of a run (--out DIR), or DB#RUN",
        )
    })
}

fn same_image(path: &Path, image: &str) -> Result<(), Error> {
    match image == sha256(MATRIX) {
        true => Ok(()),
        false => Err(refused(
            path,
            "the run was made with another kernel image",
            "use the version of architect that made it",
        )),
    }
}

fn refused(path: &Path, what: &str, remedy: &str) -> Error {
    Error::Input(Report::new(what, path.display().to_string(), remedy))
}
