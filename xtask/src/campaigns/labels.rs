//! The same scenario with other labels: names, order of start, process ids.
//!
//! What a run does may not depend on any of them. Names are in the image and in the command that holds it, so
//! a command with other names is made as well.

use std::fs;
use std::path::Path;

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// All programs have other names and other numbers: the table of programs in the image's boot module
    /// (`abi/src/module.rs`) is shuffled and renamed.
    Names,
    /// The last `[[program]]` is started first.
    Order,
    /// Before all others a program is started that exits at once, so that each process has another id, and
    /// the first one that comes later gets a slot that was used before. Only one, since several delay the
    /// first turn of all others beyond the monitor's patience, which is more than a label.
    Pids,
}

impl Change {
    pub(super) const ALL: [Self; 3] = [Self::Names, Self::Order, Self::Pids];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Names => "names",
            Self::Order => "order",
            Self::Pids => "pids",
        }
    }
}

/// A scenario with other labels.
#[derive(Debug)]
pub(super) struct Relabelled {
    pub(super) scenario: String,
    /// The command with the names of the scenario, where these are changed.
    pub(super) command: Option<Vec<u8>>,
}

/// The scenario of a file with other labels. `matrix.elf` is beside the command.
///
/// # Errors
///
/// A file that cannot be read, or a command that holds another image.
pub(super) fn relabel(change: Change, scenario: &Path, command: &Path) -> Result<Relabelled, String> {
    let text = fs::read_to_string(scenario).map_err(|error| format!("{}: {error}", scenario.display()))?;
    let parts = Parts::of(&text).ok_or_else(|| format!("{}: no [[program]]", scenario.display()))?;
    match change {
        Change::Names => {
            let image = command.with_file_name("matrix.elf");
            let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
            let (table, bytes) = (table(&read(&image)?), read(command)?);
            let table = table.ok_or_else(|| format!("{} has no boot module", image.display()))?;
            let names: Vec<_> = table.iter().map(|program| name(program)).collect();
            let command = with_other_names(bytes, &table, &names)
                .ok_or_else(|| format!("{} was not built with {}", command.display(), image.display()))?;
            Ok(Relabelled { scenario: renamed(&text, &names), command: Some(command) })
        }
        Change::Order => {
            let programs: String = parts.programs.iter().rev().map(String::as_str).collect();
            Ok(Relabelled { scenario: parts.before + &programs + &parts.rest, command: None })
        }
        Change::Pids => {
            let programs = parts.programs.concat();
            Ok(Relabelled { scenario: parts.before + FORERUNNER + &programs + &parts.rest, command: None })
        }
    }
}

/// A program that uses up no memory and then exits.
const FORERUNNER: &str = "[[program]] # goes home at once\nprogram = \"hog\"\nargument = 0\npriority = 1\n\n";

/// A scenario's text: before the programs; each program with what follows up to the next; the rest.
struct Parts {
    before: String,
    programs: Vec<String>,
    rest: String,
}

impl Parts {
    fn of(text: &str) -> Option<Self> {
        let start = text.find("[[program]]")?;
        let (before, mut rest) = (text[..start].to_owned(), &text[start..]);
        let mut programs = Vec::new();
        while rest.starts_with("[[program]]") {
            let end = rest.find("\n[").map_or(rest.len(), |at| at + 1);
            programs.push(rest[..end].trim_end().to_owned() + "\n\n");
            rest = &rest[end..];
        }
        Some(Self { before, programs, rest: rest.to_owned() })
    }
}

/// Another name of the same length.
fn other(name: &str) -> String {
    let turn = |letter: u8, first: u8| char::from(first + (letter - first + 13) % 26);
    let letter = |letter: u8| match letter {
        b'a'..=b'z' => turn(letter, b'a'),
        b'A'..=b'Z' => turn(letter, b'A'),
        _ => char::from(letter),
    };
    name.bytes().map(letter).collect()
}

/// Other names where programs are started, and where one is told of another.
fn renamed(text: &str, names: &[String]) -> String {
    let line = |line: &str| {
        let key = ["program = \"", "argument = \""].into_iter().find(|key| line.starts_with(key))?;
        let (name, after) = line[key.len()..].split_once('"')?;
        names.iter().any(|of| of == name).then(|| format!("{key}{}\"{after}", other(name)))
    };
    text.split_inclusive('\n').map(|old| line(old).unwrap_or_else(|| old.to_owned())).collect()
}

// A boot module is a header, then a table of programs whose names come first; all of it is in the first page.
const MAGIC: &[u8] = b"MATRIXMD";
const COUNT_AT: usize = 12;
const HEADER: usize = 32;
const ENTRY: usize = 64;
const NAME: usize = 16;
const MOST: usize = 60;

