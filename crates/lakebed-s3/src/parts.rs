//! The part table of an object that was uploaded in parts: kept with its entry under [`PARTS`], read for
//! `partNumber=` and `GetObjectAttributes` (`s3-gateway` §8.4, §8.10).
//!
//! As text: the sizes in order, runs of equal ones as `size*count`, then - if all parts have one of the same algorithm,
//! and there is room - their checksums: `5242880*9999,17;crc32=<base64 of all digests, one after the other>`.
//! An entry has little room, so a table that would be long loses its checksums first and is left out last.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The header of an entry that holds the table. Never sent.
pub(crate) const PARTS: &str = "x-lakebed-parts";

/// The longest table kept: an entry takes 48 KiB with everything in it.
const MAX_TABLE: usize = 24 << 10;

/// The most parts an object has.
const MOST_PARTS: usize = 10_000;

/// What checksum headers begin with; the algorithm's name in lower case follows.
const CHECKSUM: &str = "x-amz-checksum-";

/// The parts of an object, in order. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartTable {
    /// Runs of equal sizes.
    runs: Vec<(u64, usize)>,
    checksums: Option<Checksums>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Checksums {
    /// `crc32`, `sha256`, ...
    algorithm: String,
    /// Of every part, one after the other; all have the same length.
    digests: Vec<u8>,
}

/// One part of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Counted from 1 without gaps, whatever numbers the upload used.
    pub number: usize,
    /// Its first byte in the object.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// Header name (`x-amz-checksum-crc32`) and base64 value.
    pub checksum: Option<(String, String)>,
}

impl PartTable {
    /// The table of parts with these sizes and checksums (by header name, as the upload keeps them).
    pub(crate) fn of<'a>(
        parts: impl Iterator<Item = (u64, &'a BTreeMap<String, String>)> + Clone,
    ) -> Option<Self> {
        let mut runs: Vec<(u64, usize)> = Vec::new();
        for (size, _) in parts.clone() {
            match runs.last_mut() {
                Some((known, count)) if *known == size => *count += 1,
                _ => runs.push((size, 1)),
            }
        }
        if runs.is_empty() {
            return None;
        }
        let checksums = Checksums::of(parts.map(|(_, checksums)| checksums));
        Some(Self { runs, checksums })
    }

    /// Reads a kept table; `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (sizes, checksums) = match text.split_once(';') {
            Some((sizes, checksums)) => (sizes, Some(checksums)),
            None => (text, None),
        };
        let mut runs = Vec::new();
        let (mut all, mut bytes) = (0usize, 0u64);
        for run in sizes.split(',') {
            let (size, count) = run.split_once('*').unwrap_or((run, "1"));
            let (size, count): (u64, usize) = (size.parse().ok()?, count.parse().ok()?);
            all = all.checked_add(count)?;
            bytes = bytes.checked_add(size.checked_mul(count as u64)?)?;
            if count == 0 || all > MOST_PARTS {
                return None;
            }
            runs.push((size, count));
        }
        let checksums = match checksums {
            Some(checksums) => {
                let (algorithm, digests) = checksums.split_once('=')?;
                let digests = STANDARD.decode(digests).ok()?;
                if digests.is_empty() || digests.len() % all != 0 {
                    return None;
                }
                Some(Checksums { algorithm: algorithm.to_owned(), digests })
            }
            None => None,
        };
        Some(Self { runs, checksums })
    }

    /// The text to keep; `None` if even the sizes alone take too much room.
    pub(crate) fn format(&self) -> Option<String> {
        let run = |(size, count): &(u64, usize)| match count {
            1 => size.to_string(),
            count => format!("{size}*{count}"),
        };
        let sizes = self.runs.iter().map(run).collect::<Vec<_>>().join(",");
        if let Some(Checksums { algorithm, digests }) = &self.checksums {
            let whole = format!("{sizes};{algorithm}={}", STANDARD.encode(digests));
            if whole.len() <= MAX_TABLE {
                return Some(whole);
            }
        }
        (sizes.len() <= MAX_TABLE).then_some(sizes)
    }

    /// How many parts there are.
    pub(crate) fn count(&self) -> usize {
        self.runs.iter().map(|(_, count)| count).sum()
    }

    /// The part of this number, counted from 1.
    pub(crate) fn part(&self, number: usize) -> Option<Part> {
        let mut before = number.checked_sub(1)?;
        let mut start = 0;
        for &(size, count) in &self.runs {
            if before < count {
                start += size * before as u64;
                let checksum = self.checksums.as_ref().and_then(|all| all.of_part(number, self.count()));
                return Some(Part { number, start, size, checksum });
            }
            before -= count;
            start += size * count as u64;
        }
        None
    }
}

