//! The vCPU loop's decisions: what each exit of the guest does, and what of it the caller must decide on.
//!
//! [`Board::handle`] takes an exit as an argument, lets the devices act on it, and applies their actions
//! where that needs no decision: frames are filled, stray accesses are counted. Everything else is returned
//! as an [`Event`]. It knows no KVM, so tests can pass it any exit. The loop itself is `Machine::step`.

use std::collections::{BTreeSet, VecDeque};
use std::io;

use abi::GuestPhys;
use abi::layout::{PORT_SERIAL, PORT_SERIAL_LEN};
use devices::bus::{BusState, Counters};
use devices::{Action, Bus};
use serde::{Deserialize, Serialize};

use crate::error::VmmError;
use crate::host::exit::Exit;
use crate::host::memory::GuestMemory;
use crate::machine::event::{Crash, Event};

/// Most stray pages that are reported, each once; accesses to further ones are only counted.
const STRAY_PAGES: usize = 1024;

/// What happened, counted since the machine was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Exits to us.
    pub exits: u64,
    /// Reads of addresses with neither device nor memory.
    pub stray_reads: u64,
    /// Writes to such addresses.
    pub stray_writes: u64,
    /// Frames that the fill port zeroed.
    pub fills: u64,
    /// Frames that it could not zero, because they are no memory.
    pub refused_fills: u64,
}

/// The state and the counters of a board, without its memory: for snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardState {
    /// The devices.
    pub bus: BusState,
    /// What the devices have counted.
    pub counters: Counters,
    /// The counters since the machine was created.
    pub counts: Counts,
    /// Events that the caller has not seen yet. They are not serialised with the rest.
    #[serde(skip)]
    pub queue: VecDeque<Event>,
    stray_pages: BTreeSet<u64>,
    output_told: bool,
}

/// The memory and devices of a machine: everything but its processor.
pub struct Board<W> {
    /// The devices.
    pub bus: Bus<W>,
    memory: GuestMemory,
    counts: Counts,
    /// Events that came together with the one that was returned.
    queue: VecDeque<Event>,
    stray_pages: BTreeSet<u64>,
    output_told: bool,
}

impl<W: io::Write> Board<W> {
    /// A board with these parts.
    pub fn new(bus: Bus<W>, memory: GuestMemory) -> Self {
        Self {
            bus,
            memory,
            counts: Counts::default(),
            queue: VecDeque::new(),
            stray_pages: BTreeSet::new(),
            output_told: false,
        }
    }

    /// The guest's memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// The counters since the machine was created.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Passes on console output that waits for the end of its line.
    ///
    /// # Errors
    ///
    /// The console could not be written.
    pub fn flush_console(&mut self) -> Result<(), VmmError> {
        self.output_told = false;
        self.bus.serial.finish().map_err(|error| VmmError::Console(error.first))
    }

    /// What [`Board::restore`] needs.
    pub fn state(&self) -> BoardState {
        BoardState {
            bus: self.bus.state(),
            counters: self.bus.counters(),
            counts: self.counts,
            queue: self.queue.clone(),
            stray_pages: self.stray_pages.clone(),
            output_told: self.output_told,
        }
    }

    /// Restores the state that [`Board::state`] returned, of this board or of another.
    pub fn restore(&mut self, state: &BoardState) {
        self.bus.restore(&state.bus);
        self.bus.count_from(state.counters);
        self.counts = state.counts;
        self.queue.clone_from(&state.queue);
        self.stray_pages.clone_from(&state.stray_pages);
        self.output_told = state.output_told;
    }

    /// The next event that is waiting already.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }

    /// Queues an event for the next call.
    pub(crate) fn queue(&mut self, event: Event) {
        self.queue.push_back(event);
    }