/// The table of programs in a kernel image.
fn table(image: &[u8]) -> Option<Vec<Vec<u8>>> {
    let starts = (0..image.len()).filter(|at| image[*at..].starts_with(MAGIC));
    let mut tables = starts.filter_map(|at| {
        let count = image.get(at + COUNT_AT..at + COUNT_AT + 4)?.try_into().ok()?;
        let count = usize::try_from(u32::from_le_bytes(count)).ok()?.min(MOST);
        let programs: Vec<_> =
            image.get(at + HEADER..)?.chunks_exact(ENTRY).take(count).map(<[u8]>::to_vec).collect();
        Some(programs)
    });
    tables.find(|programs| !programs.is_empty() && programs.iter().all(|program| has_name(program)))
}

fn has_name(program: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    let len = program.iter().take_while(|byte| is_letter(byte)).count();
    len > 0 && program.get(len) == Some(&0)
}

fn name(program: &[u8]) -> String {
    let name = program[..NAME].split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// The command with the table shuffled and renamed, in its image and in its own list of names, by which it
/// refuses a scenario with a name that is in no image. `None` where it holds no such table or list.
fn with_other_names(mut command: Vec<u8>, table: &[Vec<u8>], names: &[String]) -> Option<Vec<u8>> {
    let renamed = |(name, program): (&String, &Vec<u8>)| {
        let mut program = program.clone();
        program[..name.len()].copy_from_slice(other(name).as_bytes());
        program
    };
    let programs: Vec<_> = names.iter().zip(table).map(renamed).collect();
    let odd = programs.iter().skip(1).step_by(2);
    let even: Vec<_> = programs.iter().step_by(2).collect();
    let shuffled: Vec<u8> = odd.chain(even.into_iter().rev()).flatten().copied().collect();
    let listed = names.join(",");
    replace(&mut command, &table.concat(), &shuffled)?;
    replace(&mut command, listed.as_bytes(), other(&listed).as_bytes())?;
    Some(command)
}

/// Replaces bytes wherever they are by as many others; `None` where they are not.
fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) -> Option<()> {
    let mut found = None;
    let mut at = 0;
    while at + old.len() <= bytes.len() {
        if bytes[at] == old[0] && bytes[at..].starts_with(old) {
            bytes[at..at + old.len()].copy_from_slice(new);
            at += old.len();
            found = Some(());
        } else {
            at += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{ENTRY, HEADER, MAGIC, Parts, name, other, renamed, table, with_other_names};

    const SCENARIO: &str = "[vm]\na = 1\n\n[[program]]\nprogram = \"neo\"\n\n# The second.\n[[program]]\nprogram = \"hog\"\n\
                            argument = \"neo\"\n[expect]\nb = [\n2]\n";

    #[test]
    fn programs_are_parted_from_the_rest() {
        let parts = Parts::of(SCENARIO).expect("programs");
        assert_eq!(parts.before, "[vm]\na = 1\n\n");
        assert_eq!(parts.programs[0], "[[program]]\nprogram = \"neo\"\n\n# The second.\n\n");
        assert_eq!((parts.programs.len(), parts.rest.as_str()), (2, "[expect]\nb = [\n2]\n"));
    }

    #[test]
    fn only_known_names_are_changed() {
        let text = renamed(SCENARIO, &["neo".to_owned()]);
        assert_eq!(text, SCENARIO.replace("neo", "arb"));
        assert_eq!(other("front-2"), "sebag-2");
    }

    #[test]
    fn a_commands_table_and_list_are_shuffled_and_renamed() {
        let program = |name: &str, number: u8| {
            let mut entry = vec![0; ENTRY];
            entry[..name.len()].copy_from_slice(name.as_bytes());
            entry[ENTRY - 1] = number;
            entry
        };
        let mut image = MAGIC.to_vec();
        image.resize(HEADER, 0);
        image[12] = 3;
        ["neo", "hog", "front"].iter().zip(1..).for_each(|(name, nth)| image.extend(program(name, nth)));
        let found = table(&[b"MATRIXMD", &image[..]].concat()).expect("a table");
        let names: Vec<_> = found.iter().map(|program| name(program)).collect();
        assert_eq!(names, ["neo", "hog", "front"]);
        let command = [&image[..], b"neo,hog,front"].concat();
        let changed = with_other_names(command, &found, &names).expect("its table and its list");
        let entries = changed[HEADER..].chunks(ENTRY).map(|entry| (name(entry), entry.last().copied()));
        let entries: Vec<_> = entries.take(3).collect();
        let expected = [("ubt", 2), ("sebag", 3), ("arb", 1)].map(|(name, nth)| (name.to_owned(), Some(nth)));
        assert_eq!(entries, expected);
        assert!(changed.ends_with(b"arb,ubt,sebag"));
        assert!(with_other_names(image, &found, &names).is_none());
    }
}
