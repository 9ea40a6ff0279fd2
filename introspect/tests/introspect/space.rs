//! Reading a guest's tables, sound and broken.

use abi::flow::{Flow, Gate};
use abi::frame::FrameKind;
use abi::info::{INFO_MAGIC, Info, VERSION};
use abi::loan::{LOAN_ACTIVE, LOAN_DRAINING, Loan};
use abi::process::{DESCRIPTOR_MAGIC, Descriptor, State};
use abi::service::{SERVICE_DOWN, SERVICE_RUNS, Service};
use abi::{Frame, GuestPhys, GuestVirt, Pid};
use introspect::matrix::Guest;
use introspect::matrix::guest::{News, Problem, ReadError};
use introspect::matrix::space::{pid as pid_of, space_id};
use introspect::x86::{Changed, Paging, ReverseMap, Space};
use proptest::prelude::*;
use zerocopy::FromZeros;

use crate::machine::{Machine, RW};

const INFO: GuestPhys = GuestPhys(0x1000);

struct Published {
    machine: Machine,
    info: Info,
}

/// A guest with room for eight processes, four loans, flows, gateway places and services, and the kernel's
/// root.
fn published() -> Published {
    let mut machine = Machine::new(64);
    assert_eq!(machine.frame(FrameKind::Kernel, Pid::NONE).base(), INFO);
    let [process_table, frame_table, loan_table, flow_table, gate_table, service_table] =
        [(); 6].map(|()| machine.frame(FrameKind::Kernel, Pid::NONE).base());
    let kernel_root = machine.root(Pid::NONE);
    let info = Info {
        magic: INFO_MAGIC,
        version: VERSION,
        kernel_root,
        process_table,
        process_slots: 8,
        frame_table,
        frames: 64,
        loan_table,
        loan_slots: 4,
        flow_table,
        flow_slots: 4,
        gate_table,
        gate_slots: 4,
        service_table,
        service_slots: 4,
        ..Info::default()
    };
    let mut guest = Published { machine, info };
    guest.publish();
    guest
}

impl Published {
    fn publish(&mut self) {
        self.publish_info_only();
        let frames = self.machine.frames.clone();
        self.machine.put(self.info.frame_table, frames.as_slice());
    }

    fn publish_info_only(&mut self) {
        self.machine.put(INFO, &self.info);
    }

    fn process(&mut self, slot: usize, pid: Pid, state: u8, root: GuestPhys) -> Frame {
        let frame = self.machine.frame(FrameKind::Descriptor, pid);
        let mut descriptor = Descriptor::new_zeroed();
        descriptor.magic = DESCRIPTOR_MAGIC;
        descriptor.pid = pid;
        descriptor.state = state;
        descriptor.root = root.frame().0 as u32;
        self.machine.put(frame.base(), &descriptor);
        self.machine.put(self.info.process_table.add(slot as u64 * 4), &(frame.0 as u32));
        frame
    }

    fn read(&self) -> Result<Guest, ReadError> {
        Guest::read(&self.machine.memory, INFO)
    }
}

#[test]
fn processes_frames_and_loans_are_read() {
    let mut published = published();
    let (a, b) = (Pid::new(1, 1), Pid::new(5, 9));
    let roots = [a, b].map(|pid| published.machine.root(pid));
    let page = published.machine.frame(FrameKind::User, a);
    published.machine.map(roots[0], GuestVirt(0x80_0000), page, RW);
    published.process(5, b, State::Sleeping as u8, roots[1]);
    let descriptor = published.process(1, a, State::Running as u8, roots[0]);
    let loan = Loan { state: LOAN_DRAINING, id: 4, lender: a, borrower: b, pages: 1, ..Loan::default() };
    published.machine.put(published.info.loan_table.add(2 * 64), &loan);
    published.publish();

    let guest = published.read().unwrap();
    assert_eq!(guest.problems, []);
    assert_eq!(guest.info, published.info);
    assert_eq!(guest.loans, [loan]);
    assert_eq!(guest.fact(page), Some(published.machine.frames[page.0 as usize]));
    assert_eq!(guest.fact(Frame(64)), None);
    assert_eq!(guest.processes.iter().map(|p| p.descriptor.pid).collect::<Vec<_>>(), [a, b]);
    assert_eq!(guest.process(a).unwrap().frame, descriptor);
    assert_eq!(guest.process(a).unwrap().state(), Some(State::Running));
    assert_eq!(guest.process(Pid::new(1, 2)), None);
    let spaces = [(Pid::NONE, published.info.kernel_root), (a, roots[0]), (b, roots[1])];
    assert_eq!(
        guest.spaces().collect::<Vec<_>>(),
        spaces.map(|(pid, root)| Space { id: space_id(pid), root })
    );
    let map =
        ReverseMap::build(&published.machine.memory, Paging::default(), guest.spaces(), ReverseMap::BUDGET);
    assert_eq!(pid_of(map.id(map.of(page)[0])), a);
}

