//! The sections of a scenario and their keys: the one place that declares them.

use std::path::PathBuf;

use devices::watchdog::WatchdogAction;
use introspect::matrix::policy::Preset;
use serde::{Deserialize, Deserializer, Serialize};

use super::by_name;
use super::declare::{Value, flag, number, other, section, word};
use crate::terms::Beat;
use crate::terms::Outcome;

const MOST: u64 = u32::MAX as u64;
const ACTIONS: &[&str] = &["none", "debug", "nmi", "reset", "pause", "poweroff"];

section! {
    /// The machine.
    VmKeys in "vm" {
        /// Guest memory, MiB.
        memory_mib: u32 = 32, number(3..=1024);
        /// What guest time is made of. `virtual`: kernel entries, so that a run is a function of image, scenario and
        /// seed. `apic`: the local APIC's timer, real time and real preemption, one tick every 10 ms; no two runs are
        /// the same, `trace_hash` is null, and every event says `real_time`.
        clock: Clock = Clock::Virtual, word(&["virtual", "apic"]);
        /// The first incarnation ends here if nothing else ends it, ticks.
        max_ticks: u64 = 2000, number(1..=MOST);
        /// Kernel entries per tick of the virtual clock.
        tick_entries: u32 = 16, number(1..=1_000_000).boot("tick-entries");
        /// Guests that run at once, each in a thread of its own and from the same seed. `--vms N` is short for
        /// `--set vm.vms=N`. With `--out DIR` each guest has a folder in it, `vm-00` and so on, and a `verdict.json`
        /// above them lists them. The exit status is the worst of them.
        vms: u32 = 1, number(1..=256);
        /// How each incarnation begins. `warm`: from a snapshot of a booted guest, taken once per command. `cold`: from
        /// power-on. Events and verdict do not depend on it.
        start: Start = Start::Warm, word(&["warm", "cold"]);
        /// A boot module that replaces the one in the image. In a file the path is relative to that file, with `--set`
        /// to the current folder. A file that is no boot module of this version is refused with status 2.
        #[serde(skip_serializing_if = "Option::is_none")]
        module: Option<PathBuf> = None, other("path");
    }
}

section! {
    /// The fixes: each switches one defect of the kernel, or of the monitor, off.
    Fixes in "fixes" {
        /// The pager honours its quarantine: before it takes a frame from it, it tears down all pending windows.
        pager: bool = false, flag().boot("fix.pager");
        /// The Agents inspect one event in eight instead of all.
        ids: bool = false, flag().boot("fix.ids");
        /// While more than `monitor.max-load` processes are ready, the monitor orders nothing, audits every 8th tick,
        /// and doubles the time to its next check, up to 64 periods.
        monitor: bool = false, flag();
        /// The scheduler lends the priority of a waiting process to the one that it waits for, and raises processes
        /// that have waited long; the gateway serves by age alone.
        priorities: bool = false, flag().boot("fix.priorities");
    }
}

section! {
    /// The load: what the shipped programs do. `nursery` keeps clients alive; `front` serves them and asks `store`.
    Load in "load" {
        /// Clients to keep alive at once.
        people: u32 = 6, number(0..=200).boot("people");
        /// Clients started per 100 ticks, at most: one every 100 / rate ticks, rounded down.
        spawn_rate: u32 = 5, number(1..=100).boot_as("spawn-every", |rate| 100 / rate);
        /// Pages of 4 KiB that a client lends with a request. It keeps three texts of this size.
        message_pages: u32 = 2, number(1..=abi::layout::LOAN_PAGES as u64).boot("pages");
        /// Ticks that a client waits for an answer before it gives up and exits; 0 waits for ever.
        patience_ticks: u64 = 200, number(0..=MOST).boot("patience");
        /// Requests that a client makes before it exits.
        requests: u64 = 4, number(1..=MOST).boot("rounds");
        /// Ticks that the store needs for one request.
        work_ticks: u64 = 2, number(0..=MOST).boot("work");
        /// Front servers that clients choose from: ports 2000 and up. A program must serve each of them, see
        /// `program.ports`.
        fronts: u32 = 2, number(1..=16).boot("fronts");
        /// Datagram buffers of the network.
        buffers: u32 = 128, number(1..=256).boot("buffers");
        /// Directories that clients choose from: ports 700 and up, served by `smith`.
        directories: u32 = 1, number(1..=16).boot("directories");
        /// Violators that a `gang` keeps alive at once.
        violators: u32 = 0, number(0..=200).boot("violators");
        /// Crashed processes at which `watchdogd` stops petting the watchdog.
        unsound_crashes: u64 = 2, number(1..=MOST).boot("unsound");
        /// Spreads the arrival of clients: the first come at half of this tick, the last at it. Applies to clients that
        /// a nursery starts, and to askers, clients and chatters.
        ramp_ticks: u64 = 0, number(0..=MOST).boot("ramp");
    }
}

section! {
    /// The monitor: checks processes and services in guest memory and gives the guest commands.
    #[derive(Copy)]
    MonitorKeys in "monitor" {
        /// Whether there is a monitor. Audits take place without it as well.
        enabled: bool = true, flag();
        /// Ticks between two checks.
        period_ticks: u64 = 8, number(1..=MOST);
        /// A process that has waited for others for longer than this many periods (sending, awaiting a reply, at the
        /// gateway, or ready without running) is taken for wedged and killed; kernel processes never are. A service
        /// that is down is restarted at every check.
        missed_before_restart: u64 = 6, number(1..=1_000_000);
        /// Ready processes above which the fixed monitor holds back. Has no effect without `fixes.monitor`.
        max_load: u32 = 8, number(0..=256);
    }
}

