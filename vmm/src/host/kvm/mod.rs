//! KVM: every call to `/dev/kvm` of this library.
//!
//! Owns the device ([`Kvm`]), the VM ([`Vm`]) and its processor ([`Vcpu`]) as KVM knows them. A vCPU returns
//! its exits as [`Exit`](crate::host::exit::Exit); what an exit means is decided by the caller. May use guest
//! memory and the errors of this crate; called by `machine`, `wall` and `probe`.

mod device;
mod kick;
mod processor;
mod run_page;
mod state;
mod vcpu;
mod vm;

pub use crate::error::DEVICE;
pub use device::{API_VERSION, Kvm, NEEDED};
pub use kick::{Alarm, KickTarget};
pub use processor::host_processor;
pub use state::CpuState;
pub use vcpu::Vcpu;
pub use vm::Vm;
