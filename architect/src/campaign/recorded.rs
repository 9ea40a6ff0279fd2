//! A recorded run: in a run's folder, or as a row of a campaign's database.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::campaign::identity::Identity;
use crate::campaign::plan::Run;
use crate::campaign::store::Database;
use crate::error::{Error, Report};
use crate::guest::image::{MATRIX, sha256};
use crate::scenario::Scenario;
use crate::trace::hash::Marks;

/// A run, and what the record has of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedRun {
    /// Its scenario, with nothing left open.
    pub scenario: Scenario,
    /// What messages call it.
    pub place: String,
    /// Its outcome.
    pub outcome: String,
    /// The hash of its events; `None` under a real-time clock.
    pub trace_hash: Option<String>,
    /// The marks along the hash, where they were kept.
    pub marks: Option<Marks>,
    /// Its event stream, where it was kept.
    pub events: Option<PathBuf>,
    /// Whether its row was derived from its golden run.
    pub pruned: bool,
}

impl RecordedRun {
    /// Finds `DIR` or `DB#RUN`.
    ///
    /// # Errors
    ///
    /// There is no such run, it was made by another image, or it cannot be repeated.
    pub fn find(name: &Path) -> Result<Self, Error> {
        let text = name.to_string_lossy();
        let found = match text.rsplit_once('#') {
            // The name of a folder may contain a #.
            Some((database, run)) if !name.is_dir() => Self::in_database(Path::new(database), run),
            _ => Self::in_folder(name),
        }?;
        match found.trace_hash {
            Some(_) => Ok(found),
            None => Err(refused(
                name,
                "a run under the clock `apic` cannot be repeated",
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
                "this folder has several runs",
                "give one of its folders vm-00, vm-01, …",
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
