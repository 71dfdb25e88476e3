//! One, or an array of them: what a call takes, and answers with in the same form.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::object::Object;

/// The most in an array.
const MOST: usize = 1_000;

/// Objects, and how they were given.
pub(super) enum OneOrSeveral<T> {
    One(T),
    Several(Vec<T>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrSeveral<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By hand: serde's own way would first read it all into values, and lose how it was written.
        deserializer.deserialize_any(Either(PhantomData))
    }
}

struct Either<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
    type Value = OneOrSeveral<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object, or an array of 1 to {MOST} of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(OneOrSeveral::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut several = Vec::new();
        while several.len() < MOST {
            match items.next_element::<Object<T>>()? {
                Some(Object(item)) => several.push(item),
                None if several.is_empty() => return Err(A::Error::invalid_length(0, &self)),
                None => return Ok(OneOrSeveral::Several(several)),
            }
        }
        // What is one too many is not even read.
        match items.next_element::<TooMany>()? {
            None => Ok(OneOrSeveral::Several(several)),
            Some(TooMany) => Err(A::Error::invalid_length(MOST + 1, &self)),
        }
    }
}

/// Something behind the last.
struct TooMany;

impl<'de> Deserialize<'de> for TooMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl<T: Serialize> Serialize for OneOrSeveral<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(one) => one.serialize(serializer),
            Self::Several(several) => several.serialize(serializer),
        }
    }
}

impl<T: JsonSchema> JsonSchema for OneOrSeveral<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrSeveral{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({
            "anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": MOST}],
        })
    }
}
