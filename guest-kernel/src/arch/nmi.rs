//! The NMI handler: on its own stack, trusting nothing. It reads the info block as plain numbers, says where
//! the processor was, judges, and if things are critical has the machine reset.
//!
//! An NMI here means that the watchdog has expired. Whether that is the end is asked of the clock alone: if
//! the watchdog was petted within its time, the NMI is a stray one and the guest goes on.

use core::fmt::Write;

use abi::info::{Doorbell, Info};
use abi::layout::{I8042_RESET, PORT_DOORBELL, PORT_I8042};
use abi::process::Context;
use abi::trace::{Kind, Record};

use super::serial::Line;
use super::start;
use super::{panic, port};
use crate::base::TRACE_SLOTS;

pub(super) extern "C" fn nmi(frame: &Context) {
    // SAFETY: the info block is static plain data; a torn read would only make a wrong number.
    let info = unsafe { start::info().read_volatile() };
    let since = info.tick.saturating_sub(info.last_pet);
    let critical = since >= info.watchdog_ticks;
    record(&info, 0, Kind::Nmi, (frame.cs & 3) as u32, frame.rip, since);
    record(&info, 1, Kind::Verdict, u32::from(critical), u64::from(info.alive), info.counters.crashes);
    let _ = writeln!(
        Line::new(),
        "nmi: tick {}, {since} ticks since the watchdog was petted: {}",
        info.tick,
        if critical { "critical" } else { "stray, going on" }
    );
    if !critical {
        return;
    }
    panic::dump(frame);
    let _ = writeln!(
        Line::new(),
        "nmi: {} alive, {} crashed, {} frames free, {} in quarantine; resetting",
        info.alive,
        info.counters.crashes,
        info.free_frames,
        info.quarantined
    );
    port::out32(PORT_DOORBELL, Doorbell::Critical.value(abi::GuestPhys(0)));
    loop {
        port::out8(PORT_I8042, I8042_RESET);
        port::halt();
    }
}

/// Appends to the trace without the kernel's help; where the ring is full and drained by a host, rings first.
fn record(info: &Info, nth: u64, kind: Kind, a: u32, b: u64, c: u64) {
    if nth == 0 {
        // The host drains whatever is there, so that these records find room.
        port::out32(PORT_DOORBELL, Doorbell::TraceFull.value(abi::GuestPhys(0)));
    }
    let head = info.trace_head + nth;
    let record =
        Record { tick: info.tick as u32, kind: kind as u16, reserved: 0, pid: info.current, a, b, c };
    // SAFETY: the index is inside the ring; the interrupted kernel may have been writing there, and its
    // record is lost then, but it only goes on if this was a stray NMI, which came at a doorbell, outside of
    // `Kernel::emit`.
    unsafe {
        start::ring().add(head as usize % TRACE_SLOTS).write_volatile(record);
        (&raw mut (*start::info()).trace_head).write_volatile(head + 1);
    }
}
