//! Moments in code: which instructions of the kernel a fault waits for, and the traps that stand in their place.
//!
//! A trap is `out PORT_TRAP, al`, two bytes: in ring 0 it is an exit to us on every host, which `int3` and hardware
//! breakpoints are not. When the guest comes to one, its own bytes are put back and its instruction pointer is set back to
//! them. If the fault waits for another time, the guest takes one step with its trap flag set; the debug exception that
//! follows is caught by a second trap, at the beginning of the kernel's own handler, and what the processor has pushed is
//! undone. So the guest never sees any of this: not one of its registers, nor any memory but a few words below its stack.
//!
//! Only the kernel's code can be trapped: a program in ring 3 may not use ports. And an instruction that pushes the flags
//! or leaves ring 0 cannot be stepped over: it is refused.

use abi::layout::{KERNEL_BASE, PORT_TRAP};
use abi::{GuestPhys, GuestVirt};
use introspect::x86::symbols::Symbols;

use crate::scenario::fault::model::{Code, Fault, Mistake, When};

/// `out PORT_TRAP, al`.
pub const TRAP: [u8; 2] = [0xe6, PORT_TRAP as u8];
/// Where the kernel's handlers of exceptions begin, 16 bytes for each.
const HANDLERS: &str = "fault_stubs";
/// The vector of the debug exception (Intel SDM vol. 3, 6.15).
const DEBUG: u64 = 1;
/// The trap flag.
pub const TRAP_FLAG: u64 = 1 << 8;
/// Most places that a line of source may have been put in.
const MOST_PLACES: usize = 64;

/// An instruction that faults wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// Where it is.
    pub at: GuestVirt,
    /// The faults that wait there, by their places in the resolved scenario.
    pub faults: Vec<u32>,
}

impl Trap {
    /// Where it is in memory.
    pub fn phys(at: GuestVirt) -> GuestPhys {
        GuestPhys(at.0.wrapping_sub(KERNEL_BASE))
    }
}

/// All traps of a scenario, and the place where a step ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traps {
    /// In rising order of address.
    pub all: Vec<Trap>,
    /// The kernel's handler of debug exceptions, if there are any traps.
    pub handler: Option<GuestVirt>,
}

impl Traps {
    /// The traps of a scenario's faults in an image. `Err` has the place of the fault that has none, and why.
    pub fn of(faults: &[Fault], image: &[u8]) -> Result<Self, (usize, Mistake)> {
        let mut traps = Self::default();
        let mut symbols = None;
        for (number, fault) in faults.iter().enumerate() {
            let When::Code { at, nth } = &fault.when else { continue };
            let wrong = |what: String, remedy: &str| (number, Mistake::new(at.key(), what, remedy));
            let symbols = match &symbols {
                Some(symbols) => symbols,
                None => {
                    let parsed = Symbols::parse(image);
                    let remedy = "the kernel's image must have symbols: build it without stripping them";
                    symbols.insert(parsed.map_err(|error| wrong(error.to_string(), remedy))?)
                }
            };
            traps.handler = symbols.address(HANDLERS).map(|stubs| stubs.add(16 * DEBUG));
            for address in places(at, symbols).map_err(|(what, remedy)| wrong(what, &remedy))? {
                let bytes = bytes_at(image, address);
                if *nth > 1 && !bytes.is_some_and(can_be_stepped) {
                    let what = format!(
                        "the instruction at {address:?} cannot be stepped over, so its times cannot be counted"
                    );
                    return Err(wrong(what, "leave nth out, or take another line"));
                }
                match traps.all.iter_mut().find(|trap| trap.at == address) {
                    Some(trap) => trap.faults.push(number as u32),
                    None => traps.all.push(Trap { at: address, faults: vec![number as u32] }),
                }
            }
        }
        traps.all.sort_by_key(|trap| trap.at);
        if let Some(pair) = traps.all.windows(2).find(|pair| pair[1].at.0 - pair[0].at.0 < TRAP.len() as u64)
        {
            let number = pair[1].faults[0] as usize;
            let mistake =
                Mistake::new("when", "its instruction is too close to another fault's", "take another line");
            return Err((number, mistake));
        }
        Ok(traps)
    }
}

impl Code {
    fn key(&self) -> &'static str {
        match self {
            Self::Symbol(_) => "when.symbol",
            Self::Line { .. } => "when.line",
            Self::Address(_) => "when.code",
        }
    }
}

