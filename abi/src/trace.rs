//! Events: fixed-size records that the guest writes into a ring and the VMM drains, and which the VMM adds
//! its own to.
//!
//! The event stream of a run is a sequence of [`Record`]s; the hash of their bytes is the run's identity. A
//! record therefore holds nothing that depends on the host or on wall time.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Pid;

/// One event, 32 bytes. What `a`, `b` and `c` mean depends on the kind: see [`Kind::fields`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Record {
    /// Virtual time.
    pub tick: u32,
    /// A [`Kind`] by number.
    pub kind: u16,
    /// Zero.
    pub reserved: u16,
    /// The process concerned.
    pub pid: Pid,
    /// First value.
    pub a: u32,
    /// Second value.
    pub b: u64,
    /// Third value.
    pub c: u64,
}

const _: () = assert!(size_of::<Record>() == 32);

/// How a value is shown to people and programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Show {
    /// Not used by this kind.
    Nothing,
    /// A number.
    Number(&'static str),
    /// An address or frame, in hexadecimal.
    Hex(&'static str),
    /// The address of an instruction. It depends on the compiler, so the hash of a run leaves it out.
    Code(&'static str),
    /// A process id.
    Process(&'static str),
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $text:literal, $a:expr, $b:expr, $c:expr;)+) => {
        /// What happened. Numbers below 0x100 are written by the guest, from 0x100 on by the VMM.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Kind { $($(#[doc = $doc])+ $name = $number,)+ }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The kind with this number; `None` for numbers that no kind has.
            pub fn from_raw(raw: u16) -> Option<Self> {
                match raw { $($number => Some(Self::$name),)+ _ => None }
            }

            /// The name in `events.jsonl`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What the record's `a`, `b` and `c` are.
            pub const fn fields(self) -> [Show; 3] {
                use Show::{Code, Hex, Nothing, Number, Process};
                #[allow(unused)]
                const UNUSED: (fn(&'static str) -> Show, fn(&'static str) -> Show) = (Hex, Process);
                match self { $(Self::$name => [$a, $b, $c],)+ }
            }
        }
    };
}