    /// Handles an exit. Answers to reads are written into the exit's own slice.
    ///
    /// # Errors
    ///
    /// The exit is not one that a guest can cause.
    pub fn handle(&mut self, exit: Exit<'_>) -> Result<Option<Event>, VmmError> {
        self.counts.exits += 1;
        match exit {
            Exit::PortOut { port, size, data } => {
                if data.len() == usize::from(size) {
                    let action = self.bus.write(port, data);
                    self.apply(action);
                } else {
                    let mut actions = Vec::new();
                    self.bus.write_string(port, size.into(), data, |action| actions.push(action));
                    actions.into_iter().for_each(|action| self.apply(action));
                }
                if (PORT_SERIAL..PORT_SERIAL + PORT_SERIAL_LEN).contains(&port) && !self.output_told {
                    self.output_told = true;
                    self.queue(Event::OutputWaits);
                }
            }
            Exit::PortIn { port, size, data } => {
                if data.len() == usize::from(size) {
                    let action = self.bus.read(port, data);
                    self.apply(action);
                } else {
                    let mut actions = Vec::new();
                    self.bus.read_string(port, size.into(), data, |action| actions.push(action));
                    actions.into_iter().for_each(|action| self.apply(action));
                }
            }
            Exit::MmioWrite { at, data } => {
                self.counts.stray_writes += 1;
                self.stray_page(at, data.len(), true);
            }
            Exit::MmioRead { at, data } => {
                data.fill(0xff);
                self.counts.stray_reads += 1;
                self.stray_page(at, data.len(), false);
            }
            Exit::Halt => return Ok(Some(Event::Halted)),
            Exit::Shutdown => return Ok(Some(Event::TripleFault)),
            Exit::InternalError(error) => return Ok(Some(Event::Crash(Crash { error, rip: 0 }))),
            Exit::FailEntry { reason } => return Err(VmmError::FailEntry(reason)),
            Exit::SystemEvent(kind) => return Err(VmmError::SystemEvent(kind)),
            Exit::Unknown(number) => return Err(VmmError::UnknownExit(number)),
            Exit::Interrupted => {}
        }
        Ok(self.next_event())
    }

    /// The one place where actions of devices are applied.
    #[inline]
    fn apply(&mut self, action: Action) {
        let event = match action {
            // An unknown doorbell is counted by the device. Interrupts have no controller to go to.
            Action::None | Action::UnknownDoorbell(_) => return,
            Action::Serial { first_output, interrupt: _ } => {
                if first_output {
                    // The first output is passed on at once: it shows that the guest runs.
                    self.bus.serial.flush();
                }
                return;
            }
            Action::Fill(frame) => {
                match self.memory.zero(frame) {
                    Ok(()) => self.counts.fills += 1,
                    Err(_) => self.counts.refused_fills += 1,
                }
                return;
            }
            Action::Doorbell { reason, page } => Event::Doorbell { reason, page },
            Action::Trap => Event::Trap,
            Action::Exit { code, clamped: _ } => Event::Exit(code),
            Action::Reset => Event::Reset,
            Action::WatchdogStarted | Action::WatchdogStopped => Event::WatchdogChanged,
            Action::Stray { port, len, write } => {
                Event::Stray { at: port.into(), bytes: len, write, port: true }
            }
        };
        self.queue(event);
    }

