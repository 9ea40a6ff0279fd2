//! Values that a scenario may leave open: a value, or what it is drawn from.
//!
//! ```toml
//! tick = 100
//! tick = { uniform = [100, 400] }
//! tick = { one-of = [100, 200, 200] }   # 200 with probability 2/3
//! ```

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::draw::Stream;

/// A value, or what it is drawn from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice<T> {
    /// This one.
    Fixed(T),
    /// One of these, each with the same chance.
    OneOf(Vec<T>),
    /// A number in this range, both ends included, each with the same chance.
    Uniform([T; 2]),
}

impl<T: Scalar> Choice<T> {
    /// The values that say whether all of them are good: all of a list, the ends of a range.
    pub fn ends(&self) -> &[T] {
        match self {
            Self::Fixed(value) => std::slice::from_ref(value),
            Self::OneOf(values) => values,
            Self::Uniform(ends) => ends,
        }
    }

    /// Draws.
    #[must_use]
    pub fn fix(&self, stream: &mut Stream) -> Self {
        let drawn = match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::OneOf(values) => stream.one_of(values).cloned(),
            Self::Uniform(ends) => T::between(ends, stream),
        };
        drawn.map_or_else(|| self.clone(), Self::Fixed)
    }
}

/// What a choice can be of.
pub trait Scalar: Clone + Serialize {
    /// What a user has to write.
    const WANTED: &str;

    /// The value for a number.
    fn number(_: u64) -> Option<Self> {
        None
    }

    /// The value for a word.
    fn word(_: &str) -> Option<Self> {
        None
    }

    /// The number, where ranges make sense.
    fn between(_: &[Self; 2], _: &mut Stream) -> Option<Self> {
        None
    }

    /// Whether these are the ends of a range that is not empty.
    fn is_range(_: &[Self; 2]) -> bool {
        false
    }
}

/// A number. TOML has none above 2^63: such an address is written as a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(pub u64);

impl Scalar for Number {
    const WANTED: &str = "a whole number from 0";

    fn number(number: u64) -> Option<Self> {
        Some(Self(number))
    }

    fn word(word: &str) -> Option<Self> {
        u64::from_str_radix(&word.strip_prefix("0x")?.replace('_', ""), 16).ok().map(Self)
    }

    fn between([from, to]: &[Self; 2], stream: &mut Stream) -> Option<Self> {
        Some(Self(stream.between(from.0, to.0)))
    }

    fn is_range([from, to]: &[Self; 2]) -> bool {
        from.0 <= to.0
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(self.0) {
            Ok(number) => to.serialize_i64(number),
            Err(_) => to.serialize_str(&format!("{:#x}", self.0)),
        }
    }
}

impl Scalar for String {
    const WANTED: &str = "a word";

    fn word(word: &str) -> Option<Self> {
        Some(word.to_owned())
    }
}

/// An address, or any that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// Any that there is, drawn when the fault acts.
    Any,
    /// This one.
    At(u64),
}

impl Scalar for Spot {
    const WANTED: &str = "an address or \"any\"";

    fn number(number: u64) -> Option<Self> {
        Some(Self::At(number))
    }

    fn word(word: &str) -> Option<Self> {
        if word == "any" { Some(Self::Any) } else { Number::word(word).map(|number| Self::At(number.0)) }
    }

    fn between(ends: &[Self; 2], stream: &mut Stream) -> Option<Self> {
        match *ends {
            [Self::At(from), Self::At(to)] => Some(Self::At(stream.between(from, to))),
            _ => None,
        }
    }

    fn is_range(ends: &[Self; 2]) -> bool {
        matches!(ends, [Self::At(from), Self::At(to)] if from <= to)
    }
}

impl Serialize for Spot {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => to.serialize_str("any"),
            Self::At(at) => Number(*at).serialize(to),
        }
    }
}

/// Whom a fault is meant for, as a scenario says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A label, a pid (`3.1`), or `any`.
    Word(String),
    /// A place in the service table.
    Service(u64),
}

impl Scalar for Name {
    const WANTED: &str = "a process: a program's name, a pid as in \"3.1\", a service's number, or \"any\"";

    fn number(number: u64) -> Option<Self> {
        Some(Self::Service(number))
    }

    fn word(word: &str) -> Option<Self> {
        Some(Self::Word(word.to_owned()))
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Word(word) => to.serialize_str(word),
            Self::Service(number) => to.serialize_u64(*number),
        }
    }
}

impl<T: Scalar> Serialize for Choice<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = match self {
            Self::Fixed(value) => return value.serialize(to),
            _ => to.serialize_map(Some(1))?,
        };
        match self {
            Self::Uniform(ends) => map.serialize_entry("uniform", ends.as_slice())?,
            _ => map.serialize_entry("one-of", self.ends())?,
        }
        map.end()
    }
}

