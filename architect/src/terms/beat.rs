//! The beats: what an outside observer can prove of a run. How each is proven stands in `beats`.

use serde::{Deserialize, Serialize};

macro_rules! beats {
    ($($(#[doc = $doc:literal])+ $name:ident, $text:literal;)+) => {
        /// A beat.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Beat { $($(#[doc = $doc])+ #[serde(rename = $text)] $name,)+ }

        impl Beat {
            /// All beats, in the order in which the story tells them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name in verdicts and scenarios.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

beats! {
    /// Many processes, little free memory.
    Load, "load";
    /// A frame is mapped in two address spaces and neither a share nor a loan covers it.
    Leak, "leak";
    /// A kernel frame is within reach of ring 3.
    Crossing, "crossing";
    /// A message arrives damaged, or senders wait for each other.
    IpcDamage, "ipc-damage";
    /// The monitor restarts the same service again and again.
    Berserk, "berserk";
    /// An Agent is killed inside a system call and restarted from its dirty page.
    KilledMidSyscall, "killed-mid-syscall";
    /// Program text runs in ring 0.
    KernelContext, "kernel-context";
    /// Processes are tagged as violators without a violation.
    FalseTags, "false-tags";
    /// Text pages of others hold a copy of an Agent's text.
    Assimilation, "assimilation";
    /// A process is root with high priority, and no key says why.
    TheOne, "the-one";
    /// Two processes share executable frames that are not one program's.
    Entangled, "entangled";
    /// Two processes try to kill each other.
    Duel, "duel";
    /// A kill is aimed at the scheduler and does not complete.
    SchedulerAttacked, "scheduler-attacked";
    /// Only two processes have run in the last window.
    TwoLeft, "two-left";
    /// The watchdog has expired, its NMI was handled, and the handler's verdict is "critical".
    Nmi, "nmi";
    /// The guest was reset, and its next incarnation came up healthy.
    Reset, "reset";
}
