//! The first three steps with a dump of any x86-64 guest: open it, find its address spaces, and list the
//! mappings of a frame.
//!
//! Usage: `who_maps DUMP [FRAME...]`, with hexadecimal frame numbers. Without one it lists all frames that
//! are mapped more than once.

use std::error::Error;
use std::path::Path;

use introspect::Frame;
use introspect::x86::{Dump, ReverseMap, Space, SpaceId, roots};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, wanted @ ..] = &arguments[..] else { return Err("usage: who_maps DUMP [FRAME...]".into()) };

    let dump = Dump::open(Path::new(path))?;
    let root = dump.root().ok_or("the dump does not say where page tables begin")?;

    // Every page that shares the kernel's half with a known root is the root of an address space.
    let found = roots::sharing(&dump, dump.paging(), dump.frames(), root).roots;
    let spaces: Vec<_> = found.iter().map(|root| Space { id: SpaceId(root.at.0), root: root.at }).collect();
    println!("{} address spaces", spaces.len());

    let map = ReverseMap::build(&dump, dump.paging(), spaces, ReverseMap::BUDGET);
    let list = |frame: Frame| {
        for mapping in map.of(frame) {
            let (space, virt) = (map.id(*mapping), mapping.virt());
            println!(
                "{frame}: mapped at {virt} ({}) in the address space with the root {space}",
                mapping.rights()
            );
        }
    };
    match wanted {
        [] => map.shared().for_each(|mappings| list(mappings[0].frame())),
        frames => {
            for frame in frames {
                list(Frame(u64::from_str_radix(frame.trim_start_matches("0x"), 16)?));
            }
        }
    }
    Ok(())
}
