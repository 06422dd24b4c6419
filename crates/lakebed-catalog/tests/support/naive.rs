//! History as maps, and what a merge of it gives: slow, short and obviously right.
#![allow(dead_code, unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};

use lakebed_catalog::MergeStrategy;

/// Paths and their content.
pub type Contents = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NaiveCommit {
    pub contents: Contents,
    pub parents: Vec<usize>,
}

/// Commits by number; 0 is the root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Commits(BTreeMap<usize, NaiveCommit>);

impl Commits {
    pub fn new() -> Self {
        Self(BTreeMap::from([(0, NaiveCommit { contents: Contents::new(), parents: vec![] })]))
    }

    pub fn insert(&mut self, number: usize, contents: Contents, parents: Vec<usize>) {
        self.0.insert(number, NaiveCommit { contents, parents });
    }

    /// Adds one with the next number.
    pub fn push(&mut self, contents: Contents, parents: Vec<usize>) -> usize {
        let number = self.0.len();
        self.insert(number, contents, parents);
        number
    }

    pub fn contents(&self, number: usize) -> &Contents {
        &self.0[&number].contents
    }

    fn ancestors(&self, of: usize) -> BTreeSet<usize> {
        let mut all = BTreeSet::from([of]);
        let mut queue = vec![of];
        while let Some(commit) = queue.pop() {
            for parent in &self.0[&commit].parents {
                if all.insert(*parent) {
                    queue.push(*parent);
                }
            }
        }
        all
    }

    /// The best common ancestors: common ones that are no ancestor of another common one.
    fn bases(&self, left: usize, right: usize) -> Vec<usize> {
        let common: Vec<usize> = self.ancestors(left).intersection(&self.ancestors(right)).copied().collect();
        let best = |c: &usize| !common.iter().any(|other| other != c && self.ancestors(*other).contains(c));
        common.iter().copied().filter(best).collect()
    }

    /// What merging `source` into `destination` may give. Of several best ancestors any may be chosen.
    pub fn merges(&self, source: usize, destination: usize, strategy: MergeStrategy) -> Vec<Merged> {
        let outcome = |base: usize| {
            let (base_contents, source_contents) = (self.contents(base), self.contents(source));
            if base == source || base_contents == source_contents {
                return Merged::NoChanges;
            }
            let destination = self.contents(destination);
            three_way(base_contents, source_contents, destination, strategy)
                .map_or(Merged::Conflict, Merged::Contents)
        };
        self.bases(source, destination).into_iter().map(outcome).collect()
    }
}

/// What a merge gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    NoChanges,
    Conflict,
    Contents(Contents),
}

fn three_way(
    base: &Contents,
    source: &Contents,
    dest: &Contents,
    strategy: MergeStrategy,
) -> Option<Contents> {
    let mut merged = Contents::new();
    let paths: BTreeSet<&String> = base.keys().chain(source.keys()).chain(dest.keys()).collect();
    for path in paths {
        let (b, s, d) = (base.get(path), source.get(path), dest.get(path));
        let result = if s == d || s == b {
            d
        } else if d == b {
            s
        } else {
            match strategy {
                MergeStrategy::None => return None,
                MergeStrategy::SourceWins => s,
                MergeStrategy::DestinationWins => d,
            }
        };
        if let Some(content) = result {
            merged.insert(path.clone(), content.clone());
        }
    }
    Some(merged)
}
