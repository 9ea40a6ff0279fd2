//! Keys of `what`.

use super::limits::{Checked, MOST};
use super::values::{number, one_of};
use crate::scenario::fault::choice::Number;
use crate::scenario::fault::keys::WhatKeys;
use crate::scenario::fault::model::{Bits, Mistake, What};

const WHAT: &str = "flip, stuck-at, swap, drop, delay, duplicate, kill, pause, nmi, lost, spurious, withhold";

pub(super) fn what(keys: &WhatKeys) -> Checked<What> {
    let given = keys.given();
    let main: Vec<_> = given.iter().filter(|key| !["bit", "ticks"].contains(&key.as_str())).collect();
    if main.len() != 1 {
        return Err(one_of("what", &main, WHAT));
    }
    if keys.ticks.is_some() && keys.stuck_at.is_none() && keys.withhold.is_none() {
        return Err(Mistake::new(
            "what.ticks",
            "this effect does not last",
            "use it with stuck-at or withhold",
        ));
    }
    if keys.bit.is_some() && keys.stuck_at.is_none() && keys.flip.is_none() {
        return Err(Mistake::new("what.bit", "this effect is on no bit", "use it with flip or stuck-at"));
    }
    for (name, flag) in [("what.swap", keys.swap), ("what.kill", keys.kill), ("what.nmi", keys.nmi)] {
        if flag == Some(false) {
            return Err(Mistake::new(
                name,
                "an effect that there is not to be",
                "write true, or another effect",
            ));
        }
    }
    let bit =
        keys.bit.as_ref().map(|bit| number("what.bit", bit, 0, 63).map(|bit| bit as u32)).transpose()?;
    let ticks = keys.ticks.as_ref().map(|ticks| number("what.ticks", ticks, 1, MOST)).transpose()?;
    if let Some(flip) = &keys.flip {
        let bits = number("what.flip", flip, 1, 64)? as u32;
        return match bit {
            None => Ok(What::Flip(Bits::Drawn(bits))),
            Some(bit) if flip.ends() == [Number(1)] => Ok(What::Flip(Bits::This(bit))),
            Some(_) => {
                let what = "one bit is named, and several are to be inverted";
                Err(Mistake::new("what.bit", what, "write flip = 1, or leave bit out"))
            }
        };
    }
    if let Some(value) = &keys.stuck_at {
        return Ok(What::StuckAt { value: number("what.stuck-at", value, 0, 1)? == 1, bit, ticks });
    }
    if let Some(frames) = &keys.withhold {
        return Ok(What::Withhold { frames: number("what.withhold", frames, 1, 1 << 18)?, ticks });
    }
    let counts = [
        ("what.drop", &keys.drop, What::Drop as fn(u64) -> What),
        ("what.delay", &keys.delay, What::Delay),
        ("what.duplicate", &keys.duplicate, What::Duplicate),
        ("what.pause", &keys.pause, What::Pause),
        ("what.lost", &keys.lost, What::Lost),
        ("what.spurious", &keys.spurious, What::Spurious),
    ];
    for (name, count, make) in counts {
        if let Some(count) = count {
            return Ok(make(number(name, count, 1, 1_000_000)?));
        }
    }
    Ok(match (keys.swap, keys.kill) {
        (Some(_), _) => What::Swap,
        (_, Some(_)) => What::Kill,
        _ => What::Nmi,
    })
}