#[test]
fn flows_waiters_and_services_are_read() {
    let mut published = published();
    let info = published.info;
    let flow = Flow { from: Pid::new(1, 1), to: Pid::new(2, 1), port: 2000, messages: 9, ..Flow::default() };
    published.machine.put(info.flow_table.add(3 * 32), &flow);
    let gates = [7, 5, 6].map(|slot| Gate { pid: Pid::new(slot, 0), bytes: 200, since: 3, sequence: 8 });
    published.machine.put(info.gate_table, &gates);
    published.info.gate_waiting = 2;
    let service = |state| Service { pid: Pid::new(1, 1), state, ..Service::default() };
    published.machine.put(info.service_table.add(48), &[service(SERVICE_RUNS), service(SERVICE_DOWN)]);
    published.publish();
    let guest = published.read().unwrap();
    assert_eq!(guest.problems, []);
    assert_eq!(guest.flows, [flow], "free entries are left out");
    assert_eq!(guest.gates, gates[..2], "only those who wait");
    let free = Service::default();
    let places = [free, service(SERVICE_RUNS), service(SERVICE_DOWN), free];
    assert_eq!(guest.services, places, "a service keeps its index");
}

#[test]
fn a_gateway_and_services_that_make_no_sense_are_reported() {
    let mut published = published();
    published.info.gate_waiting = u32::MAX;
    let service = Service { state: 5, ..Service::default() };
    published.machine.put(published.info.service_table.add(2 * 48), &service);
    published.publish();
    let guest = published.read().unwrap();
    assert_eq!((guest.gates.len(), guest.services.len()), (4, 4));
    assert_eq!(
        guest.problems,
        [Problem::GateWaiting { waiting: u32::MAX, slots: 4 }, Problem::ServiceState { slot: 2, state: 5 }]
    );
}

#[test]
fn a_descriptor_that_is_none_is_reported_and_left_out() {
    let mut published = published();
    let root = published.machine.root(Pid::NONE);
    let good = Pid::new(1, 1);
    published.process(1, good, 200, root);
    let garbled = published.process(2, Pid::new(2, 1), 0, root);
    published.machine.put(garbled.base(), &0xdead_beef_u32);
    let misplaced = published.process(3, Pid::new(4, 1), 0, root);
    let nobody = published.process(0, Pid::NONE, 0, root);
    published.machine.put(published.info.process_table.add(7 * 4), &u32::MAX);
    published.publish();
    let guest = published.read().unwrap();
    assert_eq!(guest.processes.iter().map(|p| p.descriptor.pid).collect::<Vec<_>>(), [good]);
    assert_eq!(
        guest.problems,
        [
            Problem::DescriptorPid { slot: 0, frame: nobody, pid: Pid::NONE },
            Problem::DescriptorState { pid: good, state: 200 },
            Problem::DescriptorMagic { slot: 2, frame: garbled, magic: 0xdead_beef },
            Problem::DescriptorPid { slot: 3, frame: misplaced, pid: Pid::new(4, 1) },
            Problem::DescriptorOutside { slot: 7, frame: Frame(0xffff_ffff) },
        ]
    );
}

#[test]
fn a_zombie_has_an_address_space_only_while_its_root_is_a_page_table() {
    let mut published = published();
    let pids = [1, 2, 3, 4].map(|slot| Pid::new(slot, 0));
    let roots = pids.map(|pid| published.machine.root(pid));
    published.process(1, pids[0], State::Zombie as u8, roots[0]);
    published.process(2, pids[1], State::Zombie as u8, roots[1]);
    published.process(3, pids[2], State::Zombie as u8, GuestPhys(0));
    published.process(4, pids[3], State::Embryo as u8, GuestPhys(0));
    published.machine.set_fact(roots[1].frame(), FrameKind::Quarantined, Pid::NONE);
    published.publish();
    let guest = published.read().unwrap();
    assert_eq!(guest.processes.len(), 4);
    assert_eq!(guest.spaces().map(|space| pid_of(space.id)).collect::<Vec<_>>(), [Pid::NONE, pids[0]]);
}

#[test]
fn loans_that_make_no_sense_are_reported() {
    let mut published = published();
    let table = published.info.loan_table;
    published.machine.put(table, &Loan { state: 77, ..Loan::default() });
    published.machine.put(table.add(3 * 64), &Loan { state: LOAN_ACTIVE, pages: 5, ..Loan::default() });
    let guest = published.read().unwrap();
    assert_eq!(guest.loans.len(), 1);
    assert_eq!(
        guest.problems,
        [Problem::LoanState { slot: 0, state: 77 }, Problem::LoanPages { slot: 3, pages: 5 }]
    );
}

