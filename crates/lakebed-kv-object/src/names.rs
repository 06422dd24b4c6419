//! The names of the engine's objects.

use lakebed_blocks::BlockAddress;
use lakebed_core::Entropy;

/// A place in the log. Ordered as the log is; so are the names, byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position {
    /// Whose reign; 0 belongs to nobody and holds but the seal that begins the first.
    pub(crate) epoch: u64,
    /// Counted through all epochs, without gaps.
    pub(crate) sequence: u64,
}

impl Position {
    /// The first of all.
    pub(crate) const FIRST: Self = Self { epoch: 0, sequence: 0 };
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}/{:016x}", self.epoch, self.sequence)
    }
}

/// Which kind of object, as a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Log,
    Pieces,
    Manifests,
    Probes,
}

impl Kind {
    const fn directory(self) -> &'static str {
        match self {
            Self::Log => "log/",
            Self::Pieces => "pieces/",
            Self::Manifests => "manifests/",
            Self::Probes => "probes/",
        }
    }
}

/// The prefix everything lies under.
#[derive(Clone, Debug)]
pub(crate) struct Place(String);

impl Place {
    pub(crate) fn new(prefix: &BlockAddress) -> Self {
        Self(format!("{}/", prefix.as_str().trim_end_matches('/')))
    }

    /// All objects of a kind.
    pub(crate) fn all(&self, kind: Kind) -> BlockAddress {
        BlockAddress::new(format!("{}{}", self.0, kind.directory()))
    }

    pub(crate) fn object(&self, kind: Kind, name: &str) -> BlockAddress {
        BlockAddress::new(format!("{}{}{name}", self.0, kind.directory()))
    }

    pub(crate) fn segment(&self, position: Position) -> BlockAddress {
        self.object(Kind::Log, &position.to_string())
    }

    /// The name of an object of this kind.
    pub(crate) fn name<'a>(&self, kind: Kind, address: &'a BlockAddress) -> Option<&'a str> {
        address.as_str().strip_prefix(&self.0)?.strip_prefix(kind.directory())
    }

    /// The position of a segment; `None`: no segment of ours.
    pub(crate) fn position(&self, address: &BlockAddress) -> Option<Position> {
        let (epoch, sequence) = self.name(Kind::Log, address)?.split_once('/')?;
        Some(Position { epoch: number(epoch)?, sequence: number(sequence)? })
    }
}

fn number(text: &str) -> Option<u64> {
    (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok())?
}

/// A name for a piece or manifest of an epoch that no other will ever have.
pub(crate) fn fresh(epoch: u64, entropy: &dyn Entropy) -> String {
    format!("{epoch:016x}-{:016x}{:016x}", entropy.next_u64(), entropy.next_u64())
}

/// The epoch a piece or manifest was made in.
pub(crate) fn epoch_of(name: &str) -> Option<u64> {
    number(name.split_once('-')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_were_made_of_and_sort_like_positions() {
        let place = Place::new(&BlockAddress::new("s3://bucket/meta/"));
        let positions = [(0, 0), (1, 1), (1, 9), (1, 16), (2, 17), (300, 65536)]
            .map(|(epoch, sequence)| Position { epoch, sequence });
        let names = positions.map(|position| place.segment(position));
        assert!(names.is_sorted() && positions.is_sorted());
        assert_eq!(names[0].as_str(), "s3://bucket/meta/log/0000000000000000/0000000000000000");
        for (position, name) in positions.iter().zip(&names) {
            assert_eq!(place.position(name), Some(*position));
        }
        assert_eq!(place.position(&BlockAddress::new("s3://bucket/meta/log/1/2")), None);
        let name = fresh(7, &lakebed_core::SeededEntropy::new(1));
        assert_eq!(epoch_of(&name), Some(7));
        assert_eq!(epoch_of("something else"), None);
        assert_eq!(place.name(Kind::Pieces, &place.object(Kind::Pieces, &name)), Some(&*name));
        assert_eq!(place.name(Kind::Manifests, &place.object(Kind::Pieces, &name)), None);
    }
}
