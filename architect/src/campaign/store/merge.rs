//! Many databases as one: the shards of a campaign, put together again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::database::Database;
use crate::campaign::identity::Identity;
use crate::campaign::identity::Levels;
use crate::campaign::row::Row;
use crate::error::{Error, Report};

/// All rows of a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The scenario's name.
    pub scenario: String,
    /// The campaign's first seed.
    pub first_seed: String,
    /// How many runs there are to be, over all shards.
    pub planned: u64,
    /// The keys that vary.
    pub factors: Vec<String>,
    /// Their values in each cell.
    pub cells: Vec<Levels>,
    /// The rows, by their numbers.
    pub rows: Vec<Row>,
}

impl Table {
    /// Reads and merges databases: they must be of one campaign, and no run may be in two of them.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut merged: Option<(Self, Database)> = None;
        let mut seen: BTreeMap<u64, &Path> = BTreeMap::new();
        for path in paths {
            let database = Database::read(path)?;
            let rows = database.rows()?;
            for row in &rows {
                if let Some(other) = seen.insert(row.run, path) {
                    return Err(Error::Input(Report::new(
                        format!("run {} is in two databases", row.run),
                        format!("{} and {}", other.display(), path.display()),
                        "give each shard of a campaign once, and no campaign beside its own shards",
                    )));
                }
            }
            let planned = database.planned()?;
            match &mut merged {
                Some((table, first)) => {
                    database.is_part_of_the_same_campaign_as(first)?;
                    table.planned = table.planned.max(planned);
                    table.rows.extend(rows);
                }
                None => {
                    let (factors, cells) = database.cells()?;
                    let (scenario, first_seed) =
                        (database.fact(Identity::NAME)?, database.fact(Identity::FIRST_SEED)?);
                    merged = Some((Self { scenario, first_seed, planned, factors, cells, rows }, database));
                }
            }
        }
        let Some((mut table, _)) = merged else {
            return Err(Error::Input(Report::new("no database", "the command line", "name at least one")));
        };
        table.rows.sort_by_key(|row| row.run);
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::plan::{Plan, Vary};
    use crate::campaign::testing;

    /// A database with the rows of one shard.
    fn shard(folder: &Path, first_seed: &str, shard: &str) -> PathBuf {
        let path = folder.join(format!("{first_seed}-{}.db", shard.replace('/', "-")));
        let identity = Identity::from_facts([first_seed, shard].map(str::to_owned));
        let mut database = Database::open(&path, &identity, false).unwrap();
        database.plan(40).unwrap();
        let plan = Plan::new(Vary::Seed, 1, 2, 40, shard.parse().unwrap()).unwrap();
        plan.runs().for_each(|run| database.add(&testing::row(run)).unwrap());
        path
    }

    #[test]
    fn shards_together_are_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let whole = Table::read(&[shard(folder.path(), "1", "0/1")]).unwrap();
        let parts = ["3/4", "1/4", "4/4", "2/4"].map(|of| shard(folder.path(), "1", of));
        assert_eq!(Table::read(&parts).unwrap(), whole);
        assert_eq!(whole.rows.len(), 40);
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["0/2", "1/2"].map(|of| shard(folder.path(), "1", of));
        let whole = shard(folder.path(), "1", "0/1");
        let other = shard(folder.path(), "2", "1/2");
        for (paths, what) in [
            ([one.clone(), one.clone()], "run 0 is in two"),
            ([two, whole], "run 1 is in two"),
            ([one, other], "first seed `1` there, `2` here"),
        ] {
            let error = Table::read(&paths).unwrap_err();
            assert!(error.exit_status() == 2 && error.to_string().contains(what), "{error}");
        }
    }
}