section! {
    /// The audits of the page tables.
    #[derive(Copy)]
    AuditKeys in "audit" {
        /// The rules by which an audit judges mappings. `strict` checks the guest's frame table and loan table for every
        /// mapping; `page-table-check` counts mappings as Linux does.
        #[serde(with = "by_name")]
        policy: Preset = Preset::Strict, word(&["strict", "page-table-check"]);
        /// Whether each audit reads all page tables; with false it reads those that KVM has logged as written since the
        /// last audit. The findings are the same. The log may cost the guest more than it saves.
        whole: bool = true, flag();
        /// Ticks between two scans of all memory for address spaces that are not in the process table; 0 for none.
        roots_every: u64 = 16, number(0..=MOST);
    }
}

section! {
    /// The watchdog. Guest programs arm and pet it; the timeout is set here.
    WatchdogKeys in "watchdog" {
        /// Ticks without a pet until a stage expires. The daemon pets it four times as often. A new incarnation is
        /// judged after this time.
        timeout_ticks: u64 = 400, number(4..=MOST).boot("watchdog-ticks");
        /// What the first stage does.
        #[serde(with = "by_name")]
        first: WatchdogAction = WatchdogAction::Nmi, word(ACTIONS);
        /// What the second stage does, after the same time again.
        #[serde(with = "by_name")]
        second: WatchdogAction = WatchdogAction::Reset, word(ACTIONS);
    }
}

section! {
    /// Programs to start at boot, in this order, one `[[program]]` each. A scenario without any gets the default ones.
    Program in "program" {
        /// Its name in the boot module: 1 to 16 letters, digits or hyphens. Must be given; a name that the module lacks
        /// is refused.
        program: String = String::new(), other("name");
        /// How many instances.
        count: u32 = 1, number(0..=200);
        /// User id. 0 is root: it may start and kill processes, read their memory, bind ports below 1024, and has all
        /// keys. Ids below 1000 belong to the system and have the phone's key; ids from 1000 on belong to people.
        uid: u32 = 1000, number(0..=MOST);
        /// Priority, 0 (most urgent) to 7. 0 is the scheduler's own.
        priority: u8 = 4, number(0..=7);
        /// One port for each instance, which it gets as its argument.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        ports: Vec<u16> = Vec::new(), other("list of numbers up to 65535");
        /// The argument of a program that serves no port: a number, to which the instance's own (0, 1, 2, …) is added, or
        /// the name of a program, which becomes its place in the boot module.
        #[serde(deserialize_with = "number_or_word", skip_serializing_if = "String::is_empty")]
        argument: String = String::new(), other("number or name of a program");
    }
}

section! {
    /// Expectations. If one is not met, the exit status is 1; all files are written all the same.
    Expect in "expect" {
        /// How the run ends.
        #[serde(skip_serializing_if = "Option::is_none")]
        outcome: Option<Outcome> = None, other("an outcome");
        /// Beats that must be reached.
        beats: Vec<Beat> = Vec::new(), other("list of beats");
        /// Beats that must not be reached.
        never: Vec<Beat> = Vec::new(), other("list of beats");
    }
}

/// What guest time is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// Kernel entries.
    Virtual,
    /// The local APIC's timer.
    Apic,
}

/// How an incarnation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// From a snapshot of a booted guest; a reset restores it.
    Warm,
    /// From power-on.
    Cold,
}

impl Value for Clock {
    fn shown(&self) -> Option<String> {
        Some(match self {
            Self::Virtual => "\"virtual\"".into(),
            Self::Apic => "\"apic\"".into(),
        })
    }
}

impl Value for Start {
    fn shown(&self) -> Option<String> {
        Some(match self {
            Self::Warm => "\"warm\"".into(),
            Self::Cold => "\"cold\"".into(),
        })
    }
}

impl Value for Preset {
    fn shown(&self) -> Option<String> {
        Some(format!("\"{}\"", self.name()))
    }
}

impl Value for WatchdogAction {
    fn shown(&self) -> Option<String> {
        Some(format!("\"{}\"", self.name()))
    }
}

impl Value for Option<Outcome> {
    fn shown(&self) -> Option<String> {
        self.map(|outcome| format!("{outcome:?}"))
    }
}

/// The programs of a scenario that names none.
pub(super) fn default_programs() -> Vec<Program> {
    let program = |program: &str, count, uid, priority, ports: &[u16], argument: &str| Program {
        program: program.into(),
        count,
        uid,
        priority,
        ports: ports.into(),
        argument: argument.into(),
    };
    vec![
        program("watchdogd", 1, 0, 1, &[], "14"),
        program("nursery", 1, 0, 3, &[], "client"),
        program("store", 1, 100, 2, &[2100], ""),
        program("front", 2, 100, 3, &[2000, 2001], ""),
        program("batch", 1, 1000, 5, &[], "8"),
    ]
}

/// Reads a number or a word.
fn number_or_word<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Word(String),
    }
    Ok(match Either::deserialize(from)? {
        Either::Number(number) => number.to_string(),
        Either::Word(word) => word,
    })
}
