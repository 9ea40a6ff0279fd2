//! What is inspected: a dump, and what is known of the guest in it.
//!
//! Opening reads the headers and nothing else. Whether the guest publishes tables is looked for only when somebody asks:
//! without a note that says so, every page has to be looked at.

use std::path::{Path, PathBuf};

use abi::{GuestPhys, GuestVirt, Pid};
use introspect::matrix::space::{pid as process_of, space_id};
use introspect::matrix::{Guest, find_info};
use introspect::x86::dump::Dump;
use introspect::x86::{DumpError, NotMapped, Paging, PhysicalMemory, Space, Translation};

use super::args::{InspectArgs, Who};
use super::names;
use crate::error::{Error, Report};

/// The core of a run, in its folder.
const CORE: &str = "core.elf";

/// A dump that is open.
pub(super) struct Source {
    pub(super) dump: Dump,
    pub(super) path: PathBuf,
    /// Given by `--root`.
    root: Option<GuestPhys>,
}

impl Source {
    pub(super) fn open(args: &InspectArgs) -> Result<Self, Error> {
        let path = path(&args.source)?;
        let dump = Dump::open(&path).map_err(|error| refuse(&path, &error))?;
        let source = Self { dump, path, root: args.root.map(GuestPhys) };
        match source.root {
            Some(root) if !source.dump.has_frame(root.frame()) => Err(source.wrong(
                format!("the dump has no memory at the root {root}"),
                "give the guest-physical address of a root of page tables: the value of CR3",
            )),
            _ => Ok(source),
        }
    }

    /// A message about this dump, and what to do.
    pub(super) fn wrong(&self, what: impl Into<String>, remedy: impl Into<String>) -> Error {
        Error::Input(Report::new(what, self.path.display().to_string(), remedy))
    }

    /// The guest's own tables.
    pub(super) fn guest(&self) -> Result<Guest, Error> {
        let Some(info) = find_info(&self.dump) else {
            return Err(self.wrong(
                "this guest publishes no tables: there is no info block in its memory",
                "roots, maps, translate, shared and read need none; they begin at the processor's CR3 or at --root",
            ));
        };
        Guest::read(&self.dump, info).map_err(|error| {
            self.wrong(
                format!("the guest's tables cannot be read: {error}"),
                "they were damaged before the dump was taken, or the dump is; roots, maps, translate, shared and read \
                 still work with --root",
            )
        })
    }

    /// The guest's own tables, for what can do without.
    pub(super) fn guest_if_any(&self) -> Option<Guest> {
        Guest::read(&self.dump, find_info(&self.dump)?).ok()
    }

    /// What a page-table entry means here.
    pub(super) fn paging(&self) -> Paging {
        self.dump.paging()
    }

    /// The root of the kernel's own address space, or what comes nearest.
    pub(super) fn kernel_root(&self, guest: Option<&Guest>) -> Result<GuestPhys, Error> {
        let published = guest.map(|guest| guest.info.kernel_root).filter(|root| root.0 != 0);
        self.root.or(published).or_else(|| self.dump.root()).ok_or_else(|| {
            self.wrong(
                "the dump does not tell where page tables begin",
                "give the value that the guest's CR3 had: --root ADDR",
            )
        })
    }

    /// The root that the caller gave, or the dump tells.
    pub(super) fn told_root(&self) -> Option<GuestPhys> {
        self.root.or_else(|| self.dump.root())
    }

    /// The address space that is meant.
    pub(super) fn space(&self, who: Option<Who>, guest: Option<&Guest>) -> Result<Space, Error> {
        let spaces = || guest.into_iter().flat_map(Guest::spaces);
        let known = |name: String, found: Option<Space>| match (found, guest) {
            (Some(space), _) => Ok(space),
            (None, None) => Err(self.wrong(
                format!("there is no process {name}: this guest publishes no tables"),
                "give the address of a root, as `roots` lists them",
            )),
            (None, Some(_)) => Err(self.wrong(
                format!("there is no process {name} with an address space"),
                "`ps` lists the processes; a pid is SLOT.GENERATION, as in 17.1",
            )),
        };
        match who {
            None => Ok(Space { id: space_id(Pid::NONE), root: self.kernel_root(guest)? }),
            Some(Who::Root(root)) if !self.dump.has_frame(root.frame()) => Err(self.wrong(
                format!("the dump has no memory at the root {root}"),
                "`roots` lists the address spaces",
            )),
            Some(Who::Root(root)) => {
                let named = spaces().find(|space| space.root.frame() == root.frame());
                Ok(named.unwrap_or(Space { id: space_id(Pid::NONE), root }))
            }
            Some(Who::Pid(pid)) => {
                let of = |space: &Space| space.id == space_id(pid) && pid != Pid::NONE;
                known(pid.to_string(), spaces().find(of))
            }
            Some(Who::Slot(slot)) => {
                let of = |space: &Space| {
                    let pid = process_of(space.id);
                    pid != Pid::NONE && pid.slot() == slot
                };
                known(format!("in slot {slot}"), spaces().find(of))
            }
        }
    }

    /// Follows an address; the message names the entry to blame.
    pub(super) fn translate(&self, space: Space, at: GuestVirt) -> Result<Translation, Error> {
        self.paging().translate(&self.dump, space.root, at).map_err(|error| {
            let NotMapped { level, entry, .. } = error;
            self.wrong(
                format!("{at} is not mapped by the page tables at {}: {}", space.root, names::why(error.why)),
                format!("the level {level} entry at {entry} is to blame; `maps` lists what is mapped"),
            )
        })
    }
}

/// The dump that a path stands for: itself, or the core in a run's folder.
fn path(given: &Path) -> Result<PathBuf, Error> {
    if !given.is_dir() {
        return Ok(given.to_owned());
    }
    let core = given.join(CORE);
    if core.exists() {
        return Ok(core);
    }
    let remedy = if given.join("vm-00").is_dir() {
        "each guest has a folder of its own here: give one of vm-00, vm-01, …"
    } else {
        "run the scenario again with --core, or give the path of a core"
    };
    Err(Error::Input(Report::new(
        format!("there is no {CORE} in this folder"),
        given.display().to_string(),
        remedy,
    )))
}

fn refuse(path: &Path, error: &DumpError) -> Error {
    let remedy = match error {
        DumpError::Open(_) => "check the path and its permissions",
        DumpError::Truncated { .. } => {
            "copy the dump again, or take another: there may not have been enough space"
        }
        DumpError::OfProcess(_) => {
            "give the dump of a whole machine: from `architect run --core`, or QEMU's dump-guest-memory"
        }
        _ => {
            "give an ELF core of an x86-64 machine, a raw dump of memory from address 0 on, or a run's folder"
        }
    };
    Error::Input(Report::new(error.to_string(), path.display().to_string(), remedy))
}
