//! `inspect read`: bytes of memory.

use std::fmt::Write;

use abi::{GuestPhys, GuestVirt};
use introspect::x86::{PhysicalMemory, Space};
use serde_json::json;

use super::answer::Answer;
use super::args::Who;
use super::names;
use super::source::Source;
use crate::error::Error;

/// Most bytes at once: this is for people's eyes.
const MOST: u64 = 16 << 20;
const LINE: usize = 16;
/// The lower half of virtual addresses, which physical ones look like, ends here.
const UPPER_HALF: u64 = 1 << 63;

pub(super) fn answer(source: &Source, at: u64, len: u64, who: Option<Who>) -> Result<Answer, Error> {
    if len > MOST {
        return Err(source
            .wrong(format!("{len} bytes are too many for one reading"), format!("ask for at most {MOST}")));
    }
    let guest = if who.is_some() || at >= UPPER_HALF { source.guest_if_any() } else { None };
    let space = match who {
        None if at < UPPER_HALF => None,
        who => Some(source.space(who, guest.as_ref())?),
    };
    let mut bytes = vec![0; len as usize];
    match space {
        None => source.dump.read(GuestPhys(at), &mut bytes).map_err(|error| {
            source.wrong(
                error.to_string(),
                "give a guest-physical address that is memory, or --pid for a virtual one",
            )
        })?,
        Some(space) => read_virtual(source, space, at, &mut bytes)?,
    }
    let place = match space {
        None => "guest-physical".to_owned(),
        Some(space) => format!("in {}", names::space(guest.as_ref(), space)),
    };
    let text = format!("{len} bytes at {at:#x}, {place}\n\n{}", hex_dump(at, &bytes));
    let hex = bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let json = json!({
        "space": space.map(|space| names::space_json(guest.as_ref(), space)),
        "address": format!("{at:#x}"),
        "length": len,
        "bytes": hex,
    });
    Ok(Answer { text, json })
}

/// Page by page: what follows in virtual memory may be anywhere in physical memory.
fn read_virtual(source: &Source, space: Space, at: u64, into: &mut [u8]) -> Result<(), Error> {
    let mut done = 0;
    while done < into.len() {
        let here = GuestVirt(at.wrapping_add(done as u64));
        let found = source.translate(space, here)?;
        let mapping = found.mapping;
        let rest = mapping.size.bytes() - (here.0 - mapping.virt.0);
        let len = usize::try_from(rest).unwrap_or(usize::MAX).min(into.len() - done);
        source.dump.read(found.phys, &mut into[done..done + len]).map_err(|error| {
            source
                .wrong(format!("the page of {here} is not wholly in memory: {error}"), "ask for fewer bytes")
        })?;
        done += len;
    }
    Ok(())
}

/// As `hexdump -C` has it: lines that are the same as the one above are a star.
fn hex_dump(at: u64, bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut starred = false;
    let lines: Vec<_> = bytes.chunks(LINE).collect();
    for (nth, line) in lines.iter().enumerate() {
        let inner = nth > 0 && nth + 1 < lines.len();
        if inner && lines.get(nth - 1) == Some(line) {
            if !starred {
                text.push_str("*\n");
            }
            starred = true;
            continue;
        }
        starred = false;
        let address = at.wrapping_add((nth * LINE) as u64);
        let mut hex = String::new();
        for (place, byte) in line.iter().enumerate() {
            let gap = if place == LINE / 2 { "  " } else { " " };
            let _ = write!(hex, "{gap}{byte:02x}");
        }
        let shown: String = line
            .iter()
            .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' })
            .collect();
        let _ = writeln!(text, "{address:016x} {hex:<50} |{shown}|");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_repeat_are_left_out_and_the_last_is_shown() {
        let mut bytes = vec![0; 64];
        bytes[..8].copy_from_slice(b"MATRIXKI");
        bytes.extend(b"end");
        assert_eq!(
            hex_dump(0x1000, &bytes),
            "0000000000001000  4d 41 54 52 49 58 4b 49  00 00 00 00 00 00 00 00  |MATRIXKI........|\n\
             0000000000001010  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n\
             *\n\
             0000000000001040  65 6e 64                                          |end|\n"
        );
    }
}