kinds! {
    /// The kernel is up.
    Boot = 1, "boot", Number("version"), Number("frames"), Number("seed");
    /// A process was made.
    Spawn = 2, "spawn", Number("uid"), Process("parent"), Hex("root");
    /// A process ended by itself.
    Exit = 3, "exit", Number("status"), Nothing, Nothing;
    /// A process was ended by a fault of its own.
    Fault = 4, "fault", Number("vector"), Code("rip"), Hex("address");
    /// A process was killed.
    Kill = 5, "kill", Nothing, Process("by"), Nothing;
    /// A message was sent to a port.
    Send = 6, "send", Number("port"), Process("to"), Number("loan");
    /// A reply was given.
    Reply = 7, "reply", Nothing, Process("to"), Number("loan");
    /// A call gave up waiting.
    Timeout = 8, "timeout", Number("port"), Process("server"), Nothing;
    /// A frame was lent: one record for each frame of a loan.
    Lend = 9, "lend", Number("loan"), Hex("frame"), Process("borrower");
    /// A loan has ended; its window still stands.
    LoanEnd = 10, "loan-end", Number("loan"), Process("borrower"), Nothing;
    /// A window was taken down.
    Teardown = 11, "teardown", Number("loan"), Hex("window"), Nothing;
    /// A frame was given out: `use` is its frame kind, `source` is 0 fresh, 1 free list, 2 out of quarantine
    /// early.
    Given = 12, "given", Number("use"), Hex("frame"), Number("source");
    /// A frame was taken back: `quarantined` is 1 if it must wait for its epoch.
    Freed = 13, "freed", Number("quarantined"), Hex("frame"), Number("epoch");
    /// An epoch has ended: no window of it stands any more.
    Epoch = 14, "epoch", Number("epoch"), Number("released"), Nothing;
    /// The watchdog was petted.
    Pet = 15, "pet", Nothing, Nothing, Nothing;
    /// A key was granted.
    Grant = 16, "grant", Hex("keys"), Process("by"), Nothing;
    /// A system call was refused: `error` is the error's number, `first` the call's first argument, a pid or
    /// a port for most; 0 for a spawn, whose argument depends on how the boot module was packed.
    Refused = 17, "refused", Number("call"), Number("error"), Hex("first");
    /// A write came too late: its window had been taken down, it went to the process's own spare page.
    LateWrite = 18, "late-write", Nothing, Hex("address"), Nothing;
    /// The NMI handler ran; where the processor was.
    Nmi = 19, "nmi", Number("cpl"), Code("rip"), Number("since-pet");
    /// The NMI handler's verdict: 1 is critical.
    Verdict = 20, "verdict", Number("critical"), Number("alive"), Number("crashes");

    /// A datagram went into the network's buffers.
    Datagram = 21, "datagram", Number("port"), Process("to"), Number("sequence");
    /// A datagram was collected whose checksum is not the one it was sent with.
    Damaged = 22, "damaged", Number("port"), Process("from"), Number("sequence");
    /// A process waits at the gateway: `place` is its place in the queue, from 1, `age` the ticks since it
    /// first came there for its present call.
    Gated = 23, "gated", Number("place"), Number("bytes"), Number("age");
    /// Free frames have fallen below the low-water mark.
    LowWater = 24, "low-water", Number("free"), Number("mark"), Nothing;
    /// There was no frame left at all: this process was ended for those it had.
    OutOfMemory = 25, "out-of-memory", Number("frames"), Process("asked-by"), Nothing;
    /// A signal was sent.
    Signal = 26, "signal", Number("number"), Process("by"), Nothing;
    /// A piece of the caller's code runs in kernel context (`on` is 1), or has ended (0).
    Phone = 27, "phone", Number("on"), Code("function"), Nothing;
    /// A system call of an older version was made.
    OldCall = 28, "old-call", Number("call"), Number("version"), Nothing;
    /// An Agent has found a violator: `heuristic` is one of [`crate::agents::Heuristic`].
    Tagged = 29, "tagged", Number("heuristic"), Process("by"), Number("score");
    /// An Agent was given its state page.
    Attached = 30, "attached", Number("class"), Hex("frame"), Nothing;
    /// A service was started again: `service` is its place in the service table.
    Restarted = 31, "restarted", Number("service"), Process("before"), Number("restarts");
    /// The timer's interrupt came while the last one was not yet acknowledged.
    Missed = 32, "missed-tick", Nothing, Number("missed"), Nothing;
    /// A priority was lent to a process (`effective` below its own), or taken back.
    Boosted = 33, "boosted", Number("effective"), Process("by"), Nothing;
    /// Memory of another process was read by root.
    Examined = 34, "examined", Number("bytes"), Process("by"), Hex("address");
    /// The kill of a process that runs in ring 0 has begun; the scheduler is to complete it (`kill`).
    Doomed = 35, "doomed", Nothing, Process("by"), Nothing;
    /// The VMM has started the guest: `incarnation` counts from 1.
    Start = 0x100, "start", Number("incarnation"), Number("seed"), Nothing;
    /// An audit found a frame shared that should not be: `pid` owns it, `other` also maps it.
    LeakFound = 0x101, "leak-found", Nothing, Hex("frame"), Process("other");
    /// An audit found a kernel frame within reach of ring 3: of process `pid`, at this address of it.
    CrossingFound = 0x102, "crossing-found", Number("use"), Hex("frame"), Hex("address");
    /// The watchdog has expired: `stage` counts from 1.
    Expired = 0x103, "watchdog-expired", Number("stage"), Nothing, Nothing;
    /// The VMM has sent an NMI.
    NmiSent = 0x104, "nmi-sent", Nothing, Nothing, Nothing;
    /// The machine was reset: `cause` is 1 guest, 2 watchdog, 3 the processor could not go on.
    Reset = 0x105, "reset", Number("cause"), Nothing, Nothing;
    /// The guest accessed a port or address where nothing is; only the first of a kind is traced.
    Stray = 0x106, "stray-access", Number("bytes"), Hex("address"), Nothing;
    /// The run has ended.
    End = 0x107, "end", Nothing, Nothing, Nothing;
    /// The guest's kernel has rung to say that it panicked.
    Panic = 0x108, "panic", Nothing, Nothing, Nothing;
    /// An audit could not read the guest's tables: they are damaged.
    Blind = 0x109, "blind", Nothing, Nothing, Nothing;
    /// The monitor takes a process for wedged and has it killed; `waited` is how many ticks it has waited.
    MonitorKill = 0x10a, "monitor-kill", Number("waited"), Nothing, Nothing;
    /// The monitor has a service that has ended started again.
    MonitorRestart = 0x10b, "monitor-restart", Number("service"), Nothing, Nothing;
    /// An audit found that the kernel keeps an object in a frame that is not its own: `pid` owns it by the
    /// frame table, `role` is 0 page table, 1 descriptor, 2 kernel stack, 3 log of keys, `named-at` the
    /// address of what names it.
    BackingFound = 0x10c, "backing-found", Number("role"), Hex("frame"), Hex("named-at");
    /// An audit found a page that its process can write and execute.
    ExecutableFound = 0x10d, "executable-found", Nothing, Hex("frame"), Hex("address");
    /// An audit found an address space that the process table does not name: `pid` is the process that its
    /// root was given to, `use` the frame kind of the root.
    HiddenSpace = 0x10e, "hidden-space", Number("use"), Hex("root"), Number("entries");
    /// A fault of the scenario acts, from outside. `number` is its place among the faults of the resolved
    /// scenario, from 0; `at` the guest-physical address that it changes, 0 if none; `change` the bits that
    /// it inverts there, or how many or how long it is.
    FaultInjected = 0x10f, "fault-injected", Number("number"), Hex("at"), Hex("change");
    /// A fault's moment came, and there was nothing that it could act on: `reason` is 1 no such process, 2
    /// nothing mapped, 3 no message on its way, 4 no such frame, 5 no second entry, 6 a process of the
    /// kernel's own.
    FaultMissed = 0x110, "fault-missed", Number("number"), Number("reason"), Nothing;
    /// A fault that lasts has ended.
    FaultEnded = 0x111, "fault-ended", Number("number"), Hex("at"), Nothing;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_keep_their_numbers_and_have_names_of_their_own() {
        for (n, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(Kind::from_raw(*kind as u16), Some(*kind));
            assert!(Kind::ALL[..n].iter().all(|other| other.name() != kind.name()));
        }
        assert_eq!(Kind::from_raw(0), None);
    }
}
