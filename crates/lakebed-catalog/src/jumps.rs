//! Jumping down a chain: the commits from one of a single parent down to the first that has none or several.
//!
//! The publish that makes a commit writes beside it how far to jump from it and where that leads (skew-binary jump
//! pointers, after Myers): of two commits as high above the end of their chain, jumps are equally long, and from any commit
//! each other one of its chain is reached in O(log n) jumps and steps.
//!
//! *Trust.* That the row is there at all says that generations rise up to the commit: it and every ancestor of it exists,
//! and has a greater generation than its parents. It is written only where the rows of all parents say so, beginning with
//! the first commit of a repository, which is our own. Commits that clients made or a restore wrote, those of versions that
//! write no rows, and all descendants of these have none; a walk takes them one by one.

use std::sync::Arc;

use lakebed_core::CommitId;

use crate::catalog::Inner;
use crate::{CatalogError, Commit, Repository, keys, wire};

/// What a commit's row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Jump {
    /// The commit's generation.
    pub(crate) generation: u64,
    /// How many commits lie between it and the end of its chain, itself counted; 0: it is the end.
    pub(crate) height: u64,
    /// A commit further down the chain, and its generation; `None` at the end.
    pub(crate) to: Option<(CommitId, u64)>,
}

/// How long the jump from a commit of this height is: the last digit of the height in skew-binary numbers, whose digits
/// are worth 1, 3, 7, 15...
fn leap(mut height: u64) -> u64 {
    loop {
        let greatest = (1u64 << height.saturating_add(1).ilog2()) - 1;
        if greatest == height {
            return height;
        }
        height -= greatest;
    }
}

impl Jump {
    /// Of the first commit of a repository.
    pub(crate) fn of_first(commit: &Commit) -> Self {
        Self { generation: commit.generation, height: 0, to: None }
    }

    pub(crate) fn to_row(self) -> wire::JumpRow {
        let (to, to_generation) = self.to.map(|(to, at)| (to.as_bytes().to_vec(), at)).unwrap_or_default();
        wire::JumpRow { generation: self.generation, height: self.height, to, to_generation }
    }

    fn from_row(row: &wire::JumpRow) -> Result<Self, CatalogError> {
        let to = if row.to.is_empty() { None } else { Some((wire::commit_id(&row.to)?, row.to_generation)) };
        Ok(Self { generation: row.generation, height: row.height, to })
    }
}

impl Inner {
    /// What is written beside a new commit. `None`: its generation and those of its ancestors are not known to rise.
    pub(crate) async fn jump_of(
        &self,
        repository: &Repository,
        commit: &Commit,
    ) -> Result<Option<Jump>, CatalogError> {
        let generation = commit.generation;
        let mut parents = Vec::with_capacity(commit.parents.len());
        for parent in self.jumps(repository, &commit.parents).await? {
            let Some(parent) = parent.filter(|parent| parent.generation < generation) else {
                return Ok(None);
            };
            parents.push(parent);
        }
        let ([parent], [id]) = (&parents[..], &commit.parents[..]) else {
            return Ok((!parents.is_empty()).then_some(Jump { generation, height: 0, to: None }));
        };
        let height = parent.height.saturating_add(1);
        let to = match parent.to {
            _ if leap(height) == 1 => Some((*id, parent.generation)),
            // As far as the parent's jump and the one behind it.
            Some((next, _)) => {
                self.jumps(repository, &[next]).await?.pop().flatten().and_then(|jump| jump.to)
            }
            None => None,
        };
        Ok(to.map(|to| Jump { generation, height, to: Some(to) }))
    }

    /// What the rows of these commits say, in one round trip; `None`: there is none.
    pub(crate) async fn jumps(
        &self,
        repository: &Repository,
        ids: &[CommitId],
    ) -> Result<Vec<Option<Jump>>, CatalogError> {
        let r = &repository.incarnation;
        let known: Vec<_> = ids.iter().map(|id| self.jumps.get(&(*r, *id))).collect();
        let missing = ids.iter().zip(&known).filter(|(_, known)| known.is_none());
        let wanted: Vec<_> = missing.map(|(id, _)| keys::jump(r, id)).collect();
        let rows = if wanted.is_empty() { Vec::new() } else { self.kv.get_many(&wanted).await? };
        let mut rows = rows.into_iter();
        let mut jumps = Vec::with_capacity(ids.len());
        for (id, known) in ids.iter().zip(known) {
            jumps.push(match known {
                Some(known) => known,
                None => self.decode_jump(repository, id, rows.next().flatten().as_ref())?,
            });
        }
        Ok(jumps)
    }

