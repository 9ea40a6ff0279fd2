//! The guest's image: the Matrix as built with this command, and its boot module.

use std::path::Path;

use abi::module::{Header, MODULE_MAGIC};
use sha2::{Digest as _, Sha256};
use vmm::machine::loader::{Blob, ImageSource};
use vmm::machine::snapshot::Origin;
use zerocopy::FromBytes;

use crate::error::{Error, Report};

/// The image of the Matrix, an ELF file.
pub static MATRIX: &[u8] = include_bytes!(env!("MATRIX_IMAGE"));

/// Identifies the image and the boot module that a guest was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// SHA-256 of the kernel image, in hexadecimal.
    pub image_sha256: String,
    /// SHA-256 of the boot module, if it is not the image's own.
    pub module_sha256: Option<String>,
}

impl Fingerprints {
    /// Those of guests with this boot module in place of the image's own.
    pub fn of(module: Option<&Blob>) -> Self {
        Self { image_sha256: sha256(MATRIX), module_sha256: module.map(|module| sha256(&module.bytes)) }
    }

    /// The form in which a snapshot's file has it.
    pub fn origin(&self) -> Origin {
        Origin { image_sha256: self.image_sha256.clone(), module_sha256: self.module_sha256.clone() }
    }
}

/// The SHA-256 of these bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a boot module from a file.
///
/// # Errors
///
/// The file cannot be read, or is no boot module of this version; the guest itself would silently use its
/// own.
pub fn read_module(path: &Path) -> Result<Blob, Error> {
    let blob = Blob::read(&ImageSource::File(path.to_owned()))?;
    let what = match Header::read_from_prefix(&blob.bytes) {
        Ok((header, _)) if header.magic == MODULE_MAGIC && header.version == abi::info::VERSION => {
            return Ok(blob);
        }
        Ok((header, _)) if header.magic == MODULE_MAGIC => {
            format!(
                "this boot module has version {}, this guest takes {}",
                header.version,
                abi::info::VERSION
            )
        }
        _ => "this is not a boot module".to_owned(),
    };
    Err(Error::Input(Report::new(
        what,
        format!("{}, given by vm.module", path.display()),
        "give a file that was packed for this version, or leave the key out",
    )))
}
