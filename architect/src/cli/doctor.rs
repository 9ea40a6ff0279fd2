//! `architect doctor`: what this host's KVM can do, and what to change.

use std::path::Path;

use clap::Args;

use kvm_bindings::KVM_CAP_BINARY_STATS_FD;
use kvm_ioctls::Cap;
use serde_json::json;

use crate::error::{Error, Report};
use vmm::host::cpu;
use vmm::host::kvm::{DEVICE, Kvm, NEEDED};
use vmm::probe::{self, RING_0_INTERPRETED, Virtualisation};

/// Show what this host's KVM can do, and what to change
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON document on standard output and nothing else
    #[arg(long)]
    pub json: bool,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// It works, but could be better.
    Fair,
    /// Nothing runs.
    Bad,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Fair => "fair",
            Self::Bad => "bad",
        }
    }
}

/// One line of the table.
struct Check {
    name: &'static str,
    verdict: Verdict,
    found: String,
    remedy: Option<String>,
}

/// Everything that was found out.
#[derive(Default)]
struct Examination {
    checks: Vec<Check>,
    quirks: Vec<&'static str>,
}

impl Examination {
    fn good(&mut self, name: &'static str, found: impl Into<String>) {
        self.checks.push(Check { name, verdict: Verdict::Good, found: found.into(), remedy: None });
    }

    fn note(
        &mut self,
        name: &'static str,
        verdict: Verdict,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.checks.push(Check { name, verdict, found: found.into(), remedy: Some(remedy.into()) });
    }

    fn bad(&mut self, name: &'static str, report: Report) {
        self.note(name, Verdict::Bad, report.what, report.remedy);
    }

    fn usable(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Bad)
    }
}

/// Capabilities that we can do without, and what they are good for.
const USEFUL: [(u32, &str, &str); 7] = [
    (Cap::SplitIrqchip as u32, "KVM_CAP_SPLIT_IRQCHIP", "guests start and end ten times as fast"),
    (Cap::SyncRegs as u32, "KVM_CAP_SYNC_REGS", "snapshots are put back faster"),
    (Cap::Xsave as u32, "KVM_CAP_XSAVE", "snapshots hold the vector registers"),
    (Cap::Debugregs as u32, "KVM_CAP_DEBUGREGS", "snapshots hold the debug registers"),
    (Cap::ReadonlyMem as u32, "KVM_CAP_READONLY_MEM", "faults can wait for writes to memory"),
    (Cap::SignalMsi as u32, "KVM_CAP_SIGNAL_MSI", "interrupts can be injected while the guest runs"),
    (KVM_CAP_BINARY_STATS_FD, "KVM_CAP_BINARY_STATS_FD", "it can be told whether ring 0 is interpreted"),
];

/// Examines the host; returns the exit status, 3 if no guest can run.
pub fn doctor(args: &DoctorArgs) -> Result<u8, Error> {
    let examination = examine();
    if args.json {
        println!("{}", document(&examination));
    } else {
        print!("{}", table(&examination));
    }
    Ok(if examination.usable() { 0 } else { 3 })
}

fn examine() -> Examination {
    let mut e = Examination::default();
    let kvm = match Kvm::open_unchecked(Path::new(DEVICE)) {
        Ok(kvm) => kvm,
        Err(error) => {
            e.bad("device", error.report());
            examine_processor(&mut e);
            return e;
        }
    };
    e.good("device", format!("{DEVICE} can be used, API version {}", vmm::host::kvm::API_VERSION));
    let missing: Vec<_> =
        NEEDED.iter().filter(|(cap, _)| kvm.capability(*cap) <= 0).map(|(_, name)| *name).collect();
    if missing.is_empty() {
        e.good("needed", format!("all {} capabilities", NEEDED.len()));
    } else {
        e.note(
            "needed",
            Verdict::Bad,
            format!("KVM lacks {}", missing.join(", ")),
            "use a newer Linux kernel",
        );
    }
    let lacking: Vec<_> = USEFUL.iter().filter(|(cap, ..)| kvm.capability_by_number(*cap) <= 0).collect();
    if lacking.is_empty() {
        e.good("useful", format!("all {} capabilities", USEFUL.len()));
    }
    for (_, name, use_) in lacking {
        e.note(
            "useful",
            Verdict::Fair,
            format!("KVM lacks {name}"),
            format!("with a newer Linux kernel, {use_}"),
        );
    }
    examine_processor(&mut e);
    examine_features(&kvm, &mut e);
    if e.usable() {
        examine_by_guest(&kvm, &mut e);
    }
    e
}

