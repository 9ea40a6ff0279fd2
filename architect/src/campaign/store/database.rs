//! A campaign's database: SQLite, one file, one row a run, each in a transaction of its own. Killed at any moment, it has
//! all rows whose transaction had ended, and no half of any other.
//!
//! | table | |
//! |---|---|
//! | `campaign` | name and value of each fact that rows depend on, see [`Identity`] |
//! | `cells` | the values of the keys that vary, for each combination |
//! | `runs` | the rows, see [`Row`]; a column for each beat has the tick at which it was reached, or null |

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params_from_iter};
use vmm_sys_util::signal::register_signal_handler;

use super::columns::{columns, from_sql, schema, values};
use super::error::{failed, refused};
use crate::campaign::identity::Identity;
use crate::campaign::row::Row;
use crate::error::{Error, VmmError};

/// Says that a SQLite file is one of ours: "Arch" (`PRAGMA application_id`).
const APPLICATION: u32 = u32::from_be_bytes(*b"Arch");
/// How long a writer waits for others that have the file open: longer than anybody takes to read it.
const PATIENCE: Duration = Duration::from_secs(20);
/// An open database.
pub struct Database {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    insert: String,
}

impl Database {
    /// Opens a database to add rows to: a new one, or, to `resume`, one of the same campaign.
    pub fn open(path: &Path, identity: &Identity, resume: bool) -> Result<Self, Error> {
        // A file without content is what is left where a campaign was ended before its first row.
        let begun = std::fs::metadata(path).is_ok_and(|about| about.len() > 0);
        if begun && !resume {
            return Err(refused(
                path,
                "there is a campaign's database already",
                "add --resume to go on with it, or name another file",
            ));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        // Without it the first write beyond the limit on file sizes would end this process instead of failing.
        register_signal_handler(libc::SIGXFSZ, on_file_too_large)
            .map_err(VmmError::resource("a signal handler"))?;
        let mut database = Self::connect(path, flags)?;
        match database.version()? {
            None => database.create(identity)?,
            Some(()) => database.compare(identity)?,
        }
        // A write-ahead log: 30 us a row where a journal needs a flush of the disk, 13 ms, and readers do not wait. A crash of
        // the host may take the last rows, which are then made again; it cannot damage the others.
        database.pragma("journal_mode", "WAL")?;
        database.pragma("synchronous", "NORMAL")?;
        Ok(database)
    }

    /// Opens a database to read it.
    pub fn read(path: &Path) -> Result<Self, Error> {
        // For writing where possible: a campaign that was killed may have left a transaction to take back.
        let database =
            Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        match database.version()? {
            Some(()) => Ok(database),
            None => Err(refused(
                path,
                "there is nothing in this database yet",
                "wait for the campaign to begin, or name another file",
            )),
        }
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, Error> {
        let connection = Connection::open_with_flags(path, flags).map_err(failed(path))?;
        connection.busy_timeout(PATIENCE).map_err(failed(path))?;
        let columns = columns();
        let places = vec!["?"; columns.len()].join(", ");
        let insert = format!("INSERT INTO runs ({}) VALUES ({places})", columns.join(", "));
        Ok(Self { path: path.to_owned(), connection, insert })
    }

    fn pragma(&self, name: &str, value: &str) -> Result<(), Error> {
        self.connection.pragma_update(None, name, value).map_err(failed(&self.path))
    }

    /// Whether this is a database of ours, of this version. `None` if it is empty.
    fn version(&self) -> Result<Option<()>, Error> {
        let number = |name: &str| {
            self.connection
                .pragma_query_value(None, name, |row| row.get::<_, u32>(0))
                .map_err(failed(&self.path))
        };
        match (number("application_id")?, number("user_version")?, number("page_count")?) {
            (_, _, 0) => Ok(None),
            (APPLICATION, Identity::FORMAT, _) => Ok(Some(())),
            (APPLICATION, version, _) => Err(refused(
                &self.path,
                &format!(
                    "the database has format {version}; this version reads and writes {}",
                    Identity::FORMAT
                ),
                "use the version of architect that made it, or begin a new file",
            )),
            _ => {
                Err(refused(&self.path, "this is a SQLite database, but no campaign's", "name another file"))
            }
        }
    }

    /// All or nothing: an interrupted creation leaves an empty database.
    fn create(&mut self, identity: &Identity) -> Result<(), Error> {
        let failed = failed(&self.path);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
        let create = || {
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", Identity::FORMAT)?;
            transaction.execute_batch(&schema())?;
            for (name, value) in identity.facts() {
                transaction.execute("INSERT INTO campaign (name, value) VALUES (?, ?)", [name, value])?;
            }
            for (cell, levels) in identity.cells.iter().enumerate() {
                for (nth, (factor, level)) in identity.factors.iter().zip(levels).enumerate() {
                    let insert = "INSERT INTO cells (cell, nth, factor, level) VALUES (?, ?, ?, ?)";
                    transaction.execute(insert, (cell, nth, factor, level))?;
                }
            }
            Ok(())
        };
        create().map_err(&failed)?;
        transaction.commit().map_err(&failed)
    }

    /// Adds a row; when this returns, the row is there for good.
    pub fn add(&mut self, row: &Row) -> Result<(), Error> {
        let added = self
            .connection
            .prepare_cached(&self.insert)
            .and_then(|mut insert| insert.execute(params_from_iter(values(row))));
        match added {
            Ok(_) => Ok(()),
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {
                Err(refused(
                    &self.path,
                    &format!("run {} is in the database already: another campaign writes to it", row.run),
                    "let only one at a time write to a file; shards (--shard) have a file each",
                ))
            }
            Err(error) => Err(failed(&self.path)(error)),
        }
    }

    /// Leaves one plain file, which can be read from a medium that cannot be written.
    pub fn close(self) {
        // Whoever reads it just now keeps the log open; it does no harm.
        let _ = self.connection.pragma_update(None, "journal_mode", "DELETE");
    }

    /// All rows, by their numbers.
    pub fn rows(&self) -> Result<Vec<Row>, Error> {
        let failed = failed(&self.path);
        let columns = columns();
        let query = format!("SELECT {} FROM runs ORDER BY run", columns.join(", "));
        let mut query = self.connection.prepare(&query).map_err(&failed)?;
        let rows = query.query_map([], from_sql).map_err(&failed)?;
        rows.collect::<Result<_, _>>().map_err(&failed)
    }
}

/// The write that is too large fails; there is nothing else to do.
extern "C" fn on_file_too_large(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
