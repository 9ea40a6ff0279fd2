//! Boot modules made from the image's own: the same programs in another order, under other names.

use abi::layout::PAGE_SIZE;
use abi::module::{Header, Program};
use object::{Object, ObjectSection};
use zerocopy::{FromBytes, IntoBytes};

/// A boot module, see `abi::module`.
#[derive(Clone)]
pub struct Module {
    header: Header,
    /// Its programs, in the order of their numbers.
    pub programs: Vec<Program>,
    /// Everything behind the first page.
    pages: Vec<u8>,
}

impl Module {
    /// The module in the image that was built with the command under test.
    pub fn of_the_image() -> Self {
        let path = crate::architect_path().with_file_name("matrix.elf");
        let image = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = object::File::parse(&*image).expect("the image is an ELF file");
        let section = file.section_by_name(".module").expect("the image has a boot module");
        let bytes = section.data().expect("the section is in the file");
        let (header, table) = Header::read_from_prefix(bytes).expect("a module has a header");
        let (programs, _) = <[Program]>::ref_from_prefix_with_elems(table, header.count as usize)
            .expect("a module has a table of programs");
        let end = header.pages as usize * PAGE_SIZE as usize;
        let pages = bytes[PAGE_SIZE as usize..end].to_vec();
        Self { header, programs: programs.to_vec(), pages }
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.as_bytes().to_vec();
        bytes.extend(self.programs.as_bytes());
        bytes.resize(PAGE_SIZE as usize, 0);
        bytes.extend(&self.pages);
        bytes
    }
}

/// The name of a program.
pub fn name(program: &Program) -> String {
    let end = program.name.iter().position(|byte| *byte == 0).unwrap_or(program.name.len());
    String::from_utf8_lossy(&program.name[..end]).into_owned()
}

/// Gives a program another name.
pub fn rename(program: &mut Program, name: &str) {
    program.name = [0; 16];
    program.name[..name.len()].copy_from_slice(name.as_bytes());
}
