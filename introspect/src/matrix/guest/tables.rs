//! The guest's tables, read whole.

use abi::flow::{Flow, Gate};
use abi::frame::{FrameEntry, FrameKind};
use abi::info::{INFO_MAGIC, Info, VERSION};
use abi::layout::{LOAN_PAGES, MAX_MEMORY, PAGE_SIZE};
use abi::loan::{LOAN_ACTIVE, LOAN_DRAINING, LOAN_NONE, Loan};
use abi::process::{DESCRIPTOR_MAGIC, Descriptor, State};
use abi::service::{SERVICE_BARRED, Service};
use abi::{Frame, GuestPhys, Pid};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::matrix::space::space_id;
use crate::x86::changed::Changed;
use crate::x86::memory::{OutOfRange, PhysicalMemory};
use crate::x86::space::Space;

/// Largest process table: a [`Pid`] has 16 bits for the slot.
pub const MOST_PROCESSES: u32 = 1 << 16;
/// Largest frame table: one entry for each frame that a kernel manages.
pub const MOST_FRAMES: u32 = (MAX_MEMORY / PAGE_SIZE) as u32;
/// Largest loan table.
pub const MOST_LOANS: u32 = 1 << 16;
/// Largest flow table.
pub const MOST_FLOWS: u32 = 1 << 16;
/// Largest queue at the gateway.
pub const MOST_GATES: u32 = 1 << 16;
/// Largest service table.
pub const MOST_SERVICES: u32 = 1 << 16;

/// Tables that are read in two places: their names and largest numbers of entries.
pub(super) const PROCESS_TABLE: (&str, u32) = ("process table", MOST_PROCESSES);
pub(super) const FRAME_TABLE: (&str, u32) = ("frame table", MOST_FRAMES);

/// The guest's tables cannot be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// The info block is not in memory.
    #[error("the info block is not in memory: {0}")]
    NoInfo(OutOfRange),
    /// There is no info block at its address.
    #[error("no info block at {at}: its magic number is {magic:#x}")]
    BadMagic {
        /// The address.
        at: GuestPhys,
        /// What stands there.
        magic: u64,
    },
    /// The guest uses another version of the contract.
    #[error("the guest's tables have version {0}, this reader knows version {VERSION}")]
    BadVersion(u32),
    /// The info block gives a table more entries than a guest can have.
    #[error("the {table} has {count} entries, at most {most} make sense")]
    TooMany {
        /// Which table.
        table: &'static str,
        /// Its number of entries by the info block.
        count: u32,
        /// The largest accepted number.
        most: u32,
    },
    /// A table is not in memory.
    #[error("the {table} is not in memory: {cause}")]
    NoTable {
        /// Which table.
        table: &'static str,
        /// The read that failed.
        cause: OutOfRange,
    },
}

/// One bad entry of the guest's tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// A descriptor is not in memory. Left out.
    DescriptorOutside {
        /// Slot in the process table.
        slot: usize,
        /// The frame that the table names.
        frame: Frame,
    },
    /// There is no descriptor in the frame that should hold one. Left out.
    DescriptorMagic {
        /// Slot in the process table.
        slot: usize,
        /// The frame that the table names.
        frame: Frame,
        /// What stands there.
        magic: u32,
    },
    /// A descriptor's pid does not belong to its slot, or is [`Pid::NONE`]. Left out: loans could not be
    /// matched to it.
    DescriptorPid {
        /// Slot in the process table.
        slot: usize,
        /// The frame that the table names.
        frame: Frame,
        /// The pid in the descriptor.
        pid: Pid,
    },
    /// A descriptor's state is not a [`State`]. Kept.
    DescriptorState {
        /// The process.
        pid: Pid,
        /// The number in the descriptor.
        state: u8,
    },
    /// A loan's state is unknown. Left out.
    LoanState {
        /// Index in the loan table.
        slot: usize,
        /// The number in the table.
        state: u32,
    },
    /// A loan claims more pages than a loan can have. Kept, with the frames that it has.
    LoanPages {
        /// Index in the loan table.
        slot: usize,
        /// The number in the table.
        pages: u32,
    },
    /// More processes wait at the gateway than it has places. Only as many as places are read.
    GateWaiting {
        /// The number in the info block.
        waiting: u32,
        /// Its places.
        slots: u32,
    },
    /// A service's state is unknown. Kept: a service is identified by its index.
    ServiceState {
        /// Index in the service table.
        slot: usize,
        /// The number in the table.
        state: u8,
    },
}

