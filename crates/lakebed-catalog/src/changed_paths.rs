//! Which paths a commit changed, as a filter of a few hundred bytes: whoever asks for the log of a path passes the commits
//! that did not touch it without looking at their trees (`formats.md`, Changes by path).
//!
//! A split-block Bloom filter (blocks of 256 bits, as Parquet has them) over the hashes of the changed paths and of each of
//! their directories: the parts of a path up to a `/`. It may say "maybe" of a path that was not changed, never "no" of
//! one that was. Filters are made from the changes a commit or merge goes through anyway, in memory that does not grow
//! with their number, and they are no part of a commit's id: one may be missing, then the trees are asked.

use async_trait::async_trait;
use bytes::Bytes;
use lakebed_kv::successor;
use lakebed_tree::{Edit, EditSource, TreeError, common_prefix};
use xxhash_rust::xxh3::xxh3_64;

/// Bits for each hash: four of a thousand answers "maybe" are wrong.
const BITS_PER_HASH: usize = 12;

/// The most bytes of a filter's blocks.
const MOST_BYTES: usize = 4 << 10;

/// The most hashes of a filter. Where there are more, only those of directories are kept; where these are too many, there
/// is no filter.
const MOST_HASHES: usize = MOST_BYTES * 8 / BITS_PER_HASH;

/// The bytes of a block: eight words of 32 bits.
const BLOCK: usize = 32;

/// The number of the format, a filter's first byte. Others are not read, as if there were no filter.
const FORMAT: u8 = 1;

/// The second byte: hashes of paths and of directories, or of directories alone.
const WITH_PATHS: u8 = 1;
const DIRECTORIES: u8 = 0;

/// Notes changed paths, in ascending order, and makes the filter.
#[derive(Default)]
pub(crate) struct ChangedPaths {
    /// The path noted last: its directories are noted.
    last: Vec<u8>,
    paths: Vec<u64>,
    directories: Vec<u64>,
    /// The paths were too many: only directories count.
    only_directories: bool,
    /// The directories were too many, too.
    overflown: bool,
}

impl ChangedPaths {
    /// Notes a path that sorts behind those noted before.
    pub(crate) fn note(&mut self, path: &[u8]) {
        if self.overflown {
            return;
        }
        let shared = common_prefix(path, &self.last);
        for (at, byte) in path.iter().enumerate().skip(shared) {
            if *byte == b'/' {
                self.directories.push(xxh3_64(&path[..=at]));
            }
        }
        if !self.only_directories {
            self.paths.push(xxh3_64(path));
            self.only_directories = self.paths.len() + self.directories.len() > MOST_HASHES;
        }
        if self.only_directories {
            self.paths = Vec::new();
        }
        if self.directories.len() > MOST_HASHES {
            self.overflown = true;
            self.directories = Vec::new();
        }
        self.last.truncate(shared);
        self.last.extend_from_slice(&path[shared..]);
    }

    /// The filter; `None` if too much changed for one.
    pub(crate) fn filter(&self) -> Option<Bytes> {
        if self.overflown {
            return None;
        }
        let hashes = self.paths.len() + self.directories.len();
        let blocks = (hashes * BITS_PER_HASH).div_ceil(BLOCK * 8);
        let mut filter = vec![0; 2 + blocks * BLOCK];
        filter[0] = FORMAT;
        filter[1] = if self.only_directories { DIRECTORIES } else { WITH_PATHS };
        for hash in self.paths.iter().chain(&self.directories) {
            let block = block_of(*hash, blocks);
            for (word, bit) in bits_of(*hash).enumerate() {
                filter[2 + block * BLOCK + word * 4 + bit / 8] |= 1 << (bit % 8);
            }
        }
        Some(filter.into())
    }
}

/// The block a hash belongs to.
fn block_of(hash: u64, blocks: usize) -> usize {
    (((hash >> 32) * blocks as u64) >> 32) as usize
}

/// The bit of each word of its block that a hash sets.
fn bits_of(hash: u64) -> impl Iterator<Item = usize> {
    const SALT: [u32; 8] = [
        0x47b6_137b,
        0x4497_4d91,
        0x8824_ad5b,
        0xa2b7_289d,
        0x7054_95c7,
        0x2df1_424b,
        0x9efc_4947,
        0x5c6b_fb31,
    ];
    SALT.into_iter().map(move |salt| ((hash as u32).wrapping_mul(salt) >> 27) as usize)
}

/// The edits of a source, each path noted on its way.
pub(crate) struct Noted<'a, S> {
    pub(crate) source: S,
    pub(crate) changed: &'a mut ChangedPaths,
}

#[async_trait]
impl<S: EditSource> EditSource for Noted<'_, S> {
    async fn next(&mut self) -> Result<Option<Edit>, TreeError> {
        let edit = self.source.next().await?;
        if let Some(edit) = &edit {
            self.changed.note(&edit.key);
        }
        Ok(edit)
    }

    async fn next_some(&mut self, into: &mut Vec<Edit>) -> Result<(), TreeError> {
        let before = into.len();
        self.source.next_some(into).await?;
        for edit in &into[before..] {
            self.changed.note(&edit.key);
        }
        Ok(())
    }
}

/// Paths whose changes are asked for: one, or all that start with a prefix.
pub(crate) struct Wanted {
    /// The first path, inclusive.
    pub(crate) start: Vec<u8>,
    /// The end, exclusive; `None`: no end.
    pub(crate) end: Option<Vec<u8>>,
    /// The path's hash; `None` for a prefix.
    path: Option<u64>,
    /// The hash of the longest directory that all these paths are in, if they are in one.
    directory: Option<u64>,
}