fn examine_processor(e: &mut Examination) {
    match probe::virtualisation() {
        Virtualisation::Hardware => e.good("processor", "hardware virtualisation"),
        Virtualisation::Nested => {
            e.good("processor", "hardware virtualisation, passed on by a hypervisor: exits are slow");
        }
        Virtualisation::Software => e.note(
            "processor",
            Verdict::Fair,
            "no hardware virtualisation (neither vmx nor svm)",
            "switch it on in the firmware, or have this machine's host pass it on; without it guests run, but slowly",
        ),
    }
}

fn examine_features(kvm: &Kvm, e: &mut Examination) {
    match kvm.supported_cpuid() {
        Ok(supported) if cpu::is_supported(supported.as_slice()) => {
            e.good("features", "all processor features that guests are told of");
        }
        Ok(_) => e.note(
            "features",
            Verdict::Bad,
            "KVM does not support all processor features that guests are told of",
            "use an x86-64 processor, and have this machine's host pass CMPXCHG16B and x2APIC on",
        ),
        Err(error) => e.bad("features", error.report()),
    }
}

fn examine_by_guest(kvm: &Kvm, e: &mut Examination) {
    match probe::probe(kvm) {
        Ok(probe) => {
            e.quirks = probe.quirks();
            e.good("guest", format!("a small guest runs and ends, by {}", probe::backend()));
            if e.quirks.contains(&RING_0_INTERPRETED) {
                e.note(
                    "ring 0",
                    Verdict::Fair,
                    "KVM interprets it, instruction by instruction",
                    "foreign kernels may meet instructions that it does not know; on hosts with hardware \
                     virtualisation they do not",
                );
            } else {
                e.good("ring 0", "the processor carries it out");
            }
        }
        Err(error) => e.note(
            "guest",
            Verdict::Bad,
            error.to_string().lines().next().unwrap_or_default(),
            "look at the host's kernel log (`dmesg | grep -i kvm`)",
        ),
    }
}

fn document(e: &Examination) -> serde_json::Value {
    let checks: Vec<_> = e
        .checks
        .iter()
        .map(|check| {
            json!({"name": check.name, "verdict": check.verdict.name(), "found": check.found, "remedy": check.remedy})
        })
        .collect();
    json!({
        "version": 1,
        "usable": e.usable(),
        "backend": probe::backend(),
        "virtualisation": probe::virtualisation().name(),
        "quirks": e.quirks,
        "checks": checks,
    })
}

fn table(e: &Examination) -> String {
    let mut text = String::new();
    for check in &e.checks {
        text += &format!("{:<5} {:<10} {}\n", check.verdict.name(), check.name, check.found);
        if let Some(remedy) = &check.remedy {
            text += &format!("{:<16} -> {remedy}\n", "");
        }
    }
    text += if e.usable() { "\nGuests can run on this host.\n" } else { "\nNothing runs on this host.\n" };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_check_makes_the_host_unusable() {
        let mut e = Examination::default();
        e.good("device", "there");
        e.note("useful", Verdict::Fair, "a", "b");
        assert!(e.usable() && table(&e).contains("can run"));
        e.bad("guest", Report::new("it died", "here", "do this"));
        assert!(!e.usable() && table(&e).contains("do this"));
        assert_eq!(document(&e)["usable"], false);
    }
}
