//! The checksum of a whole out of those of its parts (`s3-gateway` §4).

use super::checksum::{Algorithm, Hasher, encode};

/// A part's digest and size.
pub(crate) struct PartDigest {
    pub digest: Vec<u8>,
    pub size: u64,
}

/// The checksum of the joined parts, for algorithms whose values can be joined; nothing is read again.
pub(crate) fn full_object(algorithm: Algorithm, parts: &[PartDigest]) -> Option<String> {
    let crc = algorithm.crc()?;
    let number = |digest: &[u8]| digest.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let (first, rest) = parts.split_first()?;
    let joined = rest.iter().fold(number(&first.digest), |joined, part| {
        crc_fast::checksum_combine(crc, joined, number(&part.digest), part.size)
    });
    Some(encode(&joined.to_be_bytes()[8 - algorithm.length()..]))
}

/// The checksum of the parts' checksums, with their number.
pub(crate) fn composite(algorithm: Algorithm, parts: &[PartDigest]) -> String {
    let mut hasher = Hasher::new(algorithm);
    for part in parts {
        hasher.update(&part.digest);
    }
    format!("{}-{}", encode(&hasher.finish()), parts.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    proptest! {
        #[test]
        fn joined_parts_have_the_checksum_of_the_whole(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 1..8)
        ) {
            for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
                let digests: Vec<PartDigest> = parts
                    .iter()
                    .map(|part| PartDigest { digest: digest(algorithm, part), size: part.len() as u64 })
                    .collect();
                let whole = encode(&digest(algorithm, &parts.concat()));
                prop_assert_eq!(full_object(algorithm, &digests), Some(whole));
            }
        }
    }

    #[test]
    fn a_composite_names_the_number_of_parts() {
        let part = |text: &str| PartDigest { digest: digest(Algorithm::Sha256, text.as_bytes()), size: 1 };
        let both = [digest(Algorithm::Sha256, b"a"), digest(Algorithm::Sha256, b"b")].concat();
        let expected = format!("{}-2", encode(&digest(Algorithm::Sha256, &both)));
        assert_eq!(composite(Algorithm::Sha256, &[part("a"), part("b")]), expected);
        assert_eq!(full_object(Algorithm::Sha256, &[part("a")]), None);
    }
}