impl<'de, T: Scalar> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ChoiceVisitor(PhantomData))
    }
}

struct ChoiceVisitor<T>(PhantomData<T>);

impl<'de, T: Scalar> Visitor<'de> for ChoiceVisitor<T> {
    type Value = Choice<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or what it is drawn from: {{ one-of = [...] }}", T::WANTED)?;
        if T::number(0).is_some() { write!(f, " or {{ uniform = [from, to] }}") } else { Ok(()) }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Choice<T>, E> {
        scalar(Word::Number(number)).map(Choice::Fixed)
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Choice<T>, E> {
        scalar(Word::Text(word.to_owned())).map(Choice::Fixed)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Choice<T>, A::Error> {
        let Some(key) = map.next_key::<String>()? else {
            return Err(A::Error::custom("a distribution is missing: `one-of` or `uniform`"));
        };
        if !["one-of", "uniform"].contains(&key.as_str()) {
            return Err(A::Error::custom(format!("`{key}` is no distribution: `one-of` or `uniform`")));
        }
        let words = map.next_value::<Vec<Word>>()?;
        let values: Vec<T> = words.into_iter().map(scalar).collect::<Result<_, A::Error>>()?;
        if map.next_key::<String>()?.is_some() {
            return Err(A::Error::custom("one distribution is enough"));
        }
        if key == "one-of" {
            return match values.is_empty() {
                true => Err(A::Error::custom("there is nothing to draw from")),
                false => Ok(Choice::OneOf(values)),
            };
        }
        let ends: [T; 2] =
            values.try_into().map_err(|_| A::Error::custom("a range has two ends: uniform = [from, to]"))?;
        if T::is_range(&ends) {
            Ok(Choice::Uniform(ends))
        } else {
            Err(A::Error::custom("no range: two numbers, the first of them not above the second"))
        }
    }
}

/// What stands in a file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Number(i64),
    Text(String),
}

fn scalar<T: Scalar, E: Error>(word: Word) -> Result<T, E> {
    let (value, shown) = match word {
        Word::Number(number) => (u64::try_from(number).ok().and_then(T::number), number.to_string()),
        Word::Text(text) => (T::word(&text), format!("\"{text}\"")),
    };
    value.ok_or_else(|| E::custom(format!("{shown} is not {}", T::WANTED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(bound = "")]
    struct Key<T: Scalar> {
        key: Choice<T>,
    }

    fn number(text: &str) -> Result<Choice<Number>, String> {
        let parsed = toml::from_str::<Key<Number>>(&format!("key = {text}"));
        parsed.map(|key| key.key).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_choice_reads_back_as_itself() {
        for text in [
            "5",
            "{ uniform = [5, 7] }",
            "{ one-of = [1, 2, 2] }",
            "\"0xffff_8000_0000_1000\"",
            "9223372036854775807",
        ] {
            let key = Key { key: number(text).unwrap() };
            let written = toml::to_string(&key).unwrap();
            assert_eq!(toml::from_str::<Key<Number>>(&written).unwrap(), key, "{written}");
        }
        let spot = toml::from_str::<Key<Spot>>("key = { one-of = [\"any\", 4096] }").unwrap();
        assert_eq!(spot.key, Choice::OneOf(vec![Spot::Any, Spot::At(4096)]));
        let name = toml::from_str::<Key<Name>>("key = 3").unwrap();
        assert_eq!(name.key, Choice::Fixed(Name::Service(3)));
    }

    #[test]
    fn what_is_no_distribution_is_told() {
        for (text, part) in [
            ("-1", "-1 is not a whole number"),
            ("\"x\"", "\"x\" is not a whole number"),
            ("{ uniform = [7, 5] }", "not above"),
            ("{ uniform = [7] }", "two ends"),
            ("{ one-of = [] }", "nothing to draw"),
            ("{ normal = [1, 2] }", "`normal`"),
            ("{}", "missing"),
            ("{ one-of = [1], uniform = [1, 2] }", "enough"),
            ("true", "uniform"),
            ("1.5", "whole number"),
        ] {
            let message = number(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
        assert!(toml::from_str::<Key<String>>("key = { uniform = [\"a\", \"b\"] }").is_err());
    }

    #[test]
    fn what_is_drawn_is_among_what_there_is() {
        let mut stream = Stream::live(1);
        for _ in 0..100 {
            let range = Choice::Uniform([Number(3), Number(5)]).fix(&mut stream);
            assert!(matches!(range, Choice::Fixed(Number(3..=5))));
            let list = Choice::OneOf(vec![Number(1), Number(9)]).fix(&mut stream);
            assert!(matches!(list, Choice::Fixed(Number(1 | 9))));
        }
        assert_eq!(Choice::Fixed(Number(2)).fix(&mut stream), Choice::Fixed(Number(2)));
    }
}
