//! `cargo xtask count-instructions`: the instructions that the Matrix's kernel needs for a system call, a
//! switch, a message and so on, and for its boot.
//!
//! QEMU's software emulation runs the guest one instruction at a time and logs the address of each. Nothing
//! is timed, so the figures are the same on every machine. A repeated string instruction counts as one. The
//! clock's ticks, one in 16 kernel entries, are in the figures.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use object::{Object, ObjectSymbol};

use crate::failure::Failure;
use crate::host::{architect, library};
use crate::workspace::{Running, root, tied};

/// The kernel's own half of each address space.
const KERNEL: Range<u64> = 0xffff_ffff_8000_0000..u64::MAX;
/// The kernel's start, before it runs in its own half. Firmware lies elsewhere.
const START: Range<u64> = 0x10_0000..0x40_0000;
/// Programs, once the kernel runs in its own half.
const PROGRAMS: Range<u64> = 0..0xa0_0000;
/// How often the program `measure` does each operation.
const TIMES: f64 = 64.0;
/// A line of a program is written to the console in as many pieces.
const PIECES: usize = 4;

/// Counts and prints a table in Markdown.
///
/// # Errors
///
/// QEMU is missing and cannot be installed, or ends early; an image without what is counted.
pub(crate) fn count_instructions() -> Result<(), Failure> {
    library("setup_qemu")?;
    let emulator = Emulator::new(architect()?.with_file_name("matrix.elf"))?;
    let list = StartList::of(&root().join("scenarios/healthy.toml"))?;
    let healthy = emulator.run(&list.text, Until::Boot)?;
    let start = "measure:1:1000:4:3001,measure:1:1000:4:3000";
    let measured = emulator.run(start, Until::Measured)?;
    let boot = |run: &Run| run.counts.boot.ok_or_else(|| "no program was started".to_owned());
    println!("| path | kernel instructions |\n|---|---|");
    println!("| boot to the first instruction of a program, 2 programs | {} |", boot(&measured)?);
    let processes = list.processes;
    println!("| the same with the {processes} programs of the healthy scenario | {} |", boot(&healthy)?);
    for (name, instructions) in operations(&measured)? {
        println!("| {name} | {instructions:.0} |");
    }
    Ok(())
}

/// The kernel's start list for a scenario's programs.
#[derive(Debug, PartialEq, Eq)]
struct StartList {
    text: String,
    processes: i64,
}

impl StartList {
    fn of(scenario: &Path) -> Result<Self, String> {
        let failed = |problem: &dyn std::fmt::Display| format!("{}: {problem}", scenario.display());
        let text = fs::read_to_string(scenario).map_err(|error| failed(&error))?;
        let table: toml::Table = text.parse().map_err(|error| failed(&error))?;
        Self::parse(&table).ok_or_else(|| failed(&"no [[program]] with a program"))
    }

    fn parse(scenario: &toml::Table) -> Option<Self> {
        let (mut entries, mut processes) = (Vec::new(), 0);
        for program in scenario.get("program")?.as_array()? {
            let text = |key: &str, default: &str| match program.get(key) {
                Some(toml::Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
                None => default.to_owned(),
            };
            let name = program.get("program")?.as_str()?;
            let (uid, priority) = (text("uid", "1000"), text("priority", "4"));
            let ports = program.get("ports").and_then(toml::Value::as_array);
            let count = program.get("count").and_then(toml::Value::as_integer).unwrap_or(1);
            match ports {
                Some(ports) => {
                    processes += i64::try_from(ports.len()).ok()?;
                    entries.extend(ports.iter().map(|port| format!("{name}:1:{uid}:{priority}:{port}")));
                }
                None => {
                    processes += count;
                    entries.push(format!("{name}:{count}:{uid}:{priority}:{}", text("argument", "0")));
                }
            }
        }
        Some(Self { text: entries.join(","), processes })
    }
}

/// Kernel instructions so far.
#[derive(Debug, Default)]
struct Counts {
    /// The function that writes to the console. It is not counted: it waits for the serial port.
    landmark: Range<u64>,
    last: u64,
    total: u64,
    is_high: bool,
    /// At the first instruction of a program.
    boot: Option<u64>,
    /// At each call of the landmark.
    marks: Vec<u64>,
}

impl Counts {
    /// Counts the instruction of a line of QEMU's log, `Trace 0: 0x… [base/address/flags/…]`; false for any
    /// other line.
    fn add(&mut self, line: &str) -> bool {
        let field = line.split('/').nth(1).filter(|field| field.len() == 16);
        let Some(at) = field.and_then(|field| u64::from_str_radix(field, 16).ok()) else { return false };
        if at == self.last {
            return true;
        }
        self.last = at;
        if self.landmark.contains(&at) {
            if at == self.landmark.start {
                self.marks.push(self.total);
            }
        } else if KERNEL.contains(&at) {
            self.total += 1;
            self.is_high = true;
        } else if START.contains(&at) {
            self.total += 1;
        } else if self.is_high && self.boot.is_none() && PROGRAMS.contains(&at) {
            self.boot = Some(self.total);
        }
        true
    }
}

/// What a run of the guest left.
#[derive(Debug)]
struct Run {
    counts: Counts,
    console: String,
}

struct Emulator {
    image: PathBuf,
    landmark: Range<u64>,
}

impl Emulator {
    fn new(image: PathBuf) -> Result<Self, String> {
        let failed = |problem: &dyn std::fmt::Display| format!("{}: {problem}", image.display());
        let bytes = fs::read(&image).map_err(|error| failed(&error))?;
        let file = object::File::parse(&*bytes).map_err(|error| failed(&error))?;
        let mut symbols = file.symbols();
        let landmark = symbols.find(|symbol| symbol.name().is_ok_and(|name| name.contains("6serial5write")));
        let landmark = landmark.ok_or_else(|| failed(&"no function that writes to the console"))?;
        let landmark = landmark.address()..landmark.address() + landmark.size();
        Ok(Self { image, landmark })
    }

