//! What a database says about its campaign as a whole: the facts that rows depend on, the cells, how many runs there are
//! to be.

use std::collections::BTreeMap;

use super::database::Database;
use super::error::{failed, refused};
use crate::campaign::identity::Identity;
use crate::campaign::identity::Levels;
use crate::error::{Error, Report};

/// The fact that is not part of the identity: how many runs there are to be.
const PLANNED: &str = "runs";

impl Database {
    /// Refuses to mix campaigns, and says what differs.
    pub(super) fn compare(&self, identity: &Identity) -> Result<(), Error> {
        for (name, value) in identity.facts() {
            let stored = self.fact(name)?;
            if stored != value {
                let what = difference(name, &stored, value);
                return Err(refused(
                    &self.path,
                    &format!("the database has runs of another campaign: {what}"),
                    "go on with what it was begun with, or name another file",
                ));
            }
        }
        Ok(())
    }

    /// A fact that the rows depend on.
    pub fn fact(&self, name: &str) -> Result<String, Error> {
        let query = "SELECT value FROM campaign WHERE name = ?";
        self.connection.query_row(query, [name], |row| row.get(0)).map_err(failed(&self.path))
    }

    /// Notes how many runs there are to be; at least as many as were to be before.
    pub fn plan(&mut self, runs: u64) -> Result<(), Error> {
        let put = "INSERT INTO campaign (name, value) VALUES (?1, ?2)
                   ON CONFLICT (name) DO UPDATE SET value = max(CAST(value AS INTEGER), CAST(?2 AS INTEGER))";
        self.connection.execute(put, (PLANNED, runs.to_string())).map(drop).map_err(failed(&self.path))
    }

    /// How many runs there are to be, over all shards.
    pub fn planned(&self) -> Result<u64, Error> {
        Ok(self.fact(PLANNED)?.parse().unwrap_or(0))
    }

    /// The keys that vary, and their values in each cell; one cell without any if nothing varies.
    pub fn cells(&self) -> Result<(Vec<String>, Vec<Levels>), Error> {
        let failed = failed(&self.path);
        let query = "SELECT cell, factor, level FROM cells ORDER BY cell, nth";
        let mut query = self.connection.prepare(query).map_err(&failed)?;
        let entries =
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).map_err(&failed)?;
        let (mut factors, mut cells) = (Vec::new(), BTreeMap::<usize, Levels>::new());
        for entry in entries {
            let (cell, factor, level): (usize, String, String) = entry.map_err(&failed)?;
            if cell == 0 {
                factors.push(factor);
            }
            cells.entry(cell).or_default().push(level);
        }
        if cells.is_empty() {
            cells.insert(0, Levels::new());
        }
        Ok((factors, cells.into_values().collect()))
    }

    /// Refuses a database of another campaign; which part of it does not matter.
    pub fn is_part_of_the_same_campaign_as(&self, other: &Self) -> Result<(), Error> {
        let of = |database: &Self| -> Result<Vec<(String, String)>, Error> {
            let failed = failed(&database.path);
            let query = "SELECT name, value FROM campaign WHERE name NOT IN (?, ?) ORDER BY name";
            let mut query = database.connection.prepare(query).map_err(&failed)?;
            let facts = query.query_map([Identity::SHARD, PLANNED], |row| Ok((row.get(0)?, row.get(1)?)));
            facts.map_err(&failed)?.collect::<Result<_, _>>().map_err(&failed)
        };
        for ((name, value), (_, others)) in of(self)?.into_iter().zip(of(other)?) {
            if value != others {
                return Err(Error::Input(Report::new(
                    format!(
                        "the databases are of different campaigns: {}",
                        difference(&name, &others, &value)
                    ),
                    format!("{} and {}", other.path.display(), self.path.display()),
                    "give databases of one campaign at a time",
                )));
            }
        }
        Ok(())
    }
}

/// How a fact differs; of a long one, in which line.
fn difference(name: &str, one: &str, other: &str) -> String {
    let mut lines = one.lines().zip(other.lines());
    let (one, other) = lines.find(|(one, other)| one != other).unwrap_or((one, other));
    format!("{name} `{one}` there, `{other}` here")
}
