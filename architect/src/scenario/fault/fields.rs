//! What a fault can name inside of a descriptor and among registers.

use abi::process::{Context, Descriptor};
use kvm_bindings::kvm_regs;

use core::mem::offset_of;

macro_rules! fields {
    ($($field:ident)+) => {
        /// Fields of a descriptor: name, offset, bytes.
        const FIELDS: &[(&str, u64, u8)] =
            &[$((stringify!($field), offset_of!(Descriptor, $field) as u64, bytes(|d| &d.$field)),)+];
    };
}

const fn bytes<T>(_: fn(&Descriptor) -> &T) -> u8 {
    size_of::<T>() as u8
}

fields! {
    magic pid parent root uid keys program state ring priority effective seen entries since waited peer predicted bursts
    misjudged faults messages frames service remedy doomed tagged born
}

/// A field of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field(&'static (&'static str, u64, u8));

impl Field {
    /// The field with this name.
    pub fn named(name: &str) -> Option<Self> {
        FIELDS.iter().find(|field| field.0 == name).map(Self)
    }

    /// All names.
    pub fn names() -> String {
        FIELDS.iter().map(|field| field.0).collect::<Vec<_>>().join(", ")
    }

    /// Bytes from the descriptor's beginning.
    pub const fn offset(self) -> u64 {
        self.0.1
    }

    /// Its length.
    pub const fn bytes(self) -> u8 {
        self.0.2
    }
}

macro_rules! registers {
    ($($name:ident,)+) => {
        /// A general register, the instruction pointer or the flags.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Register { $(#[allow(non_camel_case_types)] $name,)+ }

        impl Register {
            const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// Where a descriptor has it: bytes from the descriptor's beginning.
            pub const fn offset(self) -> u64 {
                let within = match self { $(Self::$name => offset_of!(Context, $name),)+ };
                (offset_of!(Descriptor, context) + within) as u64
            }

            /// The processor's own.
            pub fn of(self, registers: &mut kvm_regs) -> &mut u64 {
                match self { $(Self::$name => &mut registers.$name,)+ }
            }
        }
    };
}

registers! { rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags, }

impl Register {
    /// The register with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|register| register.name() == name)
    }

    /// All names.
    pub fn names() -> String {
        Self::ALL.iter().map(|register| register.name()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::{FromZeros, IntoBytes};

    #[test]
    fn fields_and_registers_are_where_the_descriptor_has_them() {
        let mut descriptor = Descriptor::new_zeroed();
        (descriptor.uid, descriptor.priority, descriptor.since) = (0x1122_3344, 7, 0x55);
        (descriptor.context.rax, descriptor.context.rip) = (0x66, 0x77);
        let bytes = descriptor.as_bytes().to_vec();
        let at = |offset: u64, len: u8| {
            let mut word = [0; 8];
            word[..len.into()].copy_from_slice(&bytes[offset as usize..][..len.into()]);
            u64::from_le_bytes(word)
        };
        let field = |name| Field::named(name).map(|field| at(field.offset(), field.bytes()));
        assert_eq!(["uid", "priority", "since"].map(field), [Some(0x1122_3344), Some(7), Some(0x55)]);
        let register = |name| at(Register::named(name).unwrap().offset(), 8);
        assert_eq!(["rax", "rip", "rbx"].map(register), [0x66, 0x77, 0]);
        assert_eq!((Field::named("name"), Register::named("cr3")), (None, None));
        let mut registers = kvm_regs { rflags: 2, ..Default::default() };
        assert_eq!(*Register::rflags.of(&mut registers), 2);
    }
}