    fn stray_page(&mut self, at: GuestPhys, bytes: usize, write: bool) {
        if self.stray_pages.len() < STRAY_PAGES && self.stray_pages.insert(at.frame().0) {
            self.queue(Event::Stray { at: at.0, bytes: bytes as u8, write, port: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::exit::InternalError;
    use abi::Frame;
    use abi::info::Doorbell;
    use abi::layout::{PAGE_SIZE, PORT_DOORBELL, PORT_EXIT, PORT_FILL, PORT_WATCHDOG_START};
    use devices::watchdog::{Stages, Timeout};
    use introspect::x86::memory::PhysicalMemory;
    use proptest::prelude::*;

    fn board() -> Board<Vec<u8>> {
        let bus = Bus::new(Vec::new(), Timeout::Wall, Stages::default());
        Board::new(bus, GuestMemory::new(2).unwrap())
    }

    fn out(board: &mut Board<Vec<u8>>, port: u16, size: u8, data: &[u8]) -> Option<Event> {
        board.handle(Exit::PortOut { port, size, data }).unwrap()
    }

    #[test]
    fn a_string_of_output_arrives_whole_and_in_order() {
        let mut board = board();
        assert_eq!(out(&mut board, PORT_SERIAL, 1, b"hello, world\n"), Some(Event::OutputWaits));
        assert_eq!(out(&mut board, PORT_SERIAL, 1, b"again\n"), None, "told once until the next flush");
        assert_eq!(board.bus.serial.output(), b"hello, world\nagain\n");
        board.flush_console().unwrap();
        assert_eq!(out(&mut board, PORT_SERIAL, 1, b"x"), Some(Event::OutputWaits));
    }

    #[test]
    fn the_first_byte_is_seen_at_once() {
        let mut board = board();
        let _ = out(&mut board, PORT_SERIAL, 1, b"H");
        assert_eq!(board.bus.serial.output(), b"H");
    }

    #[test]
    fn doorbells_of_one_string_come_one_by_one() {
        let mut board = board();
        let values: Vec<u8> = [2_u32, 3, 0x99, 2].iter().flat_map(|v| v.to_le_bytes()).collect();
        let page = GuestPhys(0);
        let tick = Event::Doorbell { reason: Doorbell::Tick, page };
        assert_eq!(out(&mut board, PORT_DOORBELL, 4, &values), Some(tick.clone()));
        assert_eq!(board.next_event(), Some(Event::Doorbell { reason: Doorbell::TraceFull, page }));
        assert_eq!(board.next_event(), Some(tick));
        assert_eq!(board.next_event(), None);
        assert_eq!(board.bus.counters().doorbells.unknown, 1);
    }

    #[test]
    fn fills_zero_frames_and_refuse_what_is_no_memory() {
        let mut board = board();
        board.memory().write(GuestPhys(0x5000), &[7; 4096]).unwrap();
        assert_eq!(out(&mut board, PORT_FILL, 4, &0x5000_u32.to_le_bytes()), None);
        assert_eq!(out(&mut board, PORT_FILL, 4, &0xffff_f000_u32.to_le_bytes()), None);
        let mut frame = [1; PAGE_SIZE as usize];
        board.memory().read(Frame(5).base(), &mut frame).unwrap();
        assert!(frame.iter().all(|byte| *byte == 0));
        assert_eq!((board.counts().fills, board.counts().refused_fills), (1, 1));
    }

    #[test]
    fn reads_of_nothing_give_all_ones_and_are_told_once() {
        let mut board = board();
        let at = GuestPhys(0xd000_0004);
        let mut data = [0; 4];
        let told = Event::Stray { at: at.0, bytes: 4, write: false, port: false };
        assert_eq!(board.handle(Exit::MmioRead { at, data: &mut data }).unwrap(), Some(told));
        assert_eq!(data, [0xff; 4]);
        assert_eq!(board.handle(Exit::MmioWrite { at, data: &[0; 8] }).unwrap(), None);
        assert_eq!((board.counts().stray_reads, board.counts().stray_writes), (1, 1));
    }

    #[test]
    fn what_the_caller_must_decide_comes_back_as_an_event() {
        let mut board = board();
        assert_eq!(out(&mut board, PORT_EXIT, 1, &[42]), Some(Event::Exit(42)));
        assert_eq!(out(&mut board, abi::layout::PORT_I8042, 1, &[0xfe]), Some(Event::Reset));
        assert_eq!(out(&mut board, PORT_WATCHDOG_START, 1, &[0]), Some(Event::WatchdogChanged));
        assert_eq!(board.handle(Exit::Shutdown).unwrap(), Some(Event::TripleFault));
        assert_eq!(board.handle(Exit::Halt).unwrap(), Some(Event::Halted));
        assert!(matches!(
            board.handle(Exit::InternalError(InternalError::default())).unwrap(),
            Some(Event::Crash(_))
        ));
        assert!(board.handle(Exit::Unknown(99)).is_err());
        assert!(board.handle(Exit::FailEntry { reason: 1 }).is_err());
        assert_eq!(board.handle(Exit::Interrupted).unwrap(), None);
    }

    proptest! {
        #[test]
        fn no_access_can_panic(
            accesses in proptest::collection::vec(
                (any::<u16>(), any::<u64>(), 0..5_u8, proptest::collection::vec(any::<u8>(), 0..40), 0..4_u8),
                0..50,
            )
        ) {
            let mut board = board();
            for (port, at, size, mut data, kind) in accesses {
                let at = GuestPhys(at);
                let exit = match kind {
                    0 => Exit::PortOut { port, size, data: &data },
                    1 => Exit::PortIn { port, size, data: &mut data },
                    2 => Exit::MmioWrite { at, data: &data },
                    _ => Exit::MmioRead { at, data: &mut data },
                };
                let _ = board.handle(exit).unwrap();
                while board.next_event().is_some() {}
            }
        }
    }
}
