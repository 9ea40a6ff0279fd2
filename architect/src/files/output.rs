//! Output files: opened before a guest starts, so that a wrong path fails early, and named only when they are
//! complete.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Report};
use vmm::wall::Patience;

/// A file that gets its name when it is finished. Dropped before that, it leaves nothing behind.
pub struct AtomicFile {
    file: File,
    option: &'static str,
    /// Its temporary and its final path; `None` for devices and pipes, which are written to directly.
    rename: Option<(PathBuf, PathBuf)>,
    path: PathBuf,
}

impl AtomicFile {
    /// Starts writing the file that `option` names.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn create(option: &'static str, path: &Path) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::Input(Report::file("write", option, path, &error));
        let known = fs::metadata(path).ok();
        if known.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        if known.as_ref().is_some_and(|known| !known.is_file()) {
            let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
            return Ok(Self { file, option, rename: None, path: path.to_owned() });
        }
        if known.is_some() {
            // A file without write permission must not be replaced either.
            drop(OpenOptions::new().append(true).open(path).map_err(failed)?);
        }
        // Replace the file that a link points to, not the link.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let Some(name) = target.file_name() else {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        };
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.partial", std::process::id()));
        let temporary = target.with_file_name(temporary);
        let file = File::create(&temporary).map_err(failed)?;
        Ok(Self { file, option, rename: Some((temporary, target)), path: path.to_owned() })
    }

    /// Whether it is a regular file, which can be written at any position.
    pub fn is_regular(&self) -> bool {
        self.rename.is_some()
    }

    /// Writes it by `write`, then gives it its name.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn finish(mut self, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), Error> {
        let written =
            write(&mut self.file).and_then(|()| self.file.flush()).and_then(|()| match &self.rename {
                Some((temporary, target)) => fs::rename(temporary, target),
                None => Ok(()),
            });
        match written {
            Ok(()) => {
                self.rename = None;
                Ok(())
            }
            Err(error) => Err(Error::Input(Report::file("write", self.option, &self.path, &error))),
        }
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some((temporary, _)) = self.rename.take() {
            // Nothing can be done about a file that cannot be removed.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// The output of a guest's console. A reader that stops reading blocks the guest, but not beyond the end of
/// the run.
pub struct Console {
    file: File,
    patience: Option<Patience>,
}

impl Console {
    /// Standard output.
    pub fn stdout() -> Result<Self, Error> {
        // Without the standard library's buffer.
        let fd = rustix::stdio::stdout().try_clone_to_owned().map_err(|error| {
            Error::Input(Report::file("write", "standard output", Path::new("-"), &error))
        })?;
        Ok(Self { file: fd.into(), patience: None })
    }

    /// A new file.
    ///
    /// # Errors
    ///
    /// It cannot be created.
    pub fn file(option: &'static str, path: &Path) -> Result<Self, Error> {
        let file =
            File::create(path).map_err(|error| Error::Input(Report::file("write", option, path, &error)))?;
        Ok(Self { file, patience: None })
    }

    /// Sets when to give up on a blocked reader.
    pub fn set_patience(&mut self, patience: Patience) {
        self.patience = Some(patience);
    }
}

/// Writes text to standard output.
///
/// # Errors
/// It cannot be written. A reader that closes the pipe early, as `head` does, is no error.
pub fn print(text: &str) -> Result<(), Error> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Input(Report::new(
            error.to_string(),
            "standard output",
            "check the reader of standard output",
        ))),
        _ => Ok(()),
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write(bytes) {
            Err(error)
                if error.kind() == io::ErrorKind::Interrupted
                    && self.patience.as_ref().is_some_and(Patience::is_over) =>
            {
                Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it"))
            }
            other => other,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let names = || fs::read_dir(folder.path()).unwrap().count();

        drop(AtomicFile::create("--json", &path).unwrap());
        assert_eq!(names(), 0);

        let file = AtomicFile::create("--json", &path).unwrap();
        assert!(!path.exists());
        file.finish(|file| file.write_all(b"first")).unwrap();
        assert_eq!((fs::read(&path).unwrap(), names()), (b"first".to_vec(), 1));

        let file = AtomicFile::create("--json", &path).unwrap();
        assert!(file.finish(|_| Err(io::ErrorKind::StorageFull.into())).is_err());
        assert_eq!((fs::read(&path).unwrap(), names()), (b"first".to_vec(), 1));
    }

    #[test]
    fn a_device_is_written_to_and_not_replaced() {
        let file = AtomicFile::create("--json", Path::new("/dev/null")).unwrap();
        assert!(!file.is_regular());
        file.finish(|file| file.write_all(b"x")).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        AtomicFile::create("--core", &link).unwrap().finish(|file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn places_that_cannot_be_written_are_told_before_anything_runs() {
        for path in ["/nonexistent/x", "/", "/proc/x", ""] {
            let Err(error) = AtomicFile::create("--core", Path::new(path)) else { panic!("{path}") };
            assert_eq!(error.exit_status(), 2);
            assert!(error.to_string().contains("--core"), "{error}");
        }
    }
}
