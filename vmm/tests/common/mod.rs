//! What several tests have in common.

use std::io::Write;

use vmm::host::kvm::Kvm;
use vmm::machine::Model;

/// KVM, and the model of machine that guests see.
pub(crate) struct Host {
    pub(crate) kvm: Kvm,
    pub(crate) model: Model,
}

impl Host {
    /// Opens KVM. Without it, ends the test program and says so: none of its tests could pass.
    pub(crate) fn new() -> Self {
        let kvm = Kvm::open().unwrap_or_else(|error| {
            // Straight to the descriptor: the test harness keeps what the macros print.
            let _ = writeln!(std::io::stderr(), "SKIPPED: {error}");
            std::process::exit(0);
        });
        let model = Model::of(&kvm).unwrap();
        Self { kvm, model }
    }
}
