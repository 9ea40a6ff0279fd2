//! Errors of a campaign's database, and what to do about them.

use std::path::Path;

use crate::error::{Error, Report};

/// A database that is not used as it is.
pub(super) fn refused(path: &Path, what: &str, remedy: &str) -> Error {
    Error::Input(Report::new(what, path.display().to_string(), remedy))
}

/// What SQLite reports, and what to do about it.
pub(super) fn failed(path: &Path) -> impl Fn(rusqlite::Error) -> Error + use<> {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, NotADatabase, ReadOnly, SystemIoFailure,
    };
    let path = path.to_owned();
    move |error| {
        let (what, remedy) = match error.sqlite_error_code() {
            Some(DatabaseBusy | DatabaseLocked) => (
                "the database is locked by another program",
                "end what has it open; every row that was stored is kept, and --resume goes on from there",
            ),
            Some(DiskFull) => (
                "there is no space for the database",
                "make space; every row that was stored is kept, and --resume goes on from there",
            ),
            Some(SystemIoFailure) => (
                "the database cannot be read or written",
                "check the disk, its free space and the limit on file sizes (`ulimit -f`); every row that was stored is \
                 kept, and --resume goes on from there",
            ),
            Some(NotADatabase) => ("this is no database", "name another file"),
            Some(CannotOpen) => ("the database cannot be opened", "check the path and its permissions"),
            Some(ReadOnly) => {
                ("the database may not be written", "check the permissions of the file and its folder")
            }
            _ => ("the database is damaged or was changed by another program", "name another file"),
        };
        refused(&path, &format!("{what}: {error}"), remedy)
    }
}
