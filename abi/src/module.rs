//! The boot module: the programs that the kernel can start, page-aligned so that their text is mapped where
//! it lies.
//!
//! ```text
//! page 0    Header, then `count` Programs
//! page 1…   text and read-only data of each program, in whole pages
//! ```

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Marks a boot module: "MATRIXMD".
pub const MODULE_MAGIC: u64 = u64::from_le_bytes(*b"MATRIXMD");
/// Most programs in a module: what fits into its first page.
pub const MODULE_PROGRAMS: usize = 60;

/// Start of the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// [`MODULE_MAGIC`].
    pub magic: u64,
    /// [`crate::info::VERSION`].
    pub version: u32,
    /// Programs in the table.
    pub count: u32,
    /// Pages of the whole module.
    pub pages: u32,
    /// Zero.
    pub reserved: [u32; 3],
}

/// One program, 64 bytes. Text, then read-only data are mapped from the module at
/// [`crate::layout::USER_TEXT`]; zeroed data at [`crate::layout::USER_DATA`]. A program has no initialised
/// writable data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Program {
    /// Name, padded with zeros.
    pub name: [u8; 16],
    /// Address of the first instruction.
    pub entry: u64,
    /// First page of the text in the module.
    pub text_page: u32,
    /// Pages of text, mapped read-only and executable.
    pub text_pages: u32,
    /// Pages of read-only data right behind the text, mapped read-only and no-execute.
    pub rodata_pages: u32,
    /// Pages of zeroed data.
    pub data_pages: u32,
    /// Zero.
    pub reserved: [u32; 6],
}

const _: () = {
    assert!(size_of::<Header>() == 32 && size_of::<Program>() == 64);
    assert!(size_of::<Header>() + MODULE_PROGRAMS * size_of::<Program>() <= 4096);
};
