//! The boot module: finds programs and the frames that their text lies in.

use abi::Frame;
use abi::module::{Header, MODULE_MAGIC, MODULE_PROGRAMS, Program};
use zerocopy::FromBytes;

/// A checked boot module.
pub struct Module {
    programs: &'static [Program],
    first: Frame,
    pages: u32,
}

impl Module {
    /// Checks a module that lies at `first`. `None` where it is not one, or made for another version.
    pub fn new(bytes: &'static [u8], first: Frame) -> Option<Self> {
        let (header, rest) = Header::ref_from_prefix(bytes).ok()?;
        let right = header.magic == MODULE_MAGIC
            && header.version == abi::info::VERSION
            && header.count as usize <= MODULE_PROGRAMS
            && u64::from(header.pages) * abi::layout::PAGE_SIZE <= bytes.len() as u64;
        if !right {
            return None;
        }
        let (programs, _) = <[Program]>::ref_from_prefix_with_elems(rest, header.count as usize).ok()?;
        let inside = |p: &Program| {
            p.text_page
                .checked_add(p.text_pages)?
                .checked_add(p.rodata_pages)
                .filter(|end| *end <= header.pages)
        };
        programs.iter().all(|p| inside(p).is_some()).then_some(Self { programs, first, pages: header.pages })
    }

    /// The frames it takes, as first and one past the last.
    pub fn frames(&self) -> (u32, u32) {
        (self.first.0 as u32, self.first.0 as u32 + self.pages)
    }

    /// The program with this index.
    pub fn program(&self, index: usize) -> Option<&Program> {
        self.programs.get(index)
    }

    /// The index of the program with this name.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        self.programs.iter().position(|p| {
            let len = p.name.iter().position(|b| *b == 0).unwrap_or(p.name.len());
            &p.name[..len] == name
        })
    }

    /// The frame that holds a page of the module.
    pub fn frame(&self, page: u32) -> Frame {
        Frame(self.first.0 + u64::from(page))
    }
}