    fn decode_jump(
        &self,
        repository: &Repository,
        id: &CommitId,
        row: Option<&lakebed_kv::Versioned>,
    ) -> Result<Option<Jump>, CatalogError> {
        let row = row.map(|row| wire::decode::<wire::JumpRow>(&row.value, "jump of a commit")).transpose()?;
        let jump = row.as_ref().map(Jump::from_row).transpose()?;
        // A commit without a row never gets one, but for being made again as it is: to know of none is never wrong.
        self.jumps.insert((repository.incarnation, *id), jump);
        Ok(jump)
    }
}

/// A commit of a chain that can be jumped from.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) commit: Arc<Commit>,
    pub(crate) jump: Jump,
}

/// The chains of a repository.
pub(crate) struct Chains<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) repository: &'a Repository,
}

impl Chains<'_> {
    /// A commit and its row, in one round trip. `None`: it has none, or one that says something else of it.
    pub(crate) async fn place(&self, id: &CommitId) -> Result<Option<Place>, CatalogError> {
        let (inner, r) = (self.inner, &self.repository.incarnation);
        let (jump, commit) = (inner.jumps.get(&(*r, *id)), inner.commits.get(&(*r, *id)));
        let (jump, commit) = match (jump, commit) {
            (Some(jump), Some(commit)) => (jump, Some(commit)),
            (None, Some(commit)) => {
                (inner.jumps(self.repository, &[*id]).await?.pop().flatten(), Some(commit))
            }
            (Some(jump), None) => (jump, inner.find_commit(self.repository, id).await?),
            (None, None) => {
                let mut rows = inner.kv.get_many(&[keys::jump(r, id), keys::commit(r, id)]).await?;
                let commit = rows.pop().flatten();
                let jump = inner.decode_jump(self.repository, id, rows.pop().flatten().as_ref())?;
                let commit = commit.map(|row| inner.decode_commit(self.repository, id, &row)).transpose()?;
                (jump, commit)
            }
        };
        let (Some(jump), Some(commit)) = (jump, commit) else { return Ok(None) };
        let agree = jump.generation == commit.generation
            && (jump.height > 0) == (commit.parents.len() == 1)
            && jump.to.is_some() == (jump.height > 0);
        Ok(agree.then_some(Place { commit, jump }))
    }

    /// The lowest commit of the chain below `at`, itself included, where a walk may stand by its height and generation:
    /// which must hold for `at`, and not below where it does not. `None`: a row is missing.
    pub(crate) async fn lowest(
        &self,
        mut at: Place,
        may_stand: impl Fn(u64, u64) -> bool,
    ) -> Result<Option<Place>, CatalogError> {
        while let (Some((to, generation)), [parent]) = (at.jump.to, &at.commit.parents[..]) {
            let leap = leap(at.jump.height);
            let next = match leap {
                _ if may_stand(at.jump.height - leap, generation) => to,
                1 => break,
                _ => *parent,
            };
            let next = self.place(&next).await?.filter(|next| next.jump.height < at.jump.height);
            let Some(next) = next else { return Ok(None) };
            if !may_stand(next.jump.height, next.jump.generation) {
                break;
            }
            at = next;
        }
        Ok(Some(at))
    }

    /// The commit so many first parents down, or the end of the chain if that comes before; and how many were passed: none
    /// where rows are missing.
    pub(crate) async fn down(
        &self,
        commit: &Arc<Commit>,
        most: u64,
    ) -> Result<(Arc<Commit>, u64), CatalogError> {
        if let Some(from) = self.place(&commit.id).await? {
            let height = from.jump.height;
            let floor = height.saturating_sub(most);
            if let Some(to) = self.lowest(from, move |at, _| at >= floor).await? {
                return Ok((to.commit, height - to.jump.height));
            }
        }
        Ok((commit.clone(), 0))
    }

    /// Where two walks go that stand on chains, when nobody else is above the generation `floor`: to the commit where they
    /// meet, or as far as it is sure that they do not. `None`: a row is missing.
    pub(crate) async fn lowest_of_two(
        &self,
        left: Place,
        right: Place,
        floor: u64,
    ) -> Result<Option<(Place, Place)>, CatalogError> {
        let down = async |from: &Place, floor: u64| {
            self.lowest(from.clone(), move |_, generation| generation >= floor).await
        };
        let (Some(left_low), Some(right_low)) = (down(&left, floor).await?, down(&right, floor).await?)
        else {
            return Ok(None);
        };
        if left_low.commit.id != right_low.commit.id {
            // They do not share a commit of their chains above the floor. But what lies below the end of the one may lead
            // into the other.
            let ends = [&left_low, &right_low].into_iter().filter(|low| low.jump.height == 0);
            let floor = ends.map(|end| end.jump.generation).fold(floor, u64::max);
            let (left, right) = (down(&left, floor).await?, down(&right, floor).await?);
            return Ok(left.zip(right));
        }
        // One chain, or two that become one: their heights are counted from the same end.
        let height = left.jump.height.min(right.jump.height);
        let level = move |at: u64, _| at >= height;
        let (mut left, mut right) = (self.lowest(left, level).await?, self.lowest(right, level).await?);
        loop {
            let (Some(l), Some(r)) = (&left, &right) else { return Ok(None) };
            if l.commit.id == r.commit.id {
                return Ok(left.zip(right));
            }
            let (Some((l_to, _)), Some((r_to, _))) = (l.jump.to, r.jump.to) else { return Ok(None) };
            let (l_next, r_next) = match (&l.commit.parents[..], &r.commit.parents[..]) {
                // They met on the way, or there.
                ([l_parent], [r_parent]) if l_to == r_to => (*l_parent, *r_parent),
                _ => (l_to, r_to),
            };
            let below = l.jump.height;
            (left, right) = (self.place(&l_next).await?, self.place(&r_next).await?);
            if [&left, &right].into_iter().flatten().any(|next| next.jump.height >= below) {
                return Ok(None);
            }
        }
    }
}

