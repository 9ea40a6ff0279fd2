//! Many guests in one process: each tells what it tells alone, whoever else is there.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use abi::info::Doorbell;
use architect::analysis::observer::Observer;
use architect::experiment::{Compare, Laboratory, Warm, machine_config};
use architect::guest::image::Fingerprints;
use architect::scenario::Scenario;
use iced_x86::code_asm::*;
use vmm::machine::pool::Pool;
use vmm::machine::tiny;
use vmm::machine::{Event, Machine};
use vmm::wall::{Wall, WallConfig};

use common::Host;

#[path = "../../vmm/tests/common/mod.rs"]
mod common;

/// A healthy Matrix with some load, for so many ticks.
fn scenario(seed: u64, ticks: u32) -> Scenario {
    let text = include_str!("../../scenarios/healthy.toml");
    let sets = [("vm.max-ticks".to_owned(), ticks.to_string())];
    Scenario::parse(text, "healthy.toml", Some(seed), &sets).unwrap()
}

impl Host {
    fn boot_once(&self) -> Warm {
        let config = machine_config(&scenario(0, 1), None).unwrap();
        Warm::boot(&self.kvm, &self.model, &config, Duration::from_secs(60)).unwrap().expect("it boots")
    }

    /// The trace hash of a run of this scenario.
    fn run(&self, scenario: &Scenario, warm: Option<Warm>) -> String {
        let config = machine_config(scenario, None).unwrap();
        let fingerprints = Fingerprints { image_sha256: String::new(), module_sha256: None };
        let lab = Laboratory {
            scenario,
            config: &config,
            fingerprints: &fingerprints,
            kvm: &self.kvm,
            model: &self.model,
            silence: Duration::from_secs(10),
            cores: false,
            compare: Compare::Nothing,
            warm,
        };
        lab.experiment(None).unwrap().trace_hash.expect("virtual time")
    }

    /// A guest of a few instructions, run again and again until told to stop; each time for a moment at most.
    fn pest(&self, code: &[u8], stop: &AtomicBool) {
        let config = tiny::config("pest", code, 2).unwrap();
        while !stop.load(Ordering::Relaxed) {
            let moment = WallConfig { timeout: Some(Duration::from_millis(300)), ..WallConfig::default() };
            let (wall, _events) = Wall::spawn(moment).unwrap();
            let mut machine = Machine::new(&self.kvm, &self.model, &config, io::sink()).unwrap();
            machine.attach(wall.kick());
            loop {
                match machine.step().unwrap() {
                    Event::Kicked | Event::TripleFault | Event::Crash(_) => break,
                    Event::OutputWaits => machine.flush_console().unwrap(),
                    _ => {}
                }
            }
        }
    }
}

fn assemble(code: impl FnOnce(&mut CodeAssembler)) -> Vec<u8> {
    let mut assembler = CodeAssembler::new(32).unwrap();
    code(&mut assembler);
    assembler.assemble(tiny::BASE + tiny::CODE_AT).unwrap()
}

/// Guests that nobody likes to live beside: one never stops, one rings, prints and strays without a pause, one dies at once.
fn pests() -> [Vec<u8>; 3] {
    let wedged = assemble(|a| {
        let mut here = a.create_label();
        a.set_label(&mut here).unwrap();
        a.jmp(here).unwrap();
    });
    let storming = assemble(|a| {
        let mut again = a.create_label();
        a.set_label(&mut again).unwrap();
        a.mov(esi, 0x10_0000).unwrap();
        a.mov(ecx, 64).unwrap();
        a.mov(edx, 0x3f8).unwrap();
        a.rep().outsb().unwrap();
        a.mov(eax, Doorbell::Tick as i32).unwrap();
        a.out(i32::from(abi::layout::PORT_DOORBELL), eax).unwrap();
        a.out(0x80, al).unwrap();
        a.mov(dword_ptr(0xd000_0000_u32), eax).unwrap();
        a.jmp(again).unwrap();
    });
    let dying = assemble(|a| {
        a.ud2().unwrap();
    });
    [wedged, storming, dying]
}

