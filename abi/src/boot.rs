//! Boot parameters: words of the kernel's command line, `seed=6 tick-entries=16 fix.pager=1 people=24`.
//!
//! This table is the only one: the kernel parses by it, and a host that composes a command line takes names,
//! defaults and ranges from it. Two parameters are not numbers and stand beside it: [`CLOCK`] and [`START`].

use core::ops::RangeInclusive;

/// The name of the parameter that says where ticks come from: [`CLOCK_VIRTUAL`], the default, or
/// [`CLOCK_APIC`].
pub const CLOCK: &str = "clock";
/// Ticks count the guest's own kernel entries, so that a run is repeatable.
pub const CLOCK_VIRTUAL: &str = "virtual";
/// Ticks come from the local APIC's timer, in real time.
pub const CLOCK_APIC: &str = "apic";
/// The name of the parameter that lists what is started at boot, entries
/// `program:count:uid:priority:argument` separated by commas; an argument is a number, to which the
/// instance's number is added, or a program's name.
pub const START: &str = "start";
/// Longest start list that the kernel keeps, bytes.
pub const START_BYTES: usize = 1024;
/// The default of [`START`].
pub const DEFAULT_START: &str =
    "watchdogd:1:0:1:14,nursery:1:0:3:client,store:1:100:2:2100,front:2:100:3:2000,batch:1:1000:5:8";

macro_rules! parameters {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $default:expr, $least:expr, $most:expr;)+) => {
        /// A boot parameter that is a number.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum BootParameter { $($(#[doc = $doc])+ $variant,)+ }

        impl BootParameter {
            /// All parameters; each stands at the index of its own number.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The value without a word on the command line.
            pub const fn default(self) -> u64 {
                match self { $(Self::$variant => $default,)+ }
            }

            /// The values that it can have.
            pub const fn range(self) -> RangeInclusive<u64> {
                match self { $(Self::$variant => $least..=$most,)+ }
            }
        }
    };
}

parameters! {
    /// Seed of everything that is chosen at random.
    Seed = "seed", 1, 0, u64::MAX;
    /// Kernel entries per tick of the virtual clock.
    TickEntries = "tick-entries", 16, 1, u32::MAX as u64;
    /// Microseconds per tick of the APIC's timer.
    TickMicroseconds = "tick-us", 10_000, 100, 1_000_000;
    /// Fix of the pager: the quarantine is honoured, and teardown is forced under pressure.
    FixPager = "fix.pager", 0, 0, 1;
    /// Fix of the Agents: they inspect some events instead of all.
    FixIds = "fix.ids", 0, 0, 1;
    /// Fix of priorities: inheritance, and ageing of processes that wait for the CPU.
    FixPriorities = "fix.priorities", 0, 0, 1;
    /// Free frames below which the pager warns, and below which people are no longer started.
    LowWater = "low-water", 32, 0, u32::MAX as u64;
    /// Buffers of datagrams at most.
    Buffers = "buffers", 128, 1, 256;
    /// Clients to keep alive at once.
    People = "people", 6, 0, u64::MAX;
    /// Ticks between two starts of a client.
    SpawnEvery = "spawn-every", 20, 0, u64::MAX;
    /// Pages that a client works on and lends.
    Pages = "pages", 2, 0, u64::MAX;
    /// Ticks that a client waits for an answer.
    Patience = "patience", 200, 0, u64::MAX;
    /// Requests that a client makes in its life.
    Rounds = "rounds", 4, 0, u64::MAX;
    /// Ticks that the storage behind the front servers needs for a request.
    Work = "work", 2, 0, u64::MAX;
    /// Ticks without a pet after which the watchdog is due; the daemon pets it four times as often.
    WatchdogTicks = "watchdog-ticks", 400, 0, u64::MAX;
    /// Front servers that share the clients.
    Fronts = "fronts", 2, 0, u64::MAX;
    /// Directories that clients choose from.
    Directories = "directories", 1, 0, u64::MAX;
    /// Violators to keep alive at once.
    Violators = "violators", 0, 0, u64::MAX;
    /// Crashed processes at which the watchdog's daemon no longer takes the system for sound.
    Unsound = "unsound", 2, 0, u64::MAX;
    /// Tick at which the last of the clients arrives; the first arrives at half of it.
    Ramp = "ramp", 0, 0, u64::MAX;
}

/// Numeric parameters.
pub const PARAMETERS: usize = BootParameter::ALL.len();

impl BootParameter {
    /// The parameter with this name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|parameter| parameter.name().as_bytes() == name)
    }

    /// The value in the parameter's range that is nearest to `value`.
    pub fn clamp(self, value: u64) -> u64 {
        value.clamp(*self.range().start(), *self.range().end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back_to_their_parameters() {
        for parameter in BootParameter::ALL.iter().copied() {
            assert_eq!(BootParameter::from_name(parameter.name().as_bytes()), Some(parameter));
            assert!(![CLOCK, START].contains(&parameter.name()));
        }
        assert_eq!(BootParameter::from_name(b"fix.monitor"), None);
    }

    #[test]
    fn defaults_lie_in_their_ranges() {
        for parameter in BootParameter::ALL.iter().copied() {
            assert!(parameter.range().contains(&parameter.default()), "{}", parameter.name());
        }
    }
}