impl Wanted {
    /// One path.
    pub(crate) fn path(path: &str) -> Self {
        let path = path.as_bytes();
        let end = Some([path, &[0]].concat());
        Self { start: path.to_vec(), end, path: Some(xxh3_64(path)), directory: directory_hash(path) }
    }

    /// All paths that start so.
    pub(crate) fn prefix(prefix: &str) -> Self {
        let prefix = prefix.as_bytes();
        Self { start: prefix.to_vec(), end: successor(prefix), path: None, directory: directory_hash(prefix) }
    }

    /// Whether a commit with this filter may have changed one of these paths. A filter that cannot be read says yes.
    pub(crate) fn may_be_in(&self, filter: &[u8]) -> bool {
        let Some((&[FORMAT, kind], blocks)) = filter.split_first_chunk() else { return true };
        let (blocks, rest) = blocks.as_chunks::<BLOCK>();
        if !rest.is_empty() || ![WITH_PATHS, DIRECTORIES].contains(&kind) {
            return true;
        }
        if kind == WITH_PATHS && blocks.is_empty() {
            // Nothing was changed at all.
            return false;
        }
        let probe = if kind == WITH_PATHS { self.path.or(self.directory) } else { self.directory };
        // Outside all directories there is nothing to ask the filter for.
        let Some(hash) = probe else { return true };
        let Some(block) = blocks.get(block_of(hash, blocks.len())) else { return false };
        bits_of(hash).enumerate().all(|(word, bit)| block[word * 4 + bit / 8] & 1 << (bit % 8) != 0)
    }
}

/// The hash of a path up to its last `/`.
fn directory_hash(path: &[u8]) -> Option<u64> {
    path.iter().rposition(|byte| *byte == b'/').map(|at| xxh3_64(&path[..=at]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(paths: &[String]) -> Option<Bytes> {
        let mut sorted: Vec<&String> = paths.iter().collect();
        sorted.sort();
        let mut changed = ChangedPaths::default();
        for path in sorted {
            changed.note(path.as_bytes());
        }
        changed.filter()
    }

    fn numbered(count: usize, directories: usize) -> Vec<String> {
        (0..count).map(|n| format!("tables/day={:05}/part-{n:08}.parquet", n % directories)).collect()
    }

    proptest! {
        #[test]
        fn a_changed_path_is_never_denied(
            paths in proptest::collection::btree_set("[ab/]{1,8}", 0..20),
            many in prop_oneof![Just(0), Just(3000usize)],
            prefix in "[ab/]{0,4}",
        ) {
            let mut paths: Vec<String> = paths.into_iter().collect();
            paths.extend(numbered(many, 7));
            let filter = filter(&paths).unwrap();
            prop_assert!(filter.len() <= 2 + MOST_BYTES + BLOCK);
            for path in &paths {
                prop_assert!(Wanted::path(path).may_be_in(&filter), "{path}");
                for (at, _) in path.char_indices() {
                    prop_assert!(Wanted::prefix(&path[..at]).may_be_in(&filter), "{path} to {at}");
                }
            }
            if paths.iter().any(|path| path.starts_with(&prefix)) {
                prop_assert!(Wanted::prefix(&prefix).may_be_in(&filter));
            }
        }

        #[test]
        fn any_bytes_are_read_as_a_filter(bytes in proptest::collection::vec(0u8..3, 0..80)) {
            let (path, prefix) = (Wanted::path("a/b").may_be_in(&bytes), Wanted::prefix("a").may_be_in(&bytes));
            if bytes.first() != Some(&FORMAT) {
                prop_assert!(path && prefix);
            }
        }
    }

    #[test]
    fn wrong_answers_are_few() {
        for count in [1, 20, 300, 2000] {
            let filter = filter(&numbered(count, 10)).unwrap();
            let others = (0..20_000).map(|n| Wanted::path(&format!("tables/day=00001/other-{n}.parquet")));
            let wrong = others.filter(|other| other.may_be_in(&filter)).count();
            assert!(wrong <= 200, "{wrong} of 20,000 with {count} changes");
        }
    }

    #[test]
    fn a_filter_shrinks_to_directories_and_then_to_nothing() {
        let filter_of = |count, directories| filter(&numbered(count, directories));
        assert_eq!(filter(&[]).unwrap().len(), 2);
        assert_eq!(filter_of(1, 1).unwrap().len(), 2 + BLOCK);
        let small = filter_of(2_000, 20).unwrap();
        assert_eq!(small[1], WITH_PATHS);
        assert!(!Wanted::path("tables/day=00001/none").may_be_in(&small));
        let large = filter_of(100_000, 200).unwrap();
        assert_eq!(large[1], DIRECTORIES);
        assert!(large.len() < 512, "{}", large.len());
        assert!(Wanted::path("tables/day=00001/none").may_be_in(&large), "its directory was changed");
        assert!(!Wanted::path("tables/day=none/none").may_be_in(&large));
        assert!(!Wanted::prefix("tables/day=none/no").may_be_in(&large));
        assert!(Wanted::prefix("tables/day=0").may_be_in(&large));
        assert!(Wanted::path("top").may_be_in(&large), "paths outside directories are not in it");
        assert_eq!(filter_of(100_000, 3_000), None);
    }

    #[test]
    fn without_changes_nothing_may_have_changed() {
        let none = filter(&[]).unwrap();
        assert!(!Wanted::path("a").may_be_in(&none));
        assert!(!Wanted::prefix("").may_be_in(&none));
        let one = filter(&["a".to_owned()]).unwrap();
        assert!(Wanted::prefix("").may_be_in(&one));
        assert!(Wanted::prefix("b").may_be_in(&one), "it is not known of which letters paths are");
        assert!(!Wanted::path("b").may_be_in(&one));
    }
}
