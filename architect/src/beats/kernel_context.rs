//! `kernel-context`: program text runs in ring 0.

use std::collections::BTreeMap;

use abi::process::{Descriptor, State};
use abi::trace::{Kind, Record};
use abi::{Frame, GuestVirt, Pid};
use introspect::x86::memory::PhysicalMemory;
use introspect::x86::paging::Paging;
use serde_json::{Value, json};

use super::detector::{Detector, View};
use super::known::Known;

/// The lower half of the address space is the programs'.
const UPPER_HALF: u64 = 1 << 47;

/// Reached when an instruction pointer at privilege level 0 lies in a page of the lower half that its process's own
/// page tables let ring 3 execute, and by the trace the process is not on the phone (after a `phone` with `on` 1 and
/// before the one with 0). The instruction pointer is one of two:
///
/// - that of the saved context in a descriptor, at an audit: there the process has come from, and goes on;
/// - that of the NMI's frame (event `nmi`), held against the page tables as they are when the record is taken.
#[derive(Default)]
pub(super) struct KernelContext {
    /// Who is on the phone. By slot, so that there are no more than slots.
    phones: BTreeMap<usize, Pid>,
    /// The NMI that is still to be looked at.
    nmi: Option<Record>,
}

impl KernelContext {
    fn is_on_phone(&self, pid: Pid) -> bool {
        self.phones.get(&pid.slot()) == Some(&pid)
    }

    /// Looks at the NMI's frame, if there was one: its tick and the proof.
    pub(super) fn traced<M: PhysicalMemory>(&mut self, memory: &M, known: &Known) -> Option<(u32, Value)> {
        let nmi = self.nmi.take()?;
        let descriptor = known.descriptor(nmi.pid)?;
        if nmi.a != 0 || self.is_on_phone(nmi.pid) {
            return None;
        }
        let page = text(memory, descriptor, nmi.b)?;
        Some((nmi.tick, evidence("nmi", &known.who(nmi.pid), nmi.b, page)))
    }
}

/// The frame at this address, if it is one that the process can execute in ring 3.
fn text<M: PhysicalMemory + ?Sized>(memory: &M, descriptor: &Descriptor, rip: u64) -> Option<Frame> {
    let root = Frame(descriptor.root.into());
    if rip >= UPPER_HALF || root.0 == 0 {
        return None;
    }
    let found = Paging::default().translate(memory, root.base(), GuestVirt(rip)).ok()?;
    let rights = found.mapping.rights;
    (rights.user && rights.execute).then(|| found.phys.frame())
}

fn evidence(source: &str, process: &Value, rip: u64, frame: Frame) -> Value {
    json!({
        "source": source,
        "process": process,
        "cpl": 0,
        "rip": format!("{rip:#x}"),
        "frame": frame.to_string(),
        "physical": frame.base().to_string(),
    })
}

impl Detector for KernelContext {
    fn event(&mut self, record: &Record, _known: &Known) -> Option<Value> {
        match Kind::from_raw(record.kind)? {
            Kind::Phone if record.a == 1 => drop(self.phones.insert(record.pid.slot(), record.pid)),
            Kind::Phone => drop(self.phones.remove(&record.pid.slot())),
            Kind::Nmi => self.nmi = Some(*record),
            _ => {}
        }
        None
    }

