//! What several tests have in common.

use vmm::host::kvm::Kvm;
use vmm::machine::Model;

/// The way to KVM, and the machine that guests see.
pub(crate) struct Host {
    pub(crate) kvm: Kvm,
    pub(crate) model: Model,
}

impl Host {
    pub(crate) fn new() -> Self {
        let kvm = Kvm::open().expect("a host that can run guests");
        let model = Model::of(&kvm).unwrap();
        Self { kvm, model }
    }
}
