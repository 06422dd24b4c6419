//! Typed identifiers. A `String` or a bare byte array never stands for one of these.

use std::{fmt, str::FromStr};

use crate::{Entropy, Timestamp};

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} '{text}' is not {expected}")]
pub struct IdParseError {
    /// What was expected to be named.
    pub kind: &'static str,
    /// The text given.
    pub text: String,
    /// The form it should have.
    pub expected: &'static str,
}

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// From the 32 bytes of the digest.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self { Self(bytes) }
            /// The 32 bytes of the digest.
            pub const fn as_bytes(&self) -> &[u8; 32] { &self.0 }
            /// 64 lower-case hex digits.
            pub fn to_hex(self) -> String { hex::encode(self.0) }
            /// The BLAKE3 digest of `content`.
            pub fn digest(content: &[u8]) -> Self { Self(*blake3::hash(content).as_bytes()) }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.to_hex()) }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}({})", stringify!($name), self.to_hex()) }
        }

        impl FromStr for $name {
            type Err = IdParseError;
            fn from_str(text: &str) -> Result<Self, IdParseError> {
                let mut bytes = [0; 32];
                let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
                if lower && hex::decode_to_slice(text, &mut bytes).is_ok() { return Ok(Self(bytes)); }
                Err(IdParseError { kind: $kind, text: text.chars().take(80).collect(), expected: "64 lower-case hex digits" })
            }
        }
    };
}

hash_id!(
    /// The id of a commit: the digest of its canonical encoding.
    CommitId, "commit id"
);
hash_id!(
    /// The id of a tree node, and of the tree under it: the digest of its canonical encoding.
    NodeId, "tree id"
);

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// A fresh random id.
            pub fn random(entropy: &dyn Entropy) -> Self {
                let mut bytes = [0; 16];
                entropy.fill(&mut bytes);
                Self(bytes)
            }
            /// From its 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self { Self(bytes) }
            /// From a slice of 16 bytes, as stored.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> { bytes.try_into().ok().map(Self) }
            /// Its 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] { &self.0 }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&hex::encode(self.0)) }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}({})", stringify!($name), hex::encode(self.0)) }
        }

        impl FromStr for $name {
            type Err = IdParseError;
            fn from_str(text: &str) -> Result<Self, IdParseError> {
                let mut bytes = [0; 16];
                hex::decode_to_slice(text, &mut bytes).map(|()| Self(bytes)).map_err(|_| IdParseError {
                    kind: $kind, text: text.chars().take(80).collect(), expected: "32 hex digits" })
            }
        }
    };
}

random_id!(
    /// One life of a repository, branch or gate: a name taken again gets a new incarnation, so nothing written
    /// for the old one can reach the new.
    Incarnation, "incarnation"
);
random_id!(
    /// The id of a staging layer.
    LayerId, "layer id"
);

/// A 20-character name (`0-9a-v`) as used in physical addresses and for tasks and pull requests: 4 bytes of time,
/// 8 of randomness, so that text order is time order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName([u8; 12]);

const BASE32HEX: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

impl ObjectName {
    /// A fresh name whose text grows with time.
    pub fn ascending(now: Timestamp, entropy: &dyn Entropy) -> Self {
        Self::with_prefix(now.secs() as u32, entropy)
    }

    /// A fresh name whose text shrinks with time, so that newer ones sort first.
    pub fn descending(now: Timestamp, entropy: &dyn Entropy) -> Self {
        Self::with_prefix(!(now.secs() as u32), entropy)
    }

    /// As [`ObjectName::descending`], where of the names of one second a greater `nth` sorts later.
    pub fn descending_nth(now: Timestamp, nth: u32, entropy: &dyn Entropy) -> Self {
        let Self(mut bytes) = Self::descending(now, entropy);
        bytes[4..8].copy_from_slice(&nth.to_be_bytes());
        Self(bytes)
    }

    fn with_prefix(prefix: u32, entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 12];
        entropy.fill(&mut bytes[4..]);
        bytes[..4].copy_from_slice(&prefix.to_be_bytes());
        Self(bytes)
    }

    /// The creation time in seconds carried by a name from [`ObjectName::ascending`].
    pub fn ascending_secs(&self) -> i64 {
        i64::from(u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]))
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 20];
        let mut bits = 0u32;
        let mut held = 0u32;
        let mut at = 0;
        for byte in self.0 {
            bits = (bits << 8) | u32::from(byte);
            held += 8;
            while held >= 5 {
                held -= 5;
                text[at] = BASE32HEX[((bits >> held) & 31) as usize];
                at += 1;
            }
        }
        text[at] = BASE32HEX[((bits << (5 - held)) & 31) as usize];
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectName({self})")
    }
}

impl FromStr for ObjectName {
    type Err = IdParseError;

    fn from_str(text: &str) -> Result<Self, IdParseError> {
        let wrong = || IdParseError {
            kind: "id",
            text: text.chars().take(80).collect(),
            expected: "20 characters 0-9a-v, the last one 0 or g",
        };
        if text.len() != 20 {
            return Err(wrong());
        }
        let mut bytes = [0u8; 12];
        let (mut bits, mut held, mut at) = (0u32, 0u32, 0);
        for c in text.bytes() {
            let value = BASE32HEX.iter().position(|b| *b == c).ok_or_else(wrong)? as u32;
            bits = (bits << 5) | value;
            held += 5;
            if held >= 8 && at < 12 {
                held -= 8;
                bytes[at] = (bits >> held) as u8;
                at += 1;
            }
        }
        if bits & ((1 << held) - 1) != 0 { Err(wrong()) } else { Ok(Self(bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededEntropy;

    #[test]
    fn object_names_round_trip_and_sort_by_time() {
        let entropy = SeededEntropy::new(1);
        let early = ObjectName::ascending(Timestamp::from_secs(1_700_000_000), &entropy);
        let late = ObjectName::ascending(Timestamp::from_secs(1_700_000_001), &entropy);
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse::<ObjectName>(), Ok(early));
        assert_eq!(late.ascending_secs(), 1_700_000_001);
        assert!("000000000000000000001".parse::<ObjectName>().is_err());
        assert!("00000000000000000001".parse::<ObjectName>().is_err());
    }

    #[test]
    fn later_seconds_sort_first_and_within_a_second_the_lower_number() {
        let entropy = SeededEntropy::new(1);
        let name = |secs, nth| ObjectName::descending_nth(Timestamp::from_secs(secs), nth, &entropy);
        let names = [name(1_700_000_001, 0), name(1_700_000_001, 256), name(1_700_000_000, 0)];
        assert!(names.is_sorted());
        assert!(names.map(|name| name.to_string()).is_sorted());
    }

    #[test]
    fn commit_ids_are_lower_case_hex() {
        let id = CommitId::digest(b"x");
        assert_eq!(id.to_hex().parse::<CommitId>(), Ok(id));
        assert!(id.to_hex().to_uppercase().parse::<CommitId>().is_err());
    }
}