    /// Runs the guest with a start list.
    fn run(&self, start: &str, until: Until) -> Result<Run, Failure> {
        let mut command = tied(Path::new("qemu-system-x86_64"));
        command.args(["-accel", "tcg", "-display", "none", "-no-reboot", "-m", "32", "-serial", "stdio"]);
        command.args(["-singlestep", "-d", "nochain,exec"]).arg("-kernel").arg(&self.image);
        command.args(["-append", &format!("start={start}")]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("qemu-system-x86_64: {error}"))?;
        let mut qemu = Running(child);
        let (console, log) = (qemu.0.stdout.take(), qemu.0.stderr.take());
        let (console, log) = console.zip(log).ok_or_else(|| "QEMU has no output".to_owned())?;
        let measured = Arc::new(AtomicBool::new(false));
        let console = thread::spawn({
            let measured = Arc::clone(&measured);
            move || read_console(console, &measured)
        });
        let mut counts = Counts { landmark: self.landmark.clone(), ..Counts::default() };
        let (mut is_enough, mut other) = (false, String::new());
        // After the end that is what is still in the pipe.
        for line in BufReader::new(log).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            if !counts.add(&line) {
                other = line.into_owned();
            }
            let is_reached = match until {
                Until::Boot => counts.boot.is_some(),
                Until::Measured => measured.load(Ordering::Relaxed),
            };
            if is_reached && !is_enough {
                is_enough = true;
                qemu.0.kill().map_err(|error| format!("QEMU: {error}"))?;
            }
        }
        if !is_enough {
            let text = format!("QEMU ended before the guest had measured: {other}");
            return Err(Failure::new(Failure::ENDED, text));
        }
        let console = console.join().unwrap_or_default();
        Ok(Run { counts, console })
    }
}

/// When a run is over.
#[derive(Clone, Copy, Debug)]
enum Until {
    /// A program runs.
    Boot,
    /// The program `measure` has told its last mark.
    Measured,
}

/// Reads the console to its end, and says when the last mark is there.
fn read_console(console: impl Read, measured: &AtomicBool) -> String {
    let mut text = String::new();
    for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        if line.contains("mark end") {
            measured.store(true, Ordering::Relaxed);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The instructions for each operation. A program's line is written in pieces, so the marks are at every
/// fourth call of the landmark, counted from the end. What a mark itself costs is the first figure, and taken
/// off the others.
fn operations(run: &Run) -> Result<Vec<(String, f64)>, String> {
    let names = run.console.lines().filter_map(|line| Some(line.split_once(": mark ")?.1));
    let names: Vec<_> = names.map(|name| name.split(' ').next().unwrap_or_default().to_owned()).collect();
    let at = |mark: usize| {
        let back = PIECES * (names.len() - 1 - mark) + PIECES;
        run.counts.marks.len().checked_sub(back).map(|place| run.counts.marks[place] as f64)
    };
    let spent = |mark: usize| Some(at(mark + 1)? - at(mark)?);
    let none = names.len().checked_sub(2).and_then(|_| spent(0));
    let none = none.ok_or_else(|| "the program `measure` told no marks".to_owned())?;
    let figure = |mark: usize| Some((names[mark].clone(), (spent(mark)? - none) / TIMES));
    Ok((1..names.len() - 1).filter_map(figure).collect())
}

#[cfg(test)]
mod tests {
    use super::{Counts, Run, StartList, operations};

    #[test]
    fn programs_with_ports_are_started_once_for_each() {
        let scenario = "[[program]]\nprogram = \"hog\"\ncount = 3\nargument = \"x\"\n[[program]]\n\
                        program = \"front\"\nuid = 100\nports = [2000, 2001]\n[expect]\n";
        let list = StartList::parse(&scenario.parse().expect("TOML")).expect("programs");
        assert_eq!(list.text, "hog:3:1000:4:x,front:1:100:4:2000,front:1:100:4:2001");
        assert_eq!(list.processes, 5);
    }

    #[test]
    fn kernel_instructions_are_counted_and_a_repeated_one_once() {
        let mut counts =
            Counts { landmark: 0xffff_ffff_8000_1000..0xffff_ffff_8000_1010, ..Counts::default() };
        for at in [
            0x10_0000_u64,
            0x40_1000,
            0xffff_ffff_8000_0000,
            0xffff_ffff_8000_0000,
            0xffff_ffff_8000_1000,
            0xffff_ffff_8000_1004,
            0x40_1000,
            0xffff_ffff_8000_0004,
        ] {
            assert!(counts.add(&format!("Trace 0: 0x7f [00000000/{at:016x}/0040/00]")));
        }
        assert!(!counts.add("Linking TBs"));
        assert_eq!((counts.total, counts.boot, counts.marks), (3, Some(2), vec![2]));
    }

    #[test]
    fn the_cost_of_a_mark_is_taken_off() {
        // Four pieces for each of four lines; the lines begin at 10, 20, 94 and 168 instructions.
        let starts = [10_u64, 20, 94, 168];
        let marks = starts.into_iter().flat_map(|start| [start, start + 1, start + 2, start + 3]).collect();
        let console = "1: mark none\n1: mark call\n1: mark send\n1: mark end\n".to_owned();
        let run = Run { counts: Counts { marks, ..Counts::default() }, console };
        let figures = operations(&run).expect("marks");
        assert_eq!(figures, [("call".to_owned(), 1.0), ("send".to_owned(), 1.0)]);
    }
}