#[test]
fn tables_that_cannot_be_found_are_errors() {
    let broken = |change: &dyn Fn(&mut Info)| {
        let mut published = published();
        change(&mut published.info);
        published.publish_info_only();
        published.read().unwrap_err()
    };
    assert_eq!(broken(&|info| info.magic = 1), ReadError::BadMagic { at: INFO, magic: 1 });
    assert_eq!(broken(&|info| info.version += 1), ReadError::BadVersion(VERSION + 1));
    let refused = broken(&|info| info.process_slots = 65537);
    assert_eq!(refused.to_string(), "the process table has 65537 entries, at most 65536 make sense");
    assert!(matches!(broken(&|info| info.frames = u32::MAX), ReadError::TooMany { .. }));
    assert!(matches!(broken(&|info| info.loan_slots = u32::MAX), ReadError::TooMany { .. }));
    assert!(matches!(
        broken(&|info| info.loan_table = GuestPhys(u64::MAX)),
        ReadError::NoTable { table: "loan table", .. }
    ));
    assert!(matches!(broken(&|info| info.flow_slots = u32::MAX), ReadError::TooMany { .. }));
    assert!(matches!(broken(&|info| info.gate_slots = u32::MAX), ReadError::TooMany { .. }));
    assert!(matches!(
        broken(&|info| info.service_slots = 65536),
        ReadError::NoTable { table: "service table", .. }
    ));
    assert!(matches!(broken(&|info| info.frames = 1 << 18), ReadError::NoTable { table: "frame table", .. }));
    assert!(matches!(Guest::read(&vec![0; 64], GuestPhys(0)), Err(ReadError::NoInfo(_))));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    /// After any writes, reading only the written pages again gives the same as reading everything.
    #[test]
    fn an_update_is_a_reading(
        writes in prop::collection::vec((0..17u64, 0..64u64, 0..12u64, 0..6u64), 0..60),
        rounds in 1..6usize,
    ) {
        let mut published = published();
        let root = published.machine.root(Pid::NONE);
        for slot in 1..6 {
            published.process(slot, Pid::new(slot, 1), State::Ready as u8, root);
        }
        published.publish();
        let (mut guest, mut news, mut changed) = (published.read().unwrap(), News::default(), Changed::nothing());
        for writes in writes.chunks(60_usize.div_ceil(rounds)) {
            let before = guest.clone();
            for &(frame, word, value, times) in writes {
                // Sometimes an earlier value: tables are moved, pids are confused.
                let value = if times == 5 { published.machine.get(GuestPhys(word * 64)) } else { value };
                let at = Frame(frame).base().add(word * 8 * (times % 5));
                if frame != 1 || word % 7 == 0 {
                    changed.add(Frame(frame));
                    published.machine.put(at, &value);
                }
            }
            let updated = guest.update(&published.machine.memory, INFO, &changed, &mut news);
            changed.clear();
            match (updated, published.read()) {
                (Ok(()), Ok(read)) => prop_assert_eq!(&guest, &read),
                (updated, read) => {
                    prop_assert_eq!(updated.err(), read.err());
                    continue;
                }
            }
            if !news.everything {
                prop_assert!(guest.loans == before.loans || news.loans);
                prop_assert!(guest.processes == before.processes || news.processes);
                let facts = (0..64).filter(|at| guest.frames[*at] != before.frames[*at]);
                prop_assert!(facts.map(|at| Frame(at as u64)).eq(news.facts.iter().copied()));
            }
        }
    }

    /// An audit ends without a panic for any info block and memory.
    #[test]
    fn a_garbled_guest_is_audited_to_an_end(words: [u64; 32], fill: u64, slots in 0..100u32, frames in 0..100u32) {
        let mut memory = vec![0; 16 * 4096];
        let mut state = fill | 1;
        for (at, word) in memory.chunks_exact_mut(8).zip((0..512).cycle()) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let word = words[word % 32] ^ if word % 3 == 0 { state } else { 0 };
            at.copy_from_slice(&(word & (0xffff | fill)).to_le_bytes());
        }
        let info = Info {
            magic: INFO_MAGIC,
            version: VERSION,
            kernel_root: GuestPhys(words[0] & 0xffff),
            process_table: GuestPhys(words[1] & 0xffff),
            frame_table: GuestPhys(words[2] & 0xffff),
            loan_table: GuestPhys(words[3] & 0xffff),
            process_slots: slots,
            frames,
            loan_slots: slots,
            flow_table: GuestPhys(words[4] & 0xffff),
            gate_table: GuestPhys(words[5] & 0xffff),
            service_table: GuestPhys(words[6] & 0xffff),
            flow_slots: slots,
            gate_slots: slots,
            service_slots: slots,
            gate_waiting: frames,
            ..Info::default()
        };
        memory[..size_of::<Info>()].copy_from_slice(zerocopy::IntoBytes::as_bytes(&info));
        if let Ok(guest) = Guest::read(&memory, GuestPhys(0)) {
            let budget = introspect::Budget { tables: 500, leaves: 5000 };
            let map = ReverseMap::build(&memory, Paging::default(), guest.spaces(), budget);
            prop_assert!(map.tables() <= 500 && map.len() <= 5000);
            let findings = introspect::matrix::policy::check(&map, &guest.frames, &guest.loans);
            prop_assert!(findings.is_sorted_by_key(|finding| (finding.frame, finding.what)));
        }
    }
}
