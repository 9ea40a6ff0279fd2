//! A kernel on a [`FakeMachine`], and a test that acts as whichever program runs.

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use abi::flow::{Flow, Gate};
use abi::frame::{FrameEntry, FrameKind};
use abi::info::{Counters, Info};
use abi::layout::{PAGE_SIZE, USER_TEXT};
use abi::loan::Loan;
use abi::module::{Header, MODULE_MAGIC, Program};
use abi::process::{PROCESS_SLOTS, State, VECTOR_SYSCALL};
use abi::service::{SERVICE_SLOTS, Service};
use abi::syscall::{Call, Error};
use abi::trace::{Kind, Record};
use abi::{Frame, GuestVirt, Pid};
use zerocopy::{FromZeros, IntoBytes};

use super::invariants;
use super::machine::{Access, FROM_USER, FakeMachine};
use crate::base::TRACE_SLOTS;
use crate::base::hardware::{Hardware, Page};
use crate::base::module::Module;
use crate::base::params::Params;
use crate::base::process::Process;
use crate::ipc::{FLOW_SLOTS, GATE_SLOTS};
use crate::kernel::{Kernel, Tables};
use crate::mem::LOAN_SLOTS;
use crate::mem::pager::Pager;
use crate::mem::space::{PRESENT, frame_of};
use crate::proc::lives::Birth;

/// The kernel's own root; frame 0 is nobody's.
pub(super) const KERNEL_ROOT: Frame = Frame(1);
/// The first frame that the pager has.
pub(super) const FIRST: u32 = 3;
/// Where the boot module lies: in the middle of the pager's frames.
pub(super) const MODULE: u32 = 6;
/// Its pages: the table, two pages of text, one of read-only data.
pub(super) const MODULE_PAGES: u32 = 4;

/// Programs of the module. The first has text and a page of data.
pub(super) const PLAIN: usize = 0;
/// Two pages of text, one of read-only data, three of data.
pub(super) const LARGE: usize = 1;
/// Text only.
pub(super) const BARE: usize = 2;
/// How many there are.
pub(super) const PROGRAMS: usize = 3;

/// Frames that a new process of each program has besides its descriptor: root, pointers, directory, page
/// table.
pub(super) const FRAMES: [u32; PROGRAMS] = [4, 4, 4];

/// A command line under which no tick passes by itself.
pub(super) const TIMELESS: &str = "tick-entries=1000000 low-water=0";

pub(super) struct Matrix {
    pub(super) kernel: Kernel<FakeMachine>,
    /// All that was traced and not overwritten before the entry that traced it was over.
    pub(super) events: Vec<Record>,
    taken: u64,
    /// Each kernel entry is followed by a look at everything.
    pub(super) watchful: bool,
}

fn program(name: &[u8], text: (u32, u32), rodata_pages: u32, data_pages: u32) -> Program {
    let mut program = Program {
        entry: USER_TEXT,
        text_page: text.0,
        text_pages: text.1,
        rodata_pages,
        data_pages,
        ..Program::default()
    };
    program.name[..name.len()].copy_from_slice(name);
    program
}

/// The boot module, in pages.
fn module() -> Vec<Page> {
    let mut pages: Vec<Page> = (0..u64::from(MODULE_PAGES)).map(|page| Page([page; 512])).collect();
    let header = Header {
        magic: MODULE_MAGIC,
        version: abi::info::VERSION,
        count: PROGRAMS as u32,
        pages: MODULE_PAGES,
        reserved: [0; 3],
    };
    let programs =
        [program(b"plain", (1, 1), 0, 1), program(b"large", (1, 2), 1, 3), program(b"bare", (2, 1), 0, 0)];
    let first = pages[0].as_mut_bytes();
    first[..size_of::<Header>()].copy_from_slice(header.as_bytes());
    first[size_of::<Header>()..][..size_of_val(&programs)].copy_from_slice(programs.as_bytes());
    pages
}

/// A table that the kernel wants to have for ever.
fn table<T: FromZeros>() -> &'static mut T {
    Box::leak(Box::new(T::new_zeroed()))
}

