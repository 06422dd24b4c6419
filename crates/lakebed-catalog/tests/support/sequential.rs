//! The sequential model of the catalog, and the search for an order in which it explains what clients saw.
//!
//! Each operation takes effect at one instant between its call and its answer, with two exceptions that the contract
//! allows (`versioning-api` §17): a commit or merge takes what is staged at one instant and moves the head at a later
//! one, when nothing else has moved it or reset the branch since; and a source ref is resolved at an instant before the
//! destination is looked at. An operation without an answer (a crash, or one that cannot tell) may have taken effect
//! until it ended, or not.
#![allow(dead_code, unreachable_pub)]

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, Hash, RandomState};

use lakebed_catalog::MergeStrategy;

use super::naive::{Commits, Contents, Merged};

/// What a put asks of the path.
#[derive(Clone, Debug)]
pub enum Expected {
    Anything,
    Absent,
    Is(String),
}

#[derive(Clone, Debug)]
pub enum Op {
    Put {
        on: &'static str,
        at: &'static str,
        content: String,
        expected: Expected,
    },
    Delete {
        on: &'static str,
        at: &'static str,
    },
    Get {
        on: &'static str,
        at: &'static str,
    },
    /// The whole committed state.
    Head {
        on: &'static str,
    },
    Commit {
        on: &'static str,
    },
    Merge {
        source: &'static str,
        into: &'static str,
        strategy: MergeStrategy,
    },
    Reset {
        on: &'static str,
    },
    Create {
        name: &'static str,
        source: &'static str,
    },
    Drop {
        name: &'static str,
    },
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Done,
    Value(Option<String>),
    Contents(Contents),
    NotFound,
    Exists,
    PreconditionFailed,
    NoChanges,
    Conflict,
    Dirty,
}

/// An operation with the instants of its call and its end.
#[derive(Clone, Debug)]
pub struct Record {
    pub op: Op,
    pub called: u64,
    pub ended: u64,
    /// `None`: it is not known whether it happened.
    pub seen: Option<Seen>,
}

type Staged = BTreeMap<String, (usize, Option<String>)>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Branch {
    /// Which operation made it.
    life: usize,
    head: usize,
    /// The last reset.
    reset: usize,
    /// Changes, each with the operation that made it.
    staged: Staged,
}

/// What an operation in the middle remembers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Halfway {
    Source(usize),
    Cut { source: Option<usize>, branch: Branch },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    branches: BTreeMap<&'static str, Branch>,
    commits: Commits,
    halfway: BTreeMap<usize, Halfway>,
    done: Vec<bool>,
}

impl State {
    fn working(&self, branch: &Branch) -> Contents {
        let mut contents = self.commits.contents(branch.head).clone();
        for (path, (_, change)) in &branch.staged {
            match change {
                Some(content) => drop(contents.insert(path.clone(), content.clone())),
                None => drop(contents.remove(path)),
            }
        }
        contents
    }

    /// Moves a head from where it was when it was cut, keeping what was staged since.
    fn publish(
        &mut self,
        number: usize,
        on: &'static str,
        cut: &Branch,
        contents: Contents,
        parents: Vec<usize>,
    ) -> bool {
        let Some(branch) = self.branches.get_mut(on) else { return false };
        if (branch.life, branch.head, branch.reset) != (cut.life, cut.head, cut.reset) {
            return false;
        }
        branch.head = number;
        branch.staged.retain(|path, change| cut.staged.get(path) != Some(change));
        self.commits.insert(number, contents, parents);
        true
    }

