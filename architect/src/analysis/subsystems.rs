//! The kernel's own counters, by name, added up over all incarnations of a guest.

use abi::info::Counters;
use serde_json::{Map, Value};

macro_rules! counters {
    ($($name:ident)+) => {
        impl Subsystems {
            /// Adds the counters of a life that has ended. The guest may have written anything there.
            pub fn add(&mut self, life: &Counters) {
                // Without `..`: a counter that is missing here does not compile.
                let Counters { $($name),+ } = life;
                $(self.0.$name = self.0.$name.saturating_add(*$name);)+
            }

            /// All counters, in the order in which the kernel has them.
            pub fn to_json(self) -> Value {
                let mut object = Map::new();
                $(object.insert(stringify!($name).into(), self.0.$name.into());)+
                Value::Object(object)
            }
        }
    };
}

/// The sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subsystems(pub Counters);

counters! {
    syscalls refusals messages loans timeouts switches handoffs spawns exits crashes pets early_reuses bursts misjudged
    acknowledged missed faults low_water out_of_memory transfers transferred gated datagrams damaged signals phones
    calls_v1 calls_v2 taps tagged granted withheld restarts examined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_added_up_and_nothing_overflows() {
        let mut sum = Subsystems::default();
        sum.add(&Counters { messages: 3, examined: u64::MAX, ..Counters::default() });
        sum.add(&Counters { messages: 4, examined: 1, ..Counters::default() });
        let object = sum.to_json();
        assert_eq!((&object["messages"], &object["examined"]), (&7.into(), &u64::MAX.into()));
        let counters = size_of::<Counters>() / 8;
        assert_eq!(object.as_object().unwrap().len(), counters);
    }
}
