//! A KVM virtual machine monitor as a library: boots an x86-64 kernel, runs it from event to event,
//! snapshots, restores and forks it.
//!
//! # Booting a kernel
//!
//! A kernel is an ELF file with a PVH entry point. The host's KVM and the model of the processor that guests
//! see are opened once; each machine is built from a [`MachineConfig`](machine::MachineConfig) and a writer
//! for its serial port. [`Machine::step`](machine::Machine::step) runs the guest until something happens that
//! the caller must know or decide on.
//!
//! ```no_run
//! use devices::watchdog::{Stages, Timeout};
//! use vmm::host::kvm::Kvm;
//! use vmm::machine::loader::{Image, ImageSource};
//! use vmm::machine::{Event, Machine, MachineConfig, Model};
//!
//! # fn main() -> Result<(), vmm::Error> {
//! let kvm = Kvm::open()?;
//! let model = Model::of(&kvm)?;
//! let config = MachineConfig {
//!     memory_mib: 64,
//!     image: Image::read(&ImageSource::File("vmlinux".into()))?,
//!     cmdline: "console=ttyS0".into(),
//!     module: None,
//!     timeout: Timeout::Wall,
//!     stages: Stages::default(),
//! };
//! let mut machine = Machine::new(&kvm, &model, &config, std::io::stdout())?;
//! loop {
//!     match machine.step()? {
//!         Event::Exit(status) => break println!("the guest ended with status {status}"),
//!         Event::TripleFault => break println!("triple fault"),
//!         Event::OutputWaits => machine.flush_console()?,
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Snapshots
//!
//! [`Machine::snapshot`](machine::Machine::snapshot) keeps a guest as it is.
//! [`Machine::fork`](machine::Machine::fork) starts another guest from there, whose memory costs only what it
//! writes; [`Machine::restore`](machine::Machine::restore) brings a running guest back.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use vmm::machine::{Machine, MachineConfig, Model};
//! # fn demo(kvm: &vmm::host::kvm::Kvm, model: &Model, config: &MachineConfig) -> Result<(), vmm::Error> {
//! let mut machine = Machine::new_for_snapshots(kvm, model, config, std::io::sink())?;
//! let _ = machine.step()?;
//! let snapshot = Arc::new(machine.snapshot()?);
//! let watchdog = (config.timeout, config.stages);
//! let mut fork = Machine::fork(kvm, model, &snapshot, watchdog, std::io::sink())?;
//! let _ = fork.step()?;
//! fork.restore(kvm, model, &snapshot)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Layers
//!
//! Each module uses only those before it:
//!
//! | module | owns |
//! |---|---|
//! | [`error`] | what can fail, with what to do about it |
//! | [`host`] | KVM, guest memory, exits; all ioctls and all unsafe code |
//! | [`wall`] | real time, signals and standard input, in a thread of their own |
//! | [`machine`] | the loader, the board, snapshots, the pool, [`machine::Machine`] |
//! | [`probe`] | what is peculiar about this host |
//!
//! Nothing here knows what a guest keeps in its memory.

pub mod error;
pub mod host;
pub mod machine;
pub mod probe;
pub mod wall;

pub use error::{Error, VmmError};