impl Matrix {
    /// A kernel with no processes on a machine with `frames` frames.
    pub(super) fn boot(frames: usize, line: &str) -> Self {
        Self::boot_with(FakeMachine::new(frames), frames, line)
    }

    /// The same where a host listens.
    pub(super) fn boot_with_host(frames: usize, line: &str) -> Self {
        let mut machine = FakeMachine::new(frames);
        machine.listens = true;
        Self::boot_with(machine, frames, line)
    }

    fn boot_with(mut machine: FakeMachine, frames: usize, line: &str) -> Self {
        let tables = Tables {
            info: table::<Info>(),
            processes: table::<[u32; PROCESS_SLOTS]>(),
            loans: table::<[Loan; LOAN_SLOTS]>(),
            ring: table::<[Record; TRACE_SLOTS]>(),
            flows: table::<[Flow; FLOW_SLOTS]>(),
            gates: table::<[Gate; GATE_SLOTS]>(),
            services: table::<[Service; SERVICE_SLOTS]>(),
        };
        tables.info.frames = frames as u32;
        tables.info.kernel_root = KERNEL_ROOT.base();
        // The kernel's half: two entries that every address space shares.
        machine.page(KERNEL_ROOT).0[256] = Frame(2).base().0 | PRESENT;
        machine.page(KERNEL_ROOT).0[511] = Frame(2).base().0 | PRESENT;
        let pages: &'static [Page] = Box::leak(module().into_boxed_slice());
        for (page, content) in pages.iter().enumerate() {
            *machine.page(Frame(u64::from(MODULE) + page as u64)) = content.clone();
        }
        let module =
            Module::new(pages.as_bytes(), Frame(u64::from(MODULE))).expect("the module is a boot module");
        let entries = Box::leak(vec![FrameEntry::default(); frames].into_boxed_slice());
        let pager = Pager::new(entries, FIRST, module.frames());
        let kernel = Kernel::new(machine, tables, pager, module, Params::parse(line.as_bytes()), KERNEL_ROOT);
        Self { kernel, events: Vec::new(), taken: 0, watchful: true }
    }

    /// A process that nobody waits for.
    pub(super) fn spawn(&mut self, program: usize, uid: u32, priority: u8) -> Pid {
        let birth = Birth { program, parent: Pid::NONE, uid, priority, argument: 0 };
        self.kernel.spawn(birth).expect("there is memory for it")
    }

    /// A kernel process.
    pub(super) fn spawn_kernel(&mut self, priority: u8) -> Pid {
        self.kernel.spawn_kernel(b"kernel", 0xffff_ffff_8010_0000, priority).expect("there is memory for it")
    }

    /// The first switch, or one more.
    pub(super) fn schedule(&mut self) {
        self.kernel.schedule();
        self.settle();
    }

    /// What follows a kernel entry: the trace is read, everything is looked at, the program's next accesses
    /// are cached.
    fn settle(&mut self) {
        let head = self.kernel.info().trace_head;
        for at in self.taken.max(head.saturating_sub(TRACE_SLOTS as u64))..head {
            self.events.push(self.kernel.ring()[at as usize % TRACE_SLOTS]);
        }
        self.taken = head;
        if self.watchful {
            invariants::check(&mut self.kernel);
        }
        self.kernel.hw().look_ahead();
    }

    /// Who runs.
    pub(super) fn running(&self) -> Pid {
        self.kernel.info().current
    }

    /// The running program makes a system call, with `arguments` in RDI, RSI, RDX, R10, R8, R9.
    pub(super) fn call(&mut self, number: u64, arguments: &[u64]) {
        let slot = self.kernel.current();
        let context = &mut self.kernel.process(slot).d.context;
        let registers = [
            &mut context.rdi,
            &mut context.rsi,
            &mut context.rdx,
            &mut context.r10,
            &mut context.r8,
            &mut context.r9,
        ];
        for (at, register) in registers.into_iter().enumerate() {
            *register = arguments.get(at).copied().unwrap_or(0);
        }
        context.rax = number;
        (context.rcx, context.r11) = (context.rip, context.rflags);
        (context.vector, context.error) = (VECTOR_SYSCALL, 0);
        self.kernel.enter();
        self.settle();
    }

