//! A file as a slice of bytes, without reading it: the one place of this crate with unsafe code.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// A file, mapped read-only. Opening it costs the same for a kilobyte and for a terabyte; pages come in as they are
/// looked at.
#[derive(Debug)]
pub struct MappedFile(Option<Mmap>);

impl MappedFile {
    /// Maps a regular file.
    ///
    /// # Errors
    /// What the system says about a file that cannot be opened or mapped; `InvalidInput` for what is not a file.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Asked before opening: opening a pipe would wait for its other end.
        let about = std::fs::metadata(path)?;
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is not a regular file"));
        }
        if about.len() == 0 {
            return Ok(Self(None));
        }
        let file = File::open(path)?;
        // SAFETY: the mapping is private to this value, read-only, and never handed out for longer than the value lives.
        // It must not change under the slices that we give: a dump is a finished file that nobody writes any more, which
        // the documentation of `Dump::open` asks of its callers. Whoever cuts the file short all the same ends this process
        // by a signal; no memory but the file's is ever touched.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self(Some(map)))
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or(&[])
    }
}
