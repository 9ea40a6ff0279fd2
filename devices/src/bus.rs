//! The port bus: finds the device for a port, splits accesses to the device's width, and answers where no
//! device is.
//!
//! Devices with 8-bit registers stand in the list `devices!` below: one entry each, with its ports. The
//! remaining ports are those by which the guest talks to the VMM:
//!
//! | ports | width | device |
//! |---|---|---|
//! | 0xf2 | 1 | none: a write is [`Action::Trap`] |
//! | 0xf4 | 1, 2, 4 | [`Doorbells`]: exit |
//! | 0xf8 | 4 | [`Doorbells`]: doorbell |
//! | 0xfc | 4 | [`Doorbells`]: fill |
//! | in no list | | none: reads return all ones, writes are ignored; see [`Strays`] |
//!
//! The list becomes fields and a `match`: an access costs no table, no lock and no dynamic dispatch.
//!
//! A wide access to 8-bit devices becomes one access for each byte, at rising ports, as an ISA machine
//! converts it (IBM PC AT Technical Reference, I/O channel; QEMU does the same for regions of one byte).
//! Bytes that meet no device read as all ones. The access is stray only if none of its bytes meets a device.
//! The VMM's own ports take an access whole, at their own address only.

use std::io;

use abi::layout::{
    PORT_DOORBELL, PORT_EXIT, PORT_FILL, PORT_I8042, PORT_I8042_DATA, PORT_SERIAL, PORT_SERIAL_LEN,
    PORT_TRAP, PORT_WATCHDOG_START, PORT_WATCHDOG_STOP,
};

use serde::{Deserialize, Serialize};

use crate::doorbell::{self, Doorbells};
use crate::i8042::I8042;
use crate::serial::{self, Serial};
use crate::stray::Strays;
use crate::watchdog::{self, Stages, Timeout, Watchdog};
use crate::{Action, PortDevice};

const PORT_SERIAL_LAST: u16 = PORT_SERIAL + PORT_SERIAL_LEN - 1;

/// Counts of guest accesses since the last [`Bus::take_counters`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Counts of the watchdog.
    pub watchdog: watchdog::Counts,
    /// Counts of the VMM's own ports.
    pub doorbells: doorbell::Counts,
    /// Reads of ports without a device.
    pub stray_reads: u64,
    /// Writes to ports without a device.
    pub stray_writes: u64,
}

