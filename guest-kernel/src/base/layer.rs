//! How the layers of the kernel stand on each other.

/// Puts a layer on the one below it: what the lower layer offers is offered by the upper one as well. A layer
/// cannot name anything above itself, so the compiler keeps the order.
macro_rules! layer {
    ($upper:ident over $lower:ident in $field:ident) => {
        impl<H> core::ops::Deref for $upper<H> {
            type Target = $lower<H>;

            #[inline(always)]
            fn deref(&self) -> &$lower<H> {
                &self.$field
            }
        }

        impl<H> core::ops::DerefMut for $upper<H> {
            #[inline(always)]
            fn deref_mut(&mut self) -> &mut $lower<H> {
                &mut self.$field
            }
        }
    };
}

pub(crate) use layer;