/// Where the instruction is; or what is wrong, and what to do.
fn places(code: &Code, symbols: &Symbols<'_>) -> Result<Vec<GuestVirt>, (String, String)> {
    match code {
        Code::Address(at) => match symbols.symbol(GuestVirt(*at)) {
            Some(symbol) if symbol.code => Ok(vec![GuestVirt(*at)]),
            _ => Err((
                format!("{at:#x} is in no function of the kernel"),
                "`architect inspect DIR symbols` lists them".into(),
            )),
        },
        Code::Line { file, line } => {
            let found = symbols.addresses_of_line(file, *line);
            match found.len() {
                0 => Err((
                    format!("no instruction was made from {file}:{line}"),
                    "take a line with a statement, of a file in guest-kernel/src".into(),
                )),
                1..=MOST_PLACES => Ok(found),
                many => Err((
                    format!("{file}:{line} was put in {many} places"),
                    "take a line of a larger function".into(),
                )),
            }
        }
        Code::Symbol(name) => {
            let mut found: Vec<(GuestVirt, String)> = symbols
                .iter()
                .filter(|symbol| symbol.code && (symbol.name == name || is_called(&symbol.readable(), name)))
                .map(|symbol| (symbol.address, symbol.readable().into_owned()))
                .collect();
            found.dedup_by_key(|(address, _)| *address);
            match &found[..] {
                [(address, _)] => Ok(vec![*address]),
                [] => Err((
                    format!("no function of the kernel is called `{name}`"),
                    "it may have been inlined: name another one, or a line; `architect inspect DIR symbols` lists them".into(),
                )),
                several => {
                    let names: Vec<_> = several.iter().take(4).map(|(_, name)| name.as_str()).collect();
                    let what = format!("{} functions are called `{name}`", several.len());
                    Err((what, format!("write more of the path; among them are {}", names.join(", "))))
                }
            }
        }
    }
}

/// Whether a readable name ends in the last part of `name` and has its other parts before that, in their order: both
/// `Memory::open_loan` and `loans::open_loan` are `kernel::mem::loans::<impl kernel::mem::Memory<H>>::open_loan`.
fn is_called(readable: &str, name: &str) -> bool {
    let mut words = readable
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .rev();
    let mut parts = name.split("::").filter(|part| !part.is_empty()).collect::<Vec<_>>().into_iter().rev();
    let last = parts.next();
    last.is_some() && words.next() == last && parts.all(|part| words.any(|word| word == part))
}

fn can_be_stepped(bytes: [u8; 2]) -> bool {
    const PUSHF: u8 = 0x9c;
    const POPF: u8 = 0x9d;
    const IRET: u8 = 0xcf;
    const WIDE: u8 = 0x48;
    const SYSTEM: u8 = 0x0f;
    let sysret = [0x05, 0x07, 0x34, 0x35];
    !(matches!(bytes[0], PUSHF | POPF | IRET)
        || bytes == [WIDE, IRET]
        || bytes[0] == SYSTEM && sysret.contains(&bytes[1])
        || bytes == TRAP)
}

/// Two bytes of an image, by the address at which the kernel has them.
fn bytes_at(image: &[u8], at: GuestVirt) -> Option<[u8; 2]> {
    use object::{Object, ObjectSegment};
    let file = object::File::parse(image).ok()?;
    let segment = file
        .segments()
        .find(|segment| (segment.address()..segment.address() + segment.size()).contains(&at.0))?;
    let from = (at.0 - segment.address()) as usize;
    segment.data().ok()?.get(from..from + 2)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::image::MATRIX;
    use crate::scenario::fault::keys::FaultKeys;

    fn traps(when: &str) -> Result<Traps, String> {
        let keys: FaultKeys =
            toml::from_str(&format!("when = {{ {when} }}\nwhat = {{ nmi = true }}")).unwrap();
        Traps::of(&[Fault::of(&keys).unwrap()], MATRIX).map_err(|(_, mistake)| format!("{mistake:?}"))
    }

    #[test]
    fn a_function_is_found_by_the_end_of_its_name() {
        let tick = traps("symbol = \"Kernel::tick\"").unwrap();
        assert_eq!((tick.all.len(), tick.handler.is_some()), (1, true));
        let symbols = Symbols::parse(MATRIX).unwrap();
        let place = symbols.place(tick.all[0].at).unwrap();
        assert!(place.name.ends_with("::tick") && place.offset == 0, "{place}");
        let address = format!("code = \"{:#x}\"", tick.all[0].at.0);
        assert_eq!(traps(&address).unwrap(), tick);
        for (when, part) in [
            ("symbol = \"no_such_function\"", "inlined"),
            ("symbol = \"Kernel::tic\"", "inlined"),
            ("symbol = \"fmt\"", "write more of the path"),
            ("line = \"clock.rs:1\"", "no instruction"),
            ("line = \"no-such.rs:7\"", "no instruction"),
            ("code = \"0xffffffffffff0000\"", "no function"),
        ] {
            let message = traps(when).unwrap_err();
            assert!(message.contains(part), "{when}: {message}");
        }
    }

    #[test]
    fn a_line_is_found_where_its_instructions_are() {
        let tick = traps("symbol = \"Kernel::tick\"").unwrap().all[0].at;
        let symbols = Symbols::parse(MATRIX).unwrap();
        let line = symbols.line(tick).unwrap();
        let found = traps(&format!("line = \"clock.rs:{}\"", line.line)).unwrap();
        assert!(found.all.iter().any(|trap| trap.at == tick), "{found:?}");
        assert!(found.all.iter().all(|trap| symbols.line(trap.at).is_some()));
    }

    #[test]
    fn two_faults_at_one_instruction_share_its_trap() {
        let keys: FaultKeys = toml::from_str("when.symbol = \"Kernel::tick\"\nwhat.nmi = true").unwrap();
        let fault = Fault::of(&keys).unwrap();
        let traps = Traps::of(&[fault.clone(), fault], MATRIX).unwrap();
        assert_eq!(traps.all.len(), 1);
        assert_eq!(traps.all[0].faults, [0, 1]);
    }
}
