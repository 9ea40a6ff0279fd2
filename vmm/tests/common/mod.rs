//! What several tests have in common.

use std::io::{Write, stderr};

use vmm::host::kvm::Kvm;
use vmm::machine::Model;

/// The way to KVM, and the machine that guests see.
pub(crate) struct Host {
    pub(crate) kvm: Kvm,
    pub(crate) model: Model,
}

impl Host {
    /// Opens KVM. Where it cannot be used this says so and ends the test program: none of its tests could pass.
    pub(crate) fn new() -> Self {
        let kvm = Kvm::open().unwrap_or_else(|error| {
            // Straight to the descriptor: the test harness keeps what the macros print.
            let _ = writeln!(stderr(), "SKIPPED: {error}");
            std::process::exit(0)
        });
        let model = Model::of(&kvm).unwrap();
        Self { kvm, model }
    }
}