#[test]
fn a_guest_among_others_tells_what_it_tells_alone_whatever_the_others_do() {
    let host = Host::new();
    let scenarios: Vec<_> = [1, 2, 3, 1, 2, 3, 1, 2].map(|seed| scenario(seed, 60)).into();
    let alone: Vec<_> = scenarios[..3].iter().map(|scenario| host.run(scenario, None)).collect();
    let warm = host.boot_once();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for code in pests() {
            let (host, stop) = (&host, &stop);
            scope.spawn(move || host.pest(&code, stop));
        }
        let guests: Vec<_> =
            scenarios.iter().map(|scenario| scope.spawn(|| host.run(scenario, Some(warm.clone())))).collect();
        let hashes: Vec<_> = guests.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        for (nth, hash) in hashes.into_iter().enumerate() {
            assert_eq!(hash.unwrap(), alone[nth % 3], "guest {nth}");
        }
    });
}

/// A guest and who takes its trace.
struct Watched {
    machine: Machine<io::Sink>,
    observer: Option<Observer>,
    trace: blake3::Hasher,
}

impl Watched {
    fn new(machine: Machine<io::Sink>) -> Self {
        Self { machine, observer: None, trace: blake3::Hasher::new() }
    }

    /// Runs to its next doorbell; `false` when it has come so far.
    fn go_on(&mut self, scenario: &Scenario) -> bool {
        loop {
            match self.machine.step().unwrap() {
                Event::Doorbell { reason: Doorbell::Hello, page } => {
                    let memory = self.machine.memory();
                    self.observer = Some(Observer::attach(memory, page, scenario.audit).unwrap());
                    return true;
                }
                Event::Doorbell { .. } => {
                    let (memory, trace) = (self.machine.memory(), &mut self.trace);
                    let observer = self.observer.as_mut().expect("it has said hello");
                    observer.drain(memory, |record| {
                        trace.update(zerocopy::IntoBytes::as_bytes(record));
                    });
                    return observer.now(memory) < scenario.vm.max_ticks;
                }
                Event::OutputWaits | Event::WatchdogChanged => {}
                event => panic!("{event:?}"),
            }
        }
    }

    fn trace(self) -> blake3::Hash {
        self.trace.finalize()
    }
}

#[test]
fn sixty_four_forks_that_live_at_once_each_tell_the_story_of_their_seed() {
    let host = Host::new();
    let warm = host.boot_once();
    let scenarios: Vec<_> = (0..64).map(|nth| scenario(nth, 6)).collect();
    let mut forks: Vec<_> = scenarios
        .iter()
        .map(|scenario| {
            let config = machine_config(scenario, None).unwrap();
            // Without a pool: each is a VM of its own.
            let machine = warm.fork(&Pool::new(), (&host.kvm, &host.model), &config, io::sink());
            Watched::new(machine.unwrap())
        })
        .collect();
    // In turns, a doorbell each, until all have ended; all of them are there until then.
    let mut left = forks.len();
    let mut running = vec![true; forks.len()];
    while left > 0 {
        for ((fork, running), scenario) in forks.iter_mut().zip(&mut running).zip(&scenarios) {
            if *running && !fork.go_on(scenario) {
                *running = false;
                left -= 1;
            }
        }
    }
    let traces: Vec<_> = forks.into_iter().map(Watched::trace).collect();
    for (scenario, trace) in scenarios.iter().zip(&traces) {
        let config = machine_config(scenario, None).unwrap();
        let mut cold = Watched::new(Machine::new(&host.kvm, &host.model, &config, io::sink()).unwrap());
        while cold.go_on(scenario) {}
        assert_eq!(cold.trace(), *trace, "seed {}", scenario.seed);
    }
    let different: std::collections::BTreeSet<_> = traces.iter().map(|trace| trace.to_hex()).collect();
    assert_eq!(different.len(), 64, "seeds differ");
}
