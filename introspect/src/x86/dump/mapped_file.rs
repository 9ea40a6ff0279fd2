//! A file as a slice of bytes, without reading it. The only unsafe code of this crate.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// A file, mapped read-only. Opening takes the same time for any size; pages are loaded at first access.
#[derive(Debug)]
pub struct MappedFile(Option<Mmap>);

impl MappedFile {
    /// Maps a regular file.
    ///
    /// # Errors
    /// The system's error if the file cannot be opened or mapped; `InvalidInput` if it is not a regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Checked before opening: opening a pipe would wait for its other end.
        let about = std::fs::metadata(path)?;
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is not a regular file"));
        }
        if about.len() == 0 {
            return Ok(Self(None));
        }
        let file = File::open(path)?;
        // SAFETY: the mapping is owned by this value, read-only, and its slices do not outlive the value. The
        // file must not change under these slices: a dump is a finished file without a writer, which the
        // documentation of `Dump::open` requires of its callers. If the file is truncated all the same, a
        // signal ends this process; no memory outside the mapping is touched.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self(Some(map)))
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or(&[])
    }
}
