//! A run's folder, which `--out` names. A run that fails removes what it has created.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Report};

/// The folder. Dropped before [`Folder::keep`], it removes everything that it has created.
pub struct Folder {
    path: PathBuf,
    /// The outermost folder that did not exist before.
    made: Option<PathBuf>,
    files: Vec<PathBuf>,
}

impl Folder {
    /// Creates the folder and its parents, if they do not exist.
    ///
    /// # Errors
    ///
    /// It cannot be created.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let made =
            path.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists()).last();
        let folder = Self { path: path.to_owned(), made: made.map(Path::to_owned), files: Vec::new() };
        fs::create_dir_all(path).map_err(|error| folder.failed(&error))?;
        Ok(folder)
    }

    /// Creates a file in it.
    ///
    /// # Errors
    ///
    /// It cannot be created.
    pub fn file(&mut self, name: &str) -> Result<File, Error> {
        let path = self.path.join(name);
        let file = File::create(&path).map_err(|error| self.failed(&error))?;
        self.files.push(path);
        Ok(file)
    }

    /// Creates a file with this text.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn write(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let mut file = self.file(name)?;
        file.write_all(text.as_bytes()).map_err(|error| self.failed(&error))
    }

    /// The error of a file in it that could not be written.
    pub fn failed(&self, error: &io::Error) -> Error {
        Error::Input(Report::new(
            format!("cannot write the run's folder: {error}"),
            format!("--out {}", self.path.display()),
            "give the path of a folder that can be created or written, with free space",
        ))
    }

    /// The run succeeded: the folder stays.
    pub fn keep(mut self) {
        self.made = None;
        self.files.clear();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays: nothing better can be done here.
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        if let Some(made) = &self.made {
            let mut here = Some(self.path.as_path());
            while let Some(folder) = here.filter(|folder| folder.starts_with(made)) {
                let _ = fs::remove_dir(folder);
                here = folder.parent();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_run_leaves_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b/c");
        let mut folder = Folder::create(&path).unwrap();
        folder.write("x", "1").unwrap();
        drop(folder);
        assert!(!home.path().join("a").exists() && home.path().exists());
    }

    #[test]
    fn a_kept_folder_stays_and_what_was_there_before_stays_anyway() {
        let home = tempfile::tempdir().unwrap();
        let mut folder = Folder::create(&home.path().join("a")).unwrap();
        folder.write("x", "1").unwrap();
        folder.keep();
        let mut folder = Folder::create(&home.path().join("a")).unwrap();
        folder.write("y", "1").unwrap();
        drop(folder);
        assert!(home.path().join("a/x").exists() && !home.path().join("a/y").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_input_error() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("file"), "").unwrap();
        let error = Folder::create(&home.path().join("file/sub")).err().unwrap();
        assert_eq!(error.exit_status(), 2);
        assert!(error.to_string().contains("--out"));
    }
}
