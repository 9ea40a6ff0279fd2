//! `inspect symbols`: names for addresses, from the kernel's ELF file. The Matrix in this program is the file for its own
//! cores, as long as the core is of the same image; for other kernels somebody has to give theirs.

use std::borrow::Cow;
use std::path::Path;

use abi::GuestVirt;
use introspect::matrix::Guest;
use introspect::x86::dump::Cpu;
use introspect::x86::symbols::{Place, Symbols};
use serde_json::{Value, json};

use super::answer::Answer;
use super::args::number;
use super::names;
use super::source::Source;
use super::table::{Table, or_dash};
use crate::error::{Error, Report};
use crate::guest::image::{MATRIX, sha256};

pub(super) fn answer(source: &Source, wanted: &[String], image: Option<&Path>) -> Result<Answer, Error> {
    let guest = source.guest_if_any();
    let file = image_file(source, guest.as_ref(), image)?;
    let symbols = Symbols::parse(&file).map_err(|error| {
        let place = image.unwrap_or(Path::new("the Matrix in this program"));
        let remedy = "give the ELF file that the linker wrote, with its symbols";
        Error::Input(Report::new(error.to_string(), place.display().to_string(), remedy))
    })?;
    // A kernel that moved itself (Linux's KASLR) says by how much, in hexadecimal.
    let moved = source.dump.vmcoreinfo().get("KERNELOFFSET");
    let moved =
        moved.and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()).unwrap_or(0);
    let names = Names { symbols, moved };
    if wanted.is_empty() {
        everything(source, guest.as_ref(), &names)
    } else {
        lookup(source, wanted, &names)
    }
}

struct Names<'a> {
    symbols: Symbols<'a>,
    moved: u64,
}

impl Names<'_> {
    fn place(&self, at: u64) -> Option<Place> {
        self.symbols.place(GuestVirt(at.wrapping_sub(self.moved)))
    }

    fn address(&self, name: &str) -> Option<u64> {
        Some(self.symbols.address(name)?.0.wrapping_add(self.moved))
    }
}

fn image_file<'a>(
    source: &Source,
    guest: Option<&Guest>,
    image: Option<&Path>,
) -> Result<Cow<'a, [u8]>, Error> {
    if let Some(path) = image {
        let bytes = std::fs::read(path)
            .map_err(|error| Error::Input(Report::file("read", "--image", path, &error)))?;
        return Ok(bytes.into());
    }
    let remedy = "give the ELF file that this kernel was loaded from: --image FILE";
    if guest.is_none() {
        return Err(source.wrong("this guest is not the Matrix, so there are no names for it here", remedy));
    }
    match source.dump.vmcoreinfo().get("IMAGE_SHA256") {
        Some(other) if other != sha256(MATRIX) => Err(source
            .wrong(format!("the core is of another image than this program has (SHA-256 {other})"), remedy)),
        _ => Ok(MATRIX.into()),
    }
}

/// Where the processors and the processes are, and all names.
fn everything(source: &Source, guest: Option<&Guest>, names: &Names<'_>) -> Result<Answer, Error> {
    let mut places = Table::new(&["who", ">ring", "rip", "where"]);
    let mut standing = Vec::new();
    let mut stand = |who: String, pid: Option<String>, ring: u8, rip: u64| {
        let place = names.place(rip);
        places.row([who.clone(), ring.to_string(), format!("{rip:#x}"), or_dash(place.as_ref())]);
        standing.push(json!({"who": who, "pid": pid, "ring": ring, "rip": format!("{rip:#x}"), "place": place_json(place)}));
    };
    for (number, cpu) in source.dump.cpus().iter().enumerate() {
        stand(format!("cpu {number}"), None, Cpu::ring(cpu), cpu.rip);
    }
    for process in guest.iter().flat_map(|guest| &guest.processes) {
        let d = &process.descriptor;
        let name = names::label(guest, d.pid).unwrap_or_default();
        stand(format!("{} {name}", d.pid), names::pid(d.pid), (d.context.cs & 3) as u8, d.context.rip);
    }
    let mut table = Table::new(&["address", ">bytes", "kind", "name"]);
    let mut list = Vec::new();
    for symbol in names.symbols.iter() {
        let address = format!("{:#x}", symbol.address.0.wrapping_add(names.moved));
        let kind = if symbol.code { "code" } else { "data" };
        table.row([address.clone(), symbol.size.to_string(), kind.into(), symbol.readable().into_owned()]);
        list.push(json!({
            "address": address,
            "bytes": symbol.size,
            "kind": kind,
            "name": symbol.readable(),
            "linker_name": symbol.name,
        }));
    }
    Ok(Answer { text: format!("{places}\n{table}"), json: json!({"places": standing, "symbols": list}) })
}

fn lookup(source: &Source, wanted: &[String], names: &Names<'_>) -> Result<Answer, Error> {
    let mut table = Table::new(&["wanted", "address", "where"]);
    let mut list = Vec::new();
    for word in wanted {
        let address = number(word).ok().or_else(|| names.address(word));
        let place = address.and_then(|at| names.place(at));
        let (Some(address), Some(place)) = (address, place) else {
            return Err(source.wrong(
                format!("no symbol has `{word}`"),
                "give an address inside of the kernel's image, or a name as `symbols` lists it",
            ));
        };
        table.row([word.clone(), format!("{address:#x}"), place.to_string()]);
        list.push(
            json!({"wanted": word, "address": format!("{address:#x}"), "place": place_json(Some(place))}),
        );
    }
    Ok(Answer { text: table.to_string(), json: json!({"places": list}) })
}

fn place_json(place: Option<Place>) -> Value {
    place.map_or(Value::Null, |place| {
        json!({
            "name": place.name,
            "offset": place.offset,
            "file": place.line.as_ref().map(|line| &line.file),
            "line": place.line.as_ref().map(|line| line.line),
        })
    })
}