/// A process that the guest's process table names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process {
    /// The frame that holds its descriptor.
    pub frame: Frame,
    /// The descriptor.
    pub descriptor: Descriptor,
}

impl Process {
    /// Returns its state; `None` if the descriptor holds an unknown one.
    pub fn state(&self) -> Option<State> {
        State::from_raw(self.descriptor.state)
    }
}

/// A guest's tables at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Guest {
    /// The info block.
    pub info: Info,
    /// The address of the info block.
    pub info_at: GuestPhys,
    /// The processes in the order of their slots.
    pub processes: Vec<Process>,
    /// The frame table, from frame 0 on.
    pub frames: Vec<FrameEntry>,
    /// The loans that are active or draining, in the order of the loan table.
    pub loans: Vec<Loan>,
    /// The flows: the entries of the flow table that are in use, in its order.
    pub flows: Vec<Flow>,
    /// The processes that wait at the gateway, in the order of the queue.
    pub gates: Vec<Gate>,
    /// The service table with its free entries: a service is identified by its index.
    pub services: Vec<Service>,
    /// Bad entries, in the order of reading.
    pub problems: Vec<Problem>,
    /// The process table, and the frames that it names.
    pub(super) slots: Vec<u32>,
    pub(super) named: Changed,
}

impl Guest {
    /// Reads the tables of the guest whose info block is at `info`.
    ///
    /// # Errors
    /// [`ReadError`] if there is no valid info block, or one of the tables cannot be read.
    pub fn read<M: PhysicalMemory + ?Sized>(mem: &M, info: GuestPhys) -> Result<Self, ReadError> {
        let mut guest = Self::default();
        guest.refresh(mem, info)?;
        Ok(guest)
    }

    /// Reads the tables again, and reuses the memory of the last reading.
    ///
    /// # Errors
    /// As [`Self::read`]; the contents are then unusable until a later reading succeeds.
    pub fn refresh<M: PhysicalMemory + ?Sized>(&mut self, mem: &M, info: GuestPhys) -> Result<(), ReadError> {
        let mem = &mem;
        self.problems.clear();
        self.info_at = info;
        self.info = mem.read_value(info).map_err(ReadError::NoInfo)?;
        if self.info.magic != INFO_MAGIC {
            return Err(ReadError::BadMagic { at: info, magic: self.info.magic });
        }
        if self.info.version != VERSION {
            return Err(ReadError::BadVersion(self.info.version));
        }
        let info = self.info;
        read_table(mem, PROCESS_TABLE, info.process_table, info.process_slots, &mut self.slots)?;
        read_table(mem, FRAME_TABLE, info.frame_table, info.frames, &mut self.frames)?;
        self.read_processes(mem);
        self.read_loans(mem)?;
        self.read_flows(mem)?;
        self.read_gates(mem)?;
        self.read_services(mem)
    }

    pub(super) fn read_processes<M: PhysicalMemory>(&mut self, mem: &M) {
        self.processes.clear();
        self.named.clear();
        for (slot, &number) in self.slots.iter().enumerate().filter(|(_, number)| **number != 0) {
            let frame = Frame(u64::from(number));
            self.named.add(frame);
            // Read into its final place: descriptors are many and large.
            self.processes.push(Process { frame, descriptor: Descriptor::new_zeroed() });
            let Some(Process { descriptor, .. }) = self.processes.last_mut() else { continue };
            let read = mem.read(frame.base(), descriptor.as_mut_bytes());
            let Descriptor { magic, pid, state, .. } = *descriptor;
            let problem = if read.is_err() {
                Problem::DescriptorOutside { slot, frame }
            } else if magic != DESCRIPTOR_MAGIC {
                Problem::DescriptorMagic { slot, frame, magic }
            } else if pid.slot() != slot || pid == Pid::NONE {
                Problem::DescriptorPid { slot, frame, pid }
            } else {
                if State::from_raw(state).is_none() {
                    self.problems.push(Problem::DescriptorState { pid, state });
                }
                continue;
            };
            self.processes.pop();
            self.problems.push(problem);
        }
    }