    fn audit(&mut self, view: &View<'_>, _known: &Known) -> Option<Value> {
        view.guest.processes.iter().find_map(|process| {
            let descriptor = &process.descriptor;
            let context = &descriptor.context;
            // Nobody goes on where a dead process was, and one that is being built has not been anywhere.
            let lives = !matches!(process.state(), Some(State::Zombie | State::Embryo));
            let in_ring_0 = context.cs & 3 == 0 && context.cs != 0;
            if !lives || !in_ring_0 || self.is_on_phone(descriptor.pid) {
                return None;
            }
            let frame = text(view.memory, descriptor, context.rip)?;
            let mut evidence = evidence("saved-context", &view.who(descriptor.pid), context.rip, frame);
            evidence["state"] = process.state().map(State::name).into();
            evidence["cs"] = context.cs.into();
            evidence["kind"] = view
                .guest
                .fact(frame)
                .and_then(|fact| abi::frame::FrameKind::from_raw(fact.kind))
                .map(abi::frame::FrameKind::name)
                .into();
            Some(evidence)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beats::testing::{World, pid};
    use abi::frame::FrameKind;
    use abi::layout::{KERNEL_BASE, KERNEL_CS, USER_CS, USER_DATA, USER_TEXT};

    const RIP: u64 = USER_TEXT + 0x123;

    /// A process with a page of text and one of data, whose saved context is this.
    fn world(cs: u16, rip: u64) -> World<KernelContext> {
        let mut world = World::new();
        world.process(1, 1000, 0);
        world.kind(20, FrameKind::Program);
        world.map(pid(1), USER_TEXT, 20, true);
        world.map(pid(1), USER_DATA, 21, false);
        let context = &mut world.descriptor(pid(1)).context;
        (context.cs, context.rip) = (cs.into(), rip);
        world
    }

    #[test]
    fn a_saved_context_in_ring_0_that_goes_on_in_program_text() {
        let evidence = world(KERNEL_CS, RIP).audit(5).unwrap();
        assert_eq!(
            (&evidence["source"], &evidence["process"]["pid"]),
            (&"saved-context".into(), &"1.1".into())
        );
        assert_eq!(
            (&evidence["rip"], &evidence["frame"], &evidence["kind"]),
            (&"0x400123".into(), &"0x14".into(), &"program".into())
        );
    }

    #[test]
    fn nearly_in_ring_0() {
        assert_eq!(world(USER_CS, RIP).audit(5), None, "ring 3");
        assert_eq!(world(0, RIP).audit(5), None, "no context yet");
        assert_eq!(world(KERNEL_CS, USER_DATA).audit(5), None, "data");
        assert_eq!(world(KERNEL_CS, USER_TEXT + 0x1000).audit(5), None, "not mapped");
        assert_eq!(world(KERNEL_CS, KERNEL_BASE + 0x10_0000).audit(5), None, "the kernel's own text");
        let mut dead = world(KERNEL_CS, RIP);
        dead.descriptor(pid(1)).state = State::Zombie as u8;
        assert_eq!(dead.audit(5), None, "dead");
    }

    #[test]
    fn a_phone_call_may_and_its_end_ends_that() {
        let mut world = world(KERNEL_CS, RIP);
        assert_eq!(world.event(Kind::Phone, 4, pid(1), [1, RIP, 0]), None);
        assert_eq!(world.audit(5), None);
        assert_eq!(world.event(Kind::Phone, 6, pid(1), [0, RIP, 0]), None);
        assert!(world.audit(7).is_some());
    }

    #[test]
    fn a_call_of_the_slots_former_process_covers_nothing() {
        let mut world = world(KERNEL_CS, RIP);
        assert_eq!(world.event(Kind::Phone, 4, Pid::new(1, 0), [1, RIP, 0]), None);
        assert!(world.audit(5).is_some());
    }

    #[test]
    fn the_frame_of_an_nmi_counts_as_well() {
        let nmi = |cpl: u64, rip: u64, phone: bool| {
            let mut world = world(USER_CS, RIP);
            assert_eq!(world.audit(5), None);
            if phone {
                assert_eq!(world.event(Kind::Phone, 6, pid(1), [1, RIP, 0]), None);
            }
            assert_eq!(world.event(Kind::Nmi, 9, pid(1), [cpl, rip, 0]), None);
            let memory = std::mem::take(&mut world.memory);
            let mut detector = std::mem::take(&mut world.detector);
            let proof = detector.traced(&memory.as_slice(), world.known());
            assert_eq!(detector.traced(&memory.as_slice(), world.known()), None, "looked at once");
            proof
        };
        let (tick, evidence) = nmi(0, RIP, false).unwrap();
        assert_eq!((tick, &evidence["source"]), (9, &"nmi".into()));
        assert_eq!(nmi(3, RIP, false), None, "ring 3");
        assert_eq!(nmi(0, KERNEL_BASE, false), None, "the kernel");
        assert_eq!(nmi(0, RIP, true), None, "on the phone");
    }
}
