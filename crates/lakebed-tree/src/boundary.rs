//! Where a node ends: content-defined, so that an edit re-chunks only its neighbourhood and the same entries always
//! give the same nodes (`formats.md`, Boundaries).
//!
//! The rule sees only the entries of the open node up to the one just added, and closes *after* an entry. So its state
//! is empty behind every cut, and two runs that once cut behind the same entry agree on all that follows.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The constants of the rule. [`Rule::FORMAT`] is part of the format; others serve tests that want small nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// No node closes below this sum, except at the end of its level.
    pub(crate) minimum: u64,
    /// From here on cuts become eight times as likely.
    pub(crate) target: u64,
    /// Every node closes here.
    pub(crate) maximum: u64,
    /// The mean distance of cuts that the hash asks for.
    pub(crate) spacing: u64,
}

impl Rule {
    /// The rule of format 1.
    pub(crate) const FORMAT: Self =
        Self { minimum: 64 << 10, target: 128 << 10, maximum: 512 << 10, spacing: 64 << 10 };

    /// A rule with small nodes, for tests.
    #[cfg(test)]
    pub(crate) const SMALL: Self = Self { minimum: 150, target: 250, maximum: 400, spacing: 150 };
}

/// What an entry counts in the open node's sum: uncompressed lengths, so that the encoding may change without moving a
/// boundary.
pub(crate) fn weight(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len() + 8) as u64
}

impl Rule {
    /// Whether the open node closes behind the entry with this key and weight, which brought its sum to `sum` and its
    /// count to `count`. Integers only: a float's last bit differs between machines.
    pub(crate) fn closes(&self, level: u8, key: &[u8], weight: u64, sum: u64, count: u32) -> bool {
        if count < 2 || sum < self.minimum {
            return false;
        }
        if sum >= self.maximum {
            return true;
        }
        // hash / 2^64 < w * weight / spacing, with w = 1/2 below the target and 4 above; both sides times 2.
        let hash = u128::from(xxh3_64_with_seed(key, u64::from(level)));
        let twice_w = if sum < self.target { 1 } else { 8 };
        hash * u128::from(self.spacing) * 2 < (twice_w * u128::from(weight)) << 64
    }
}