    /// `pid`, which must be the one that runs, makes a system call.
    #[track_caller]
    pub(super) fn act(&mut self, pid: Pid, call: Call, arguments: &[u64]) {
        assert_eq!(self.running(), pid, "another process runs");
        self.call(call as u64, arguments);
    }

    /// `pid`, which must be the one that runs, was set back to make its system call again, and does.
    #[track_caller]
    pub(super) fn again(&mut self, pid: Pid) {
        assert_eq!(self.running(), pid, "another process runs");
        let context = &mut self.process(pid).d.context;
        assert_eq!(context.rip, USER_TEXT, "it was not set back");
        context.rip += 2;
        (context.vector, context.error) = (VECTOR_SYSCALL, 0);
        self.kernel.enter();
        self.settle();
    }

    /// `pid` makes a system call that is granted and lets it go on; gives its first result.
    #[track_caller]
    pub(super) fn ok(&mut self, pid: Pid, call: Call, arguments: &[u64]) -> u64 {
        self.act(pid, call, arguments);
        assert_eq!((self.running(), self.status(pid)), (pid, 0), "{call:?} was to succeed at once");
        self.results(pid)[0]
    }

    /// `pid` makes a system call that is refused; it goes on.
    #[track_caller]
    pub(super) fn refused(&mut self, pid: Pid, call: Call, arguments: &[u64], error: Error) {
        let (refusals, kind) = (self.counters().refusals, Kind::Refused);
        self.act(pid, call, arguments);
        assert_eq!(self.running(), pid, "{call:?} was to be refused at once");
        assert_eq!(Error::from_raw(self.status(pid)), Some(error));
        assert_eq!(self.counters().refusals, refusals + 1);
        let record = self.last(kind);
        assert_eq!((record.pid, record.a, record.b), (pid, call as u32, error as u64));
        let about = if call == Call::Spawn { Some(&0) } else { arguments.first() };
        assert!(about.is_none_or(|about| record.c == *about), "{call:?} {arguments:x?}");
    }

    /// The running program has an exception.
    pub(super) fn exception(&mut self, vector: u64, error: u64, address: u64) {
        let slot = self.kernel.current();
        let context = &mut self.kernel.process(slot).d.context;
        (context.vector, context.error) = (vector, error);
        self.kernel.hw().fault_address = address;
        self.kernel.enter();
        self.settle();
    }

    /// The running program reads a word; page faults go to the kernel. `None` if that was its end.
    pub(super) fn read(&mut self, at: u64) -> Option<u64> {
        let frame = self.touch(at, Access::Read)?;
        Some(self.kernel.hw().frame(frame).0[(at % 4096 / 8) as usize])
    }

    /// The running program writes a word, likewise.
    pub(super) fn write(&mut self, at: u64, value: u64) -> Option<()> {
        let frame = self.touch(at, Access::Write)?;
        self.kernel.hw().write_word(frame, at, value);
        Some(())
    }

    /// The running program comes to an address; gives the frame behind it.
    pub(super) fn touch(&mut self, at: u64, access: Access) -> Option<Frame> {
        let me = self.running();
        for _ in 0..64 {
            match self.kernel.hw().access(at, access) {
                Ok(frame) => return Some(frame),
                Err(error) => self.exception(14, error | FROM_USER, at),
            }
            self.alive(me).then_some(())?;
            self.turn_to(me);
        }
        panic!("{me} faults at {at:#x} for ever");
    }

    /// Others rest until it is the turn of `pid`.
    #[track_caller]
    pub(super) fn turn_to(&mut self, pid: Pid) {
        for _ in 0..2 * PROCESS_SLOTS {
            if self.running() == pid {
                return;
            }
            self.call(Call::Yield as u64, &[]);
        }
        panic!("it is never the turn of {pid}");
    }