/// Makes the machine out of the list of its devices: the structs [`Bus`] and [`BusState`], and what concerns
/// each device in turn.
macro_rules! devices {
    (
        new($($argument:ident: $argument_type:ty),*);
        $(
            $(#[$doc:meta])*
            $ports:pat => $visibility:vis $device:ident: $type:ty = $new:expr $(, state $state:ty)?;
        )*
    ) => {
        /// Everything that a guest can have changed in the devices, for snapshots. Output, counters and the
        /// watchdog's generation are not part of it: they belong to the observer.
        #[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
        pub struct BusState {
            $($(
                #[doc = concat!("The state of `", stringify!($device), "`.")]
                pub $device: $state,
            )?)*
            /// Ports whose first stray access was reported.
            pub strays: Strays,
        }

        /// All devices of one machine.
        #[derive(Debug)]
        pub struct Bus<W> {
            $(
                $(#[$doc])*
                $visibility $device: $type,
            )*
            doorbells: Doorbells,
            strays: Strays,
            stray_reads: u64,
            stray_writes: u64,
        }

        impl<W: io::Write> Bus<W> {
            /// Creates the devices in power-on state.
            pub fn new($($argument: $argument_type),*) -> Self {
                Self {
                    $($device: $new,)*
                    doorbells: Doorbells::default(),
                    strays: Strays::new(),
                    stray_reads: 0,
                    stray_writes: 0,
                }
            }

            /// Writes to an 8-bit device; returns `None` where there is none.
            #[inline]
            #[deny(unreachable_patterns)] // Two devices at one port.
            fn write_byte(&mut self, port: u16, value: u8) -> Option<Action> {
                match port {
                    $($ports => Some(self.$device.write_port(port, value)),)*
                    _ => None,
                }
            }

            /// Reads from an 8-bit device; returns `None` where there is none.
            #[inline]
            fn read_byte(&mut self, port: u16) -> Option<(u8, Action)> {
                match port {
                    $($ports => Some(self.$device.read_port(port)),)*
                    _ => None,
                }
            }

            /// Returns all devices to the power-on state, as the reset line does. Stray ports that were
            /// reported stay reported.
            pub fn reset(&mut self) {
                $(self.$device.reset();)*
            }

            /// Returns what [`Bus::restore`] needs.
            pub fn state(&self) -> BusState {
                BusState {
                    $($($device: <$state>::from(self.$device.state()),)?)*
                    strays: self.strays.clone(),
                }
            }

            /// Restores a state of this bus, or of one with the same timeout. Ask for the watchdog's deadline
            /// afterwards.
            pub fn restore(&mut self, state: &BusState) {
                $($(
                    let of_device: &$state = &state.$device;
                    self.$device.restore(of_device);
                )?)*
                self.strays.copy_from(&state.strays);
            }
        }
    };
}

// The list. To add a device with 8-bit registers, write its file and add its entry here.
devices! {
    new(console: W, timeout: Timeout, stages: Stages);

    /// The console.
    PORT_SERIAL..=PORT_SERIAL_LAST => pub serial: Serial<W> = Serial::new(console), state serial::State;
    /// The watchdog.
    PORT_WATCHDOG_START | PORT_WATCHDOG_STOP =>
        pub watchdog: Watchdog = Watchdog::new(timeout, stages), state watchdog::State;
    /// The keyboard controller: the machine's reset line.
    PORT_I8042 | PORT_I8042_DATA => i8042: I8042 = I8042;
}

impl<W: io::Write> Bus<W> {
    /// Handles a write of 1, 2 or 4 bytes, little-endian. Processors make no others; they count as stray.
    #[inline]
    pub fn write(&mut self, port: u16, data: &[u8]) -> Action {
        match (port, data) {
            (PORT_DOORBELL, [_] | [_, _] | [_, _, _, _]) => self.doorbells.ring(data),
            (PORT_FILL, [_] | [_, _] | [_, _, _, _]) => self.doorbells.fill(data),
            (PORT_EXIT, [_] | [_, _] | [_, _, _, _]) => self.doorbells.exit(data),
            (PORT_TRAP, [_]) => Action::Trap,
            (_, [value]) => match self.write_byte(port, *value) {
                Some(action) => action,
                None => self.stray_write(port, 1),
            },
            _ => self.write_wide(port, data),
        }
    }

    /// Handles a read of 1, 2 or 4 bytes, little-endian, into `data`. Processors make no others; they count
    /// as stray.
    #[inline]
    pub fn read(&mut self, port: u16, data: &mut [u8]) -> Action {
        match (port, &mut *data) {
            (PORT_DOORBELL | PORT_FILL | PORT_EXIT, [_] | [_, _] | [_, _, _, _]) => {
                data.fill(0xff);
                Action::None
            }
            (_, [value]) => match self.read_byte(port) {
                Some((read, action)) => {
                    *value = read;
                    action
                }
                None => {
                    *value = 0xff;
                    self.stray_read(port, 1)
                }
            },
            _ => self.read_wide(port, data),
        }
    }

    /// Handles the writes of a string instruction (`rep outs`): `data` holds accesses of `width` bytes each;
    /// a remainder is ignored. `apply` gets the actions that are not [`Action::None`]. After one that ends
    /// the guest, the rest does not happen.
    pub fn write_string(&mut self, port: u16, width: usize, data: &[u8], mut apply: impl FnMut(Action)) {
        if (port, width) == (PORT_SERIAL, 1) {
            let action = self.serial.write_all(data);
            if !action.is_none() {
                apply(action);
            }
            return;
        }
        for access in data.chunks_exact(width.max(1)) {
            let action = self.write(port, access);
            if !action.is_none() {
                apply(action);
            }
            if action.ends_guest() {
                break;
            }
        }
    }

    /// Handles the reads of a string instruction (`rep ins`), in the same way.
    pub fn read_string(&mut self, port: u16, width: usize, data: &mut [u8], mut apply: impl FnMut(Action)) {
        for access in data.chunks_exact_mut(width.max(1)) {
            let action = self.read(port, access);
            if !action.is_none() {
                apply(action);
            }
        }
    }

    /// Returns the ports of stray accesses.
    pub const fn strays(&self) -> &Strays {
        &self.strays
    }

    /// Returns the counters.
    pub const fn counters(&self) -> Counters {
        Counters {
            watchdog: self.watchdog.counts(),
            doorbells: self.doorbells.counts(),
            stray_reads: self.stray_reads,
            stray_writes: self.stray_writes,
        }
    }

    /// Sets the counters, for a guest that continues from where [`Bus::counters`] was called.
    pub fn count_from(&mut self, counters: Counters) {
        self.watchdog.count_from(counters.watchdog);
        self.doorbells.count_from(counters.doorbells);
        self.stray_reads = counters.stray_reads;
        self.stray_writes = counters.stray_writes;
    }

    /// Returns the counters and resets them to zero.
    pub fn take_counters(&mut self) -> Counters {
        Counters {
            watchdog: self.watchdog.take_counts(),
            doorbells: self.doorbells.take_counts(),
            stray_reads: std::mem::take(&mut self.stray_reads),
            stray_writes: std::mem::take(&mut self.stray_writes),
        }
    }

    #[cold]
    fn write_wide(&mut self, port: u16, data: &[u8]) -> Action {
        let mut met: Option<Action> = None;
        if matches!(data.len(), 2 | 4) {
            for (port, value) in (port..=u16::MAX).zip(data) {
                if let Some(action) = self.write_byte(port, *value) {
                    met = Some(met.unwrap_or_default().then(action));
                }
            }
        }
        met.unwrap_or_else(|| self.stray_write(port, data.len()))
    }

    #[cold]
    fn read_wide(&mut self, port: u16, data: &mut [u8]) -> Action {
        data.fill(0xff);
        let mut met: Option<Action> = None;
        if matches!(data.len(), 2 | 4) {
            for (port, value) in (port..=u16::MAX).zip(data.iter_mut()) {
                if let Some((read, action)) = self.read_byte(port) {
                    *value = read;
                    met = Some(met.unwrap_or_default().then(action));
                }
            }
        }
        met.unwrap_or_else(|| self.stray_read(port, data.len()))
    }

    fn stray_write(&mut self, port: u16, len: usize) -> Action {
        self.stray_writes += 1;
        self.strays.note(port, len, true)
    }

    fn stray_read(&mut self, port: u16, len: usize) -> Action {
        self.stray_reads += 1;
        self.strays.note(port, len, false)
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;
    use abi::info::Doorbell;
    use abi::{Frame, GuestPhys};

    fn bus() -> Bus<Vec<u8>> {
        Bus::new(Vec::new(), Timeout::Ticks(10), Stages::default())
    }

    fn read(bus: &mut Bus<Vec<u8>>, port: u16, width: usize) -> Vec<u8> {
        let mut data = vec![0; width];
        let _ = bus.read(port, &mut data);
        data
    }

    #[test]
    fn each_port_finds_its_device() {
        let mut bus = bus();
        assert_eq!(bus.write(0xf4, &[3]), Action::Exit { code: 3, clamped: false });
        let tick = Action::Doorbell { reason: Doorbell::Tick, page: GuestPhys(0) };
        assert_eq!(bus.write(0xf8, &[2, 0, 0, 0]), tick);
        assert_eq!(bus.write(0xfc, &[0, 0x20, 0, 0]), Action::Fill(Frame(2)));
        assert_eq!(bus.write(0x64, &[0xfe]), Action::Reset);
        assert_eq!(bus.write(0x60, &[0xfe]), Action::None);
        assert_eq!(bus.write(0x443, &[0]), Action::WatchdogStarted);
        assert_eq!(bus.write(0x441, &[0]), Action::WatchdogStopped);
        assert_eq!(bus.write(0x3f8, b"x"), Action::Serial { first_output: true, interrupt: false });
        assert_eq!(read(&mut bus, 0x3fd, 1), [0x60]);
        assert_eq!(read(&mut bus, 0x64, 1), [0]);
        assert_eq!(read(&mut bus, 0x60, 1), [0]);
        for port in [0xf4, 0xf8, 0xfc, 0x441, 0x443] {
            assert_eq!(read(&mut bus, port, 4), [0xff; 4], "{port:#x}");
        }
        assert_eq!(bus.strays().ports().count(), 0);
    }

    #[test]
    fn where_nothing_is_the_first_access_of_each_port_is_reported() {
        let mut bus = bus();
        let mut data = [0; 2];
        assert_eq!(bus.write(0x80, &[1]), Action::Stray { port: 0x80, len: 1, write: true });
        assert_eq!(bus.write(0x80, &[1]), Action::None);
        assert_eq!(bus.read(0x80, &mut data), Action::None);
        assert_eq!(bus.read(0xcfc, &mut data), Action::Stray { port: 0xcfc, len: 2, write: false });
        assert_eq!(data, [0xff; 2]);
        assert_eq!(bus.strays().ports().collect::<Vec<_>>(), [0x80, 0xcfc]);
        let counters = bus.take_counters();
        assert_eq!((counters.stray_reads, counters.stray_writes), (2, 2));
        assert_eq!(bus.counters(), Counters::default());
    }

    #[test]
    fn the_inside_of_our_own_ports_is_nowhere() {
        let mut bus = bus();
        for port in [0xf3, 0xf5, 0xf9, 0xfb, 0xfd] {
            assert_eq!(bus.write(port, &[1, 0, 0, 0]), Action::Stray { port, len: 4, write: true });
        }
    }

    #[test]
    fn a_wide_access_reaches_each_register_that_it_covers() {
        let mut bus = bus();
        // The scratch register, and beyond the serial port no device.
        assert_eq!(bus.write(0x3ff, &[0x5a, 1]), Action::None);
        assert_eq!(read(&mut bus, 0x3ff, 2), [0x5a, 0xff]);
        assert_eq!(read(&mut bus, 0x3fc, 4), [0x08, 0x60, 0xb0, 0x5a]);
        // The manual's way to arm: OUT DX,AX with AX = 0x000f.
        assert_eq!(bus.write(0x443, &[0x0f, 0]), Action::WatchdogStarted);
        assert!(matches!(bus.watchdog.state(), watchdog::State::Armed { seconds: 0, .. }));
        // Stop and start in one access: the later one counts.
        assert_eq!(bus.write(0x441, &[0; 4]), Action::WatchdogStarted);
        assert_eq!(bus.write(0x440, &[0; 2]), Action::WatchdogStopped);
        assert_eq!(bus.write(0x61, &[0, 0, 0, 0xfe]), Action::Reset);
        assert_eq!(bus.strays().ports().count(), 0);
    }

    #[test]
    fn one_action_tells_all_news_of_a_wide_access() {
        let mut bus = bus();
        assert_eq!(bus.write(0x3f8, b"x\x02"), Action::Serial { first_output: true, interrupt: true });
    }

    #[test]
    fn the_port_space_ends_at_its_end() {
        let mut bus = bus();
        assert_eq!(bus.write(0xffff, &[0; 4]), Action::Stray { port: 0xffff, len: 4, write: true });
        assert_eq!(read(&mut bus, 0xfffe, 4), [0xff; 4]);
    }

    #[test]
    fn a_string_ends_with_the_guest() {
        let mut bus = bus();
        let mut actions = Vec::new();
        bus.write_string(0x64, 1, &[0, 0xfe, 0xfe], |action| actions.push(action));
        bus.write_string(0xf4, 2, &[5, 0, 6, 0], |action| actions.push(action));
        assert_eq!(actions, [Action::Reset, Action::Exit { code: 5, clamped: false }]);
    }

    #[test]
    fn a_string_read_reads_again_and_again() {
        let mut bus = bus();
        let _ = bus.serial.queue_input(b"hello");
        let mut data = [0; 5];
        bus.read_string(0x3f8, 1, &mut data, |action| panic!("{action:?}"));
        assert_eq!(&data, b"hello");
    }

    #[test]
    fn a_reset_disarms_the_watchdog() {
        let mut bus = bus();
        let _ = bus.write(0x443, &[0]);
        let _ = bus.write(0x80, &[0]);
        bus.reset();
        assert_eq!(bus.watchdog.state(), watchdog::State::Disarmed);
        assert!(bus.strays().contains(0x80));
    }

    #[test]
    fn a_bus_can_move_to_another_thread() {
        fn moves<T: Send>(_: T) {}
        moves(bus());
    }
}