    /// Reads the loan table and removes the entries that are not loans.
    pub(super) fn read_loans<M: PhysicalMemory>(&mut self, mem: &M) -> Result<(), ReadError> {
        let (at, count) = (self.info.loan_table, self.info.loan_slots);
        read_table(mem, ("loan table", MOST_LOANS), at, count, &mut self.loans)?;
        let mut slot = 0;
        let problems = &mut self.problems;
        self.loans.retain(|loan| {
            let known = matches!(loan.state, LOAN_ACTIVE | LOAN_DRAINING);
            if !known && loan.state != LOAN_NONE {
                problems.push(Problem::LoanState { slot, state: loan.state });
            }
            if known && loan.pages > LOAN_PAGES as u32 {
                problems.push(Problem::LoanPages { slot, pages: loan.pages });
            }
            slot += 1;
            known
        });
        Ok(())
    }

    pub(super) fn read_flows<M: PhysicalMemory>(&mut self, mem: &M) -> Result<(), ReadError> {
        let (at, count) = (self.info.flow_table, self.info.flow_slots);
        read_table(mem, ("flow table", MOST_FLOWS), at, count, &mut self.flows)?;
        self.flows.retain(|flow| flow.from != Pid::NONE);
        Ok(())
    }

    /// Reads the gateway's table and keeps the processes that wait.
    pub(super) fn read_gates<M: PhysicalMemory>(&mut self, mem: &M) -> Result<(), ReadError> {
        let (at, count) = (self.info.gate_table, self.info.gate_slots);
        read_table(mem, ("gateway's table", MOST_GATES), at, count, &mut self.gates)?;
        let (waiting, slots) = (self.info.gate_waiting, self.info.gate_slots);
        if waiting > slots {
            self.problems.push(Problem::GateWaiting { waiting, slots });
        }
        self.gates.truncate(waiting as usize);
        Ok(())
    }

    pub(super) fn read_services<M: PhysicalMemory>(&mut self, mem: &M) -> Result<(), ReadError> {
        let (at, count) = (self.info.service_table, self.info.service_slots);
        read_table(mem, ("service table", MOST_SERVICES), at, count, &mut self.services)?;
        for (slot, service) in self.services.iter().enumerate().filter(|(_, s)| s.state > SERVICE_BARRED) {
            self.problems.push(Problem::ServiceState { slot, state: service.state });
        }
        Ok(())
    }

    /// Returns the frame table's entry of a frame; `None` beyond its end.
    pub fn fact(&self, frame: Frame) -> Option<FrameEntry> {
        self.frames.get(usize::try_from(frame.0).ok()?).copied()
    }

    /// Returns the process with this pid.
    pub fn process(&self, pid: Pid) -> Option<&Process> {
        let at = self.processes.binary_search_by_key(&pid.slot(), |process| process.descriptor.pid.slot());
        at.ok().map(|at| &self.processes[at]).filter(|process| process.descriptor.pid == pid)
    }

    /// Returns the address spaces: the kernel's own (with [`Pid::NONE`]), then each process's in the order of
    /// slots.
    ///
    /// A descriptor whose root is 0 has none. A zombie never runs again and its tables may already belong to
    /// another process, so it has an address space only while its root is a page table by the frame table.
    pub fn spaces(&self) -> impl Iterator<Item = Space> + '_ {
        let kernel = Some(Space { id: space_id(Pid::NONE), root: self.info.kernel_root });
        let processes = self.processes.iter().filter(|process| {
            let root = Frame(u64::from(process.descriptor.root));
            let kind = || self.fact(root).and_then(|fact| FrameKind::from_raw(fact.kind));
            root.0 != 0 && (process.state() != Some(State::Zombie) || kind() == Some(FrameKind::PageTable))
        });
        let processes = processes.map(|Process { descriptor, .. }| Space {
            id: space_id(descriptor.pid),
            root: Frame(u64::from(descriptor.root)).base(),
        });
        kernel.into_iter().filter(|space| space.root.0 != 0).chain(processes)
    }
}

/// Reads `count` entries at `at` into `into`, if the table (with its name) can have that many.
pub(super) fn read_table<M, T>(
    mem: &M,
    (table, most): (&'static str, u32),
    at: GuestPhys,
    count: u32,
    into: &mut Vec<T>,
) -> Result<(), ReadError>
where
    M: PhysicalMemory,
    T: FromBytes + IntoBytes + Immutable + Clone,
{
    if count > most {
        return Err(ReadError::TooMany { table, count, most });
    }
    into.resize(count as usize, T::new_zeroed());
    mem.read_values(at, into).map_err(|cause| ReadError::NoTable { table, cause })
}
