//! A fault from its keys, if they make sense together.

use super::limits::Checked;
use super::place::place;
use super::values::number;
use super::what::what;
use super::when::when;
use crate::scenario::fault::keys::FaultKeys;
use crate::scenario::fault::model::{Device, Fault, Mistake, Place, What};

impl Fault {
    /// The fault that these keys say. Where they leave a choice, each possibility is looked at, and the first is taken.
    pub fn of(keys: &FaultKeys) -> Checked<Self> {
        let fault = Self {
            when: when(&keys.when)?,
            place: place("where", &keys.place)?,
            what: what(&keys.what)?,
            draw: keys.draw.unwrap_or(0),
        };
        if let Some(why) = fault.nonsense() {
            return Err(Mistake::new("what", why.0, why.1));
        }
        if let (Some(width), Some(bit)) = (fault.place.width(), &keys.what.bit) {
            number("what.bit", bit, 0, u64::from(width) - 1)?;
        }
        Ok(fault)
    }

    /// Why this effect cannot be had in this place, and what can.
    fn nonsense(&self) -> Option<(&'static str, &'static str)> {
        let (place, what) = (&self.place, self.what);
        let word = place.width().is_some();
        let answer = match what {
            What::Flip(_) if word || *place == Place::Device(Device::Serial) => return None,
            What::Flip(_) => {
                ("there are no bits to invert here", "give a place in memory, a register, or the serial line")
            }
            What::StuckAt { .. } if word && !matches!(place, Place::Register { .. }) => return None,
            What::StuckAt { .. } if word => (
                "a register cannot be held: it is saved and loaded between two ticks",
                "use flip, or hold a word of memory",
            ),
            What::StuckAt { .. } => ("there is no bit to hold here", "give a place in memory"),
            What::Swap if matches!(place, Place::PageTable { .. } | Place::Descriptor { .. }) => return None,
            What::Swap => (
                "only entries of one kind can change places",
                "give an entry of a page table (page-table) or a field of a descriptor (descriptor)",
            ),
            What::Drop(_) | What::Duplicate(_) | What::Delay(_) if matches!(place, Place::Datagram) => {
                return None;
            }
            What::Drop(_) if matches!(place, Place::Device(Device::Serial | Device::Watchdog)) => {
                return None;
            }
            What::Duplicate(_) if *place == Place::Device(Device::Serial) => return None,
            What::Drop(_) | What::Duplicate(_) | What::Delay(_) if matches!(place, Place::Loan(_)) => (
                "a loan is not on its way: its pages are mapped while sender and receiver stand still",
                "flip bits of it (flip), or use message = \"datagram\"",
            ),
            What::Drop(_) | What::Delay(_) if *place == Place::Device(Device::Timer) => {
                ("interrupts are not queued", "use lost: the one after them brings all that is due")
            }
            What::Drop(_) => (
                "nothing passes here that could be lost",
                "give message = \"datagram\", or device = \"serial\" or \"watchdog\" (its pets)",
            ),
            What::Duplicate(_) => (
                "nothing passes here that could come twice",
                "give message = \"datagram\" or device = \"serial\"",
            ),
            What::Delay(_) => ("nothing passes here that could be late", "give message = \"datagram\""),
            What::Kill if matches!(place, Place::Process(_)) => return None,
            What::Kill => ("only a process can be ended", "give where = { process = \"...\" }"),
            What::Pause(_) if *place == Place::Machine => return None,
            What::Pause(_) => (
                "only the machine as a whole can stand still while time passes",
                "leave `where` out; a process alone cannot be paused",
            ),
            What::Nmi if *place == Place::Machine => return None,
            What::Nmi => ("the interrupt goes to the processor", "leave `where` out"),
            What::Lost(_) | What::Spurious(_) if *place == Place::Device(Device::Timer) => return None,
            What::Lost(_) | What::Spurious(_) => {
                ("the only device with an interrupt is the timer", "give where = { device = \"timer\" }")
            }
            What::Withhold { .. } if *place == Place::Device(Device::Memory) => return None,
            What::Withhold { .. } => ("only memory can be withheld", "give where = { device = \"memory\" }"),
        };
        Some(answer)
    }
}

impl Place {
    /// Bits of the word that is here; `None` if there is no word.
    pub fn width(&self) -> Option<u32> {
        match self {
            Self::Machine | Self::Device(_) | Self::Process(_) => None,
            Self::Descriptor { field, .. } => Some(u32::from(field.bytes()) * 8),
            _ => Some(64),
        }
    }
}