/// When a walk looks whether it can jump. A look costs a read or two, and a jump over n commits some 2 log n, one after the
/// other; commits one by one are read hundreds at a time. So it looks where many lie before it, and more and more rarely
/// while it is in vain.
#[derive(Clone)]
pub(crate) struct Pace {
    /// The fewest commits that are worth a jump.
    least: u64,
    /// Commits one by one before it looks whether two chains meet: mostly they do soon.
    patience: u32,
    /// Commits since the last jump.
    stepped: u32,
    /// Commits before it looks again.
    rest: u32,
    /// How many that were after the last look, if it was in vain.
    rested: u32,
    /// How many they are at first.
    first_rest: u32,
}

/// The longest rest after a look in vain.
const LONGEST_REST: u32 = 8192;

impl Default for Pace {
    fn default() -> Self {
        Self { least: 512, patience: 64, stepped: 0, rest: 0, rested: 0, first_rest: 64 }
    }
}

impl Pace {
    /// Looks at every commit before which so many may be passed.
    #[cfg(test)]
    pub(crate) fn eager(least: u64) -> Self {
        Self { least, patience: 0, first_rest: 0, ..Self::default() }
    }

    /// The walk came to one more commit.
    pub(crate) fn step(&mut self) {
        self.stepped = self.stepped.saturating_add(1);
        self.rest = self.rest.saturating_sub(1);
    }

    /// Whether to look where so many generations, or commits of a chain, lie before the walk.
    pub(crate) fn looks(&self, before: u64) -> bool {
        self.rest == 0 && self.worth(before)
    }

    /// [`Pace::looks`], for two chains beside each other.
    pub(crate) fn looks_at_two(&self, before: u64) -> bool {
        self.looks(before) && self.stepped >= self.patience
    }

    /// Whether a jump over so many commits is worth it.
    pub(crate) fn worth(&self, commits: u64) -> bool {
        commits >= self.least
    }

    /// It looked, and passed so many commits.
    pub(crate) fn passed(&mut self, commits: u64) {
        if self.worth(commits) {
            (self.stepped, self.rest, self.rested) = (0, 0, 0);
        } else {
            self.rested = (self.rested * 2).clamp(self.first_rest, LONGEST_REST);
            self.rest = self.rested;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_are_as_long_as_a_digit_of_the_height() {
        let lengths: Vec<u64> = (0..16).map(leap).collect();
        assert_eq!(lengths, [0, 1, 1, 3, 1, 1, 3, 7, 1, 1, 3, 1, 1, 3, 7, 15]);
        for height in (1..100_000u64).chain([u64::MAX - 1, u64::MAX]) {
            assert!((1..=height).contains(&leap(height)), "{height}");
        }
        // The jump of the next is one step, or the parent's jump and the one behind it.
        for height in 1..100_000 {
            let behind = height - leap(height);
            assert!([1, 1 + leap(height) + leap(behind)].contains(&leap(height + 1)), "{height}");
        }
    }

    #[test]
    fn a_row_is_small() {
        let jump = Jump { generation: 100_000, height: 100_000, to: Some((CommitId::digest(b"x"), 99_000)) };
        let row = wire::encode(&jump.to_row());
        assert!(row.len() < 60, "{}", row.len());
        assert_eq!(Jump::from_row(&wire::decode(&row, "jump").unwrap()).unwrap(), jump);
    }
}