    /// The descriptor of a process that is alive or waits to be asked for.
    #[track_caller]
    pub(super) fn process(&mut self, pid: Pid) -> &mut Process {
        let slot = self.kernel.find(pid).expect("it is alive");
        self.kernel.process(slot)
    }

    /// Whether it is alive.
    pub(super) fn alive(&mut self, pid: Pid) -> bool {
        self.state(pid).is_some_and(|state| state != State::Zombie)
    }

    /// What it does; `None` once nothing is left of it.
    pub(super) fn state(&mut self, pid: Pid) -> Option<State> {
        let slot = self.kernel.find(pid)?;
        State::from_raw(self.kernel.process(slot).d.state)
    }

    /// What came back from its last system call: the status.
    #[track_caller]
    pub(super) fn status(&mut self, pid: Pid) -> u64 {
        self.process(pid).d.context.rax
    }

    /// The error that came back from its last system call.
    #[track_caller]
    pub(super) fn error(&mut self, pid: Pid) -> Option<Error> {
        Error::from_raw(self.status(pid))
    }

    /// And the results: RDI, RSI, RDX, R10, R8, R9.
    #[track_caller]
    pub(super) fn results(&mut self, pid: Pid) -> [u64; 6] {
        let context = &self.process(pid).d.context;
        [context.rdi, context.rsi, context.rdx, context.r10, context.r8, context.r9]
    }

    /// The entry that maps a page of a process, as its page tables have it.
    #[track_caller]
    pub(super) fn entry(&mut self, pid: Pid, at: u64) -> Option<u64> {
        let root = self.process(pid).root();
        let page = GuestVirt(at).page();
        self.kernel.hw().space(root).pages.into_iter().find(|(each, _)| *each == page).map(|(_, entry)| entry)
    }

    /// The frame that a process has at an address.
    #[track_caller]
    pub(super) fn frame(&mut self, pid: Pid, at: u64) -> Option<Frame> {
        self.entry(pid, at).map(frame_of)
    }

    /// A word in the memory of any process.
    #[track_caller]
    pub(super) fn peek(&mut self, pid: Pid, at: u64) -> Option<u64> {
        let frame = self.frame(pid, at)?;
        Some(self.kernel.hw().frame(frame).0[(at % 4096 / 8) as usize])
    }

    /// What the frame table says of a frame.
    pub(super) fn kind(&self, frame: Frame) -> (FrameKind, Pid) {
        let entry = self.kernel.pager().entry(frame).expect("there is such a frame");
        (FrameKind::from_raw(entry.kind).expect("a kind"), entry.owner)
    }

    /// Frames that nobody has, in quarantine or not.
    pub(super) fn unowned(&self) -> u32 {
        self.kernel.info().free_frames + self.kernel.info().quarantined
    }

    /// The counters.
    pub(super) fn counters(&self) -> Counters {
        self.kernel.info().counters
    }

    /// All traced events of a kind.
    pub(super) fn traced(&self, kind: Kind) -> Vec<Record> {
        self.events.iter().filter(|record| record.kind == kind as u16).copied().collect()
    }

    /// The last of them.
    #[track_caller]
    pub(super) fn last(&self, kind: Kind) -> Record {
        *self.traced(kind).last().expect("there is one")
    }

    /// `pid`, which runs, grows its heap by `pages` and touches all of them; gives the address of the first.
    #[track_caller]
    pub(super) fn fill(&mut self, pid: Pid, pages: u32) -> u64 {
        let at = self.ok(pid, Call::Grow, &[u64::from(pages) * PAGE_SIZE]);
        for page in 0..u64::from(pages) {
            assert_eq!(self.read(at + page * PAGE_SIZE), Some(0), "new memory is empty");
        }
        at
    }

    /// Makes `pid` a server that waits for messages on `port`.
    #[track_caller]
    pub(super) fn server(&mut self, pid: Pid, port: u64) {
        self.turn_to(pid);
        self.ok(pid, Call::Bind, &[port]);
        self.act(pid, Call::Receive, &[port]);
    }
}
