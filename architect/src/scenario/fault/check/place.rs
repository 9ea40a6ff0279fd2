//! Keys of `where`.

use abi::frame::FrameKind;
use abi::layout::USER_END;

use super::limits::Checked;
use super::values::{first, number, one_of, who, words};
use crate::scenario::fault::choice::{Choice, Spot};
use crate::scenario::fault::fields::{Field, Register};
use crate::scenario::fault::keys::WhereKeys;
use crate::scenario::fault::model::{Device, Mistake, Place, Who};

const WHERE: &str = "register, physical, frame, virtual, page-table, descriptor, message, device, process";

impl Place {
    /// Whether the place is another one each time that it is looked for.
    pub(super) fn is_drawn(&self) -> bool {
        match self {
            Self::Virtual { process, address } | Self::PageTable { process, address, .. } => {
                address.is_none() || *process == Who::Any
            }
            Self::Descriptor { process, .. } => *process == Who::Any,
            _ => false,
        }
    }
}

pub(super) fn place(at: &str, keys: &WhereKeys) -> Checked<Place> {
    if keys.is_empty() {
        return Ok(Place::Machine);
    }
    let key = |key: &str| format!("{at}.{key}");
    let given = keys.given();
    let main: Vec<_> = given.iter().filter(|key| !["level", "process"].contains(&key.as_str())).collect();
    if main.len() > 1 {
        return Err(one_of(at, &main, WHERE));
    }
    if keys.level.is_some() && keys.page_table.is_none() {
        return Err(Mistake::new(&key("level"), "there are no levels here", "use it with page-table"));
    }
    let process = keys.process.as_ref().map(|process| who(&key("process"), process)).transpose()?;
    let whose = || {
        let remedy = "add process: a program's name, a pid as in \"3.1\", a service's number, or \"any\"";
        process.clone().ok_or_else(|| Mistake::new(at, "whose is not said", remedy))
    };
    let nobody = |place: Place| match &process {
        None => Ok(place),
        Some(_) => Err(Mistake::new(&key("process"), "this place is nobody's", "leave process out")),
    };
    let spot = |name: &str, spot: &Choice<Spot>, align: u64| -> Checked<Option<u64>> {
        for end in spot.ends() {
            if let Spot::At(at) = *end
                && at >= USER_END
            {
                let what = format!("{at:#x} is no address of a process");
                return Err(Mistake::new(&key(name), what, format!("give one below {USER_END:#x}")));
            }
        }
        Ok(match first(spot)? {
            Spot::Any => None,
            Spot::At(at) => Some(at / align * align),
        })
    };
    if let Some(register) = &keys.register {
        let register = words(&key("register"), register, "register", Register::named, Register::names)?;
        return Ok(Place::Register { register, process });
    }
    if let Some(physical) = &keys.physical {
        let at = number(&key("physical"), physical, 0, (1 << 40) - 1)?;
        return nobody(Place::Physical(at / 8 * 8));
    }
    if let Some(frame) = &keys.frame {
        let known = |name: &str| FrameKind::ALL.into_iter().find(|kind| kind.name() == name);
        let names = || FrameKind::ALL.map(FrameKind::name).join(", ");
        return nobody(Place::Frame(words(&key("frame"), frame, "kind of frame", known, names)?));
    }
    if let Some(address) = &keys.r#virtual {
        return Ok(Place::Virtual { process: whose()?, address: spot("virtual", address, 8)? });
    }
    if let Some(address) = &keys.page_table {
        let level = keys.level.as_ref().map_or(Ok(1), |level| number(&key("level"), level, 1, 4))? as u8;
        return Ok(Place::PageTable { process: whose()?, address: spot("page-table", address, 1)?, level });
    }
    if let Some(field) = &keys.descriptor {
        let field = words(&key("descriptor"), field, "field", Field::named, Field::names)?;
        return Ok(Place::Descriptor { process: whose()?, field });
    }
    if let Some(message) = &keys.message {
        let known = |name: &str| match name {
            "loan" => Some(false),
            "datagram" => Some(true),
            _ => None,
        };
        return match words(&key("message"), message, "message", known, || "loan, datagram".into())? {
            true => nobody(Place::Datagram),
            false => Ok(Place::Loan(process)),
        };
    }
    if let Some(device) = &keys.device {
        let known = |name: &str| match name {
            "timer" => Some(Device::Timer),
            "watchdog" => Some(Device::Watchdog),
            "serial" => Some(Device::Serial),
            "memory" => Some(Device::Memory),
            _ => None,
        };
        let names = || "timer, watchdog, serial, memory".into();
        return nobody(Place::Device(words(&key("device"), device, "device", known, names)?));
    }
    Ok(Place::Process(whose()?))
}