    /// Every state that the next step of an operation may lead to; numbers of operations begin with 1.
    fn step(&self, number: usize, record: &Record) -> Vec<State> {
        let fits = |seen: Seen| record.seen.as_ref().is_none_or(|told| *told == seen);
        let mut next = self.clone();
        let halfway = next.halfway.remove(&number);
        let finished = |mut state: State| {
            state.done[number - 1] = true;
            vec![state]
        };
        let only_if = |fits: bool, state: State| if fits { finished(state) } else { Vec::new() };
        let pause = |mut state: State, at: Halfway| {
            state.halfway.insert(number, at);
            vec![state]
        };
        match &record.op {
            Op::Put { on, at, content, expected } => {
                let Some(branch) = self.branches.get(on) else { return only_if(fits(Seen::NotFound), next) };
                let working = self.working(branch);
                let holds = match expected {
                    Expected::Anything => true,
                    Expected::Absent => !working.contains_key(*at),
                    Expected::Is(content) => working.get(*at) == Some(content),
                };
                if !holds {
                    return only_if(fits(Seen::PreconditionFailed), next);
                }
                let change = (number, Some(content.clone()));
                next.branches.get_mut(on).unwrap().staged.insert((*at).to_owned(), change);
                only_if(fits(Seen::Done), next)
            }
            Op::Delete { on, at } => match next.branches.get_mut(on) {
                None => only_if(fits(Seen::NotFound), next),
                Some(branch) => {
                    branch.staged.insert((*at).to_owned(), (number, None));
                    only_if(fits(Seen::Done), next)
                }
            },
            Op::Get { on, at } => match self.branches.get(on) {
                None => only_if(fits(Seen::NotFound), next),
                Some(branch) => only_if(fits(Seen::Value(self.working(branch).get(*at).cloned())), next),
            },
            Op::Head { on } => match self.branches.get(on) {
                None => only_if(fits(Seen::NotFound), next),
                Some(branch) => {
                    only_if(fits(Seen::Contents(self.commits.contents(branch.head).clone())), next)
                }
            },
            Op::Reset { on } => match next.branches.get_mut(on) {
                None => only_if(fits(Seen::NotFound), next),
                Some(branch) => {
                    branch.staged.clear();
                    branch.reset = number;
                    only_if(fits(Seen::Done), next)
                }
            },
            Op::Drop { name } => match next.branches.remove(name) {
                None => only_if(fits(Seen::NotFound), next),
                Some(_) => only_if(fits(Seen::Done), next),
            },
            Op::Create { name, source } => match halfway {
                None => match self.branches.get(source) {
                    None => only_if(fits(Seen::NotFound), next),
                    Some(source) => pause(next, Halfway::Source(source.head)),
                },
                Some(Halfway::Source(head)) if !self.branches.contains_key(name) => {
                    let branch = Branch { life: number, head, reset: 0, staged: Staged::new() };
                    next.branches.insert(name, branch);
                    only_if(fits(Seen::Done), next)
                }
                Some(_) => only_if(fits(Seen::Exists), next),
            },
            Op::Commit { on } => {
                let Some(Halfway::Cut { branch: cut, .. }) = halfway else {
                    let Some(branch) = self.branches.get(on) else {
                        return only_if(fits(Seen::NotFound), next);
                    };
                    if self.working(branch) == *self.commits.contents(branch.head) {
                        return only_if(fits(Seen::NoChanges), next);
                    }
                    return pause(next, Halfway::Cut { source: None, branch: branch.clone() });
                };
                let contents = self.working(&cut);
                let told = fits(Seen::Contents(contents.clone()));
                let moved = next.publish(number, on, &cut, contents, vec![cut.head]);
                // The branch may be gone by then.
                if !moved && !self.branches.contains_key(on) {
                    return only_if(fits(Seen::NotFound), next);
                }
                only_if(told && moved, next)
            }
            Op::Merge { source, into, strategy } => match halfway {
                None => match (self.branches.get(source), self.branches.get(into)) {
                    (Some(source), Some(_)) => pause(next, Halfway::Source(source.head)),
                    _ => only_if(fits(Seen::NotFound), next),
                },
                Some(Halfway::Source(head)) => {
                    let Some(branch) = self.branches.get(into) else {
                        return only_if(fits(Seen::NotFound), next);
                    };
                    if self.working(branch) != *self.commits.contents(branch.head) {
                        return only_if(fits(Seen::Dirty), next);
                    }
                    let outcomes = self.commits.merges(head, branch.head, *strategy);
                    let refused = outcomes.contains(&Merged::NoChanges) && fits(Seen::NoChanges)
                        || outcomes.contains(&Merged::Conflict) && fits(Seen::Conflict);
                    let mut all = only_if(refused, next.clone());
                    all.extend(pause(next, Halfway::Cut { source: Some(head), branch: branch.clone() }));
                    all
                }
                Some(Halfway::Cut { source, branch: cut }) => {
                    let Some(source) = source else { return Vec::new() };
                    let mut all = Vec::new();
                    for outcome in self.commits.merges(source, cut.head, *strategy) {
                        let Merged::Contents(contents) = outcome else { continue };
                        let told = fits(Seen::Contents(contents.clone()));
                        let mut next = next.clone();
                        if told && next.publish(number, into, &cut, contents, vec![cut.head, source]) {
                            all.extend(finished(next));
                        }
                    }
                    if !self.branches.contains_key(into) {
                        all.extend(only_if(fits(Seen::NotFound), next));
                    }
                    all
                }
            },
        }
    }
}

/// Whether the model explains the records in some order that respects time, from a lake of these fresh branches on.
pub fn explains(branches: &[&'static str], records: &[Record]) -> bool {
    let fresh = |name: &&'static str| (*name, Branch { life: 0, head: 0, reset: 0, staged: Staged::new() });
    let first = State {
        branches: branches.iter().map(fresh).collect(),
        commits: Commits::new(),
        halfway: BTreeMap::new(),
        done: vec![false; records.len()],
    };
    let hasher = RandomState::new();
    let mut known = HashSet::new();
    let mut open = vec![first];
    while let Some(state) = open.pop() {
        let left = |at: usize| !state.done[at];
        if (0..records.len()).all(|at| !left(at) || records[at].seen.is_none()) {
            return true;
        }
        // Nothing is done that was called after one ended that is still to be done.
        let waits_for = (0..records.len())
            .filter(|at| left(*at) && records[*at].seen.is_some())
            .map(|at| records[at].ended)
            .min()
            .unwrap_or(u64::MAX);
        // Later ones first, so that what was called first is tried first.
        for at in (0..records.len()).rev().filter(|at| left(*at) && records[*at].called < waits_for) {
            for mut next in state.step(at + 1, &records[at]) {
                // What has no answer and ended before this was called does not happen any more.
                for other in 0..records.len() {
                    if !next.done[other] && records[other].ended < records[at].called {
                        next.done[other] = true;
                        next.halfway.remove(&(other + 1));
                    }
                }
                if known.insert(hasher.hash_one(&next)) {
                    open.push(next);
                }
            }
        }
    }
    false
}