impl Checksums {
    fn of<'a>(parts: impl Iterator<Item = &'a BTreeMap<String, String>> + Clone) -> Option<Self> {
        let value = |part: &'a BTreeMap<String, String>| {
            part.iter().find_map(|(name, value)| match name.strip_prefix(CHECKSUM) {
                Some("type") | None => None,
                Some(algorithm) => Some((algorithm, value.as_str())),
            })
        };
        let (algorithm, _) = value(parts.clone().next()?)?;
        let mut digests = Vec::new();
        let mut length = None;
        for part in parts {
            let digest = match value(part)? {
                (same, digest) if same == algorithm => STANDARD.decode(digest).ok()?,
                _ => return None,
            };
            if digest.is_empty() || *length.get_or_insert(digest.len()) != digest.len() {
                return None;
            }
            digests.extend(digest);
        }
        Some(Self { algorithm: algorithm.to_owned(), digests })
    }

    fn of_part(&self, number: usize, count: usize) -> Option<(String, String)> {
        let length = self.digests.len() / count;
        let digest = self.digests.get((number - 1) * length..number * length)?;
        Some((format!("{CHECKSUM}{}", self.algorithm), STANDARD.encode(digest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(sizes: &[u64], digests: Option<usize>) -> PartTable {
        let checksums: Vec<BTreeMap<String, String>> = (0..sizes.len())
            .map(|n| match digests {
                Some(length) => BTreeMap::from([
                    ("x-amz-checksum-crc32".to_owned(), STANDARD.encode(vec![n as u8; length])),
                    ("x-amz-checksum-type".to_owned(), "COMPOSITE".to_owned()),
                ]),
                None => BTreeMap::new(),
            })
            .collect();
        PartTable::of(sizes.iter().copied().zip(&checksums)).unwrap()
    }

    #[test]
    fn equal_sizes_are_written_once() {
        let mut sizes = vec![5 << 20; 9999];
        sizes.push(17);
        let table = table(&sizes, None);
        assert_eq!(table.format().unwrap(), "5242880*9999,17");
        assert_eq!(table.count(), 10_000);
        let last = table.part(10_000).unwrap();
        assert_eq!((last.start, last.size), (9999 * (5 << 20), 17));
        assert_eq!(table.part(10_001), None);
        assert_eq!(table.part(0), None);
    }

    #[test]
    fn parts_have_their_own_checksums() {
        let read = PartTable::parse(&table(&[3, 3, 1], Some(4)).format().unwrap()).unwrap();
        let of = |number| read.part(number).unwrap().checksum.unwrap();
        assert_eq!(of(1), ("x-amz-checksum-crc32".to_owned(), STANDARD.encode([0; 4])));
        assert_eq!(of(3), ("x-amz-checksum-crc32".to_owned(), STANDARD.encode([2; 4])));
    }

    #[test]
    fn a_long_table_loses_its_checksums_first_and_its_sizes_last() {
        let same = vec![5 << 20; 10_000];
        assert_eq!(table(&same, Some(32)).format().unwrap(), "5242880*10000");
        let different: Vec<u64> = (0..10_000).map(|n| (5 << 20) + n).collect();
        assert_eq!(table(&different, None).format(), None);
    }

    #[test]
    fn checksums_of_different_algorithms_are_left_out() {
        let parts = ["crc32", "sha1"]
            .map(|name| BTreeMap::from([(format!("x-amz-checksum-{name}"), STANDARD.encode([0; 4]))]));
        let table = PartTable::of(parts.iter().map(|checksums| (1, checksums))).unwrap();
        assert_eq!(table.format().unwrap(), "1*2");
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for bad in [
            "",
            "x",
            "1*0",
            "1*10001",
            "-1",
            "1,,2",
            "1*2;crc32=AAAA",
            "1;crc32",
            "1;=",
            "1;a=*",
            "18446744073709551615,1",
            "18446744073709551615*2",
        ] {
            assert_eq!(PartTable::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn tables_round_trip(
            runs in proptest::collection::vec((0u64..1 << 40, 1usize..4), 1..20),
            digests in proptest::option::of(1usize..33),
        ) {
            let sizes: Vec<u64> = runs.iter().flat_map(|&(size, count)| vec![size; count]).collect();
            let table = table(&sizes, digests);
            prop_assert_eq!(PartTable::parse(&table.format().unwrap()), Some(table.clone()));
            let mut start = 0;
            for (at, size) in sizes.iter().enumerate() {
                let part = table.part(at + 1).unwrap();
                prop_assert_eq!((part.number, part.start, part.size), (at + 1, start, *size));
                start += size;
            }
            prop_assert_eq!(table.part(sizes.len() + 1), None);
        }

        #[test]
        fn hostile_text_never_panics(text in "[0-9*,;=a-z]{0,40}") {
            if let Some(table) = PartTable::parse(&text) {
                for number in 0..5 {
                    let _ = table.part(number);
                }
            }
        }
    }
}
