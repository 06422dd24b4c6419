//! Walks that jump against walks that do not, over histories with long chains, merges and records that clients made.

use std::collections::BTreeMap;
use std::sync::Arc;

use lakebed_blocks::MemStore;
use lakebed_core::{BranchId, ManualClock, NodeId, SeededEntropy, Timestamp};
use lakebed_kv::{Kv, MemKv, Transaction};
use proptest::prelude::*;

use super::*;
use crate::{CatalogConfig, CommitRequest, EntryDraft, NewRepository, Precondition, keys, wire};

/// What a history is made of. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Op {
    /// So many commits in a row, each so many seconds after the one before.
    Chain(usize, usize, i64),
    /// A new branch, at a commit so far back along first parents.
    Branch(usize, usize),
    /// Two branches into the first; squashed: of one parent, but with a generation above both.
    Merge(usize, usize, bool),
    /// A commit that a version without jumps made.
    Older(usize),
    /// A record that a client made: with this generation, and maybe a second parent.
    Record(usize, u64, Second),
}

#[derive(Clone, Debug)]
enum Second {
    No,
    Known(usize),
    Missing,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let b = 0usize..6;
    let honest = prop_oneof![
        6 => (b.clone(), 1usize..40, -1i64..4).prop_map(|(b, n, secs)| Op::Chain(b, n, secs)),
        4 => (b.clone(), 0usize..60).prop_map(|(b, n)| Op::Branch(b, n)),
        4 => (b.clone(), b.clone(), any::<bool>()).prop_map(|(s, d, squash)| Op::Merge(s, d, squash)),
    ];
    let second = prop_oneof![4 => Just(Second::No), 5 => (0usize..500).prop_map(Second::Known), 1 => Just(Second::Missing)];
    let others = prop_oneof![
        10 => honest.clone(),
        1 => b.clone().prop_map(Op::Older),
        1 => (b, 0u64..120, second).prop_map(|(b, generation, second)| Op::Record(b, generation, second)),
    ];
    prop_oneof![proptest::collection::vec(honest, 1..20), proptest::collection::vec(others, 1..20),]
}

/// A repository whose commits are written as rows, with what is needed to say what walks over them find.
struct History {
    kv: Arc<MemKv>,
    blocks: Arc<MemStore>,
    catalog: Catalog,
    repository: Arc<Repository>,
    /// In the order in which they were made; the first is the repository's.
    commits: Vec<Arc<Commit>>,
    by_id: BTreeMap<CommitId, Arc<Commit>>,
    branches: Vec<Arc<Commit>>,
    /// Trees that commits have in turn, and what `p` is in each.
    trees: Vec<(Option<NodeId>, Option<u32>)>,
}

const PATH: &str = "p";

fn catalog(kv: &Arc<MemKv>, blocks: &Arc<MemStore>) -> Catalog {
    Catalog::new(CatalogConfig {
        kv: kv.clone(),
        blocks: blocks.clone(),
        clock: Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000))),
        entropy: Arc::new(SeededEntropy::new(7)),
        node_cache_bytes: 16 << 20,
        signing_key: b"key".to_vec(),
    })
}

impl History {
    async fn new() -> Self {
        let (kv, blocks) = (Arc::new(MemKv::new()), Arc::new(MemStore::new()));
        let catalog = catalog(&kv, &blocks);
        let id: RepositoryId = "lake".parse().unwrap();
        let new = NewRepository {
            id: id.clone(),
            storage_namespace: "mem://lake".to_owned(),
            storage_id: String::new(),
            default_branch: None,
            bare: false,
            read_only: false,
        };
        catalog.create_repository(new).await.unwrap();
        let main: BranchId = "main".parse().unwrap();
        let first = catalog.resolve(&id, &"main".parse().unwrap()).await.unwrap();
        let mut trees = vec![(None, None)];
        for content in 1..3 {
            let at = PATH.parse().unwrap();
            let ticket = catalog.begin_write(&id, &main, &at, Precondition::None, false).await.unwrap();
            let draft = EntryDraft { size: 1, checksum: content.to_string(), ..EntryDraft::default() };
            catalog.link(ticket, draft).await.unwrap();
            let commit = catalog.commit(&id, &main, CommitRequest::default()).await.unwrap();
            trees.push((commit.tree, Some(content)));
        }
        let repository = catalog.repository(&id).await.unwrap();
        let first = Arc::new(first);
        let by_id = BTreeMap::from([(first.id, first.clone())]);
        let (commits, branches) = (vec![first.clone()], vec![first]);
        Self { kv, blocks, catalog, repository, commits, by_id, branches, trees }
    }

    /// A commit, as a publish writes it or not.
    async fn add(
        &mut self,
        parents: Vec<CommitId>,
        generation: u64,
        secs: i64,
        published: bool,
    ) -> Arc<Commit> {
        let n = self.commits.len();
        // Every third has the tree of the one before.
        let tree = self.trees[(n - usize::from(n.is_multiple_of(3))) % self.trees.len()].0;
        let id = CommitId::digest(&n.to_be_bytes());
        let first = self.commits[0].as_ref().clone();
        let commit = Commit { id, parents, generation, created_secs: secs, tree, ..first };
        let r = &self.repository.incarnation;
        let mut write =
            Transaction::new().put(keys::commit(r, &id), wire::encode(&wire::CommitRow::of(&commit)));
        if published && let Some(jump) = self.catalog.inner.jump_of(&self.repository, &commit).await.unwrap()
        {
            write = write.put(keys::jump(r, &id), wire::encode(&jump.to_row()));
        }
        self.kv.transact(write).await.unwrap();
        let commit = Arc::new(commit);
        self.commits.push(commit.clone());
        self.by_id.insert(id, commit.clone());
        commit
    }

    async fn apply(&mut self, op: &Op) {
        let branch = |n: usize| n % self.branches.len();
        match *op {
            Op::Chain(b, length, secs) => {
                let b = branch(b);
                for _ in 0..length {
                    let head = self.branches[b].clone();
                    let at = head.created_secs + secs;
                    self.branches[b] = self.add(vec![head.id], head.generation + 1, at, true).await;
                }
            }
            Op::Branch(b, back) => {
                let mut at = self.branches[branch(b)].clone();
                for _ in 0..back {
                    let parent = at.parents.first().and_then(|parent| self.by_id.get(parent));
                    at = parent.unwrap_or(&at).clone();
                }
                self.branches.push(at);
            }
            Op::Merge(source, into, squash) => {
                let (source, into) = (self.branches[branch(source)].clone(), branch(into));
                let head = self.branches[into].clone();
                let generation = head.generation.max(source.generation) + 1;
                let secs = head.created_secs.max(source.created_secs);
                let parents = if squash { vec![head.id] } else { vec![head.id, source.id] };
                self.branches[into] = self.add(parents, generation, secs, true).await;
            }
            Op::Older(b) => {
                let b = branch(b);
                let head = self.branches[b].clone();
                self.branches[b] =
                    self.add(vec![head.id], head.generation + 1, head.created_secs, false).await;
            }
            Op::Record(b, generation, ref second) => {
                let b = branch(b);
                let head = self.branches[b].clone();
                let second = match second {
                    Second::No => None,
                    Second::Known(n) => Some(self.commits[n % self.commits.len()].id),
                    Second::Missing => Some(CommitId::digest(b"nowhere")),
                };
                let parents = std::iter::once(head.id).chain(second).collect();
                self.branches[b] = self.add(parents, generation, head.created_secs - 1, false).await;
            }
        }
    }

    /// As a server that has just started sees it.
    fn cold(&self) -> Catalog {
        catalog(&self.kv, &self.blocks)
    }

    /// The merge base as it was found before walks jumped.
    fn plain_base(&self, left: &Arc<Commit>, right: &Arc<Commit>) -> Option<CommitId> {
        if left.id == right.id {
            return Some(left.id);
        }
        let mut marks: BTreeMap<CommitId, (u8, bool)> = BTreeMap::new();
        let mut queue: BinaryHeap<ByGeneration> = BinaryHeap::new();
        for (commit, mark) in [(left, FROM_LEFT), (right, FROM_RIGHT)] {
            marks.insert(commit.id, (mark, true));
            queue.push(by_generation(commit.clone()));
        }
        let mut candidates = Vec::new();
        while marks.values().any(|(marks, queued)| *queued && marks & STALE == 0) {
            let Ranked(_, commit) = queue.pop().unwrap();
            let (mark, queued) = marks.get_mut(&commit.id).unwrap();
            *queued = false;
            let common = *mark & 3 == 3;
            if *mark == 3 {
                candidates.push(commit.clone());
            }
            let hand_down = if common { 7 } else { *mark };
            for id in &commit.parents {
                let Some(parent) = self.by_id.get(id) else { continue };
                let (mark, queued) = marks.entry(*id).or_insert((0, false));
                if *mark | hand_down != *mark {
                    *mark |= hand_down;
                    if !*queued {
                        *queued = true;
                        queue.push(by_generation(parent.clone()));
                    }
                }
            }
        }
        let best = candidates.into_iter().filter(|commit| marks[&commit.id].0 & STALE == 0);
        let best = best.max_by_key(|c| (c.generation, c.created_secs, std::cmp::Reverse(c.id)));
        best.map(|commit| commit.id)
    }

    /// The log as it was found before walks jumped; `None`: a commit is missing.
    fn plain_log(&self, start: &Arc<Commit>, asked: &Asked) -> Option<(Vec<CommitId>, bool)> {
        let rank = |commit: &Arc<Commit>| {
            let rank = (commit.created_secs, commit.created_millis, commit.generation, commit.id);
            Ranked(rank, commit.clone())
        };
        let content = |commit: &Commit| self.trees.iter().find(|(tree, _)| *tree == commit.tree).unwrap().1;
        let wanted = if asked.limit { asked.amount } else { asked.amount + 1 };
        let mut after = asked.after.as_ref().map(|commit| commit.id);
        let mut queue = BinaryHeap::from([rank(start)]);
        let mut seen = HashSet::from([start.id]);
        let mut items = Vec::new();
        while let Some(Ranked(_, commit)) = queue.pop() {
            if asked.since.is_some_and(|since| commit.created_secs < since) {
                break;
            }
            if let Some(id) = after {
                after = after.filter(|_| id != commit.id);
            } else if !asked.of_path {
                items.push(commit.id);
            } else if let [parent] = &commit.parents[..]
                && content(self.by_id.get(parent)?) != content(&commit)
            {
                items.push(commit.id);
            }
            let last = asked.stop_at.as_ref().is_some_and(|stop_at| stop_at.id == commit.id);
            if last || items.len() >= wanted {
                break;
            }
            for parent in commit.parents.iter().take(if asked.first_parent { 1 } else { 9 }) {
                if seen.insert(*parent) {
                    queue.push(rank(self.by_id.get(parent)?));
                }
            }
        }
        let more = items.len() > asked.amount;
        items.truncate(asked.amount);
        Some((items, more))
    }
}

/// What a log is asked for.
#[derive(Clone, Debug)]
struct Asked {
    after: Option<Arc<Commit>>,
    stop_at: Option<Arc<Commit>>,
    since: Option<i64>,
    amount: usize,
    first_parent: bool,
    limit: bool,
    of_path: bool,
}

impl Asked {
    fn request(&self) -> LogRequest {
        LogRequest {
            after: self.after.as_ref().map(|commit| commit.id.to_string()).unwrap_or_default(),
            amount: self.amount,
            objects: if self.of_path { vec![PATH.to_owned()] } else { Vec::new() },
            prefixes: Vec::new(),
            first_parent: self.first_parent,
            since: self.since.map(Timestamp::from_secs),
            stop_at: self.stop_at.as_ref().map(|commit| commit.id.to_string().parse().unwrap()),
            limit: self.limit,
        }
    }
}

/// What to ask a history for.
#[derive(Clone, Debug)]
struct Question {
    start: usize,
    after: Option<usize>,
    stop_at: Option<usize>,
    since: Option<usize>,
    amount: usize,
    flags: (bool, bool, bool),
}

fn questions() -> impl Strategy<Value = Vec<Question>> {
    let any_commit = || 0usize..1000;
    let question = (
        any_commit(),
        proptest::option::weighted(0.9, any_commit()),
        proptest::option::weighted(0.2, any_commit()),
        proptest::option::weighted(0.1, any_commit()),
        0usize..5,
        (any::<bool>(), proptest::bool::weighted(0.2), proptest::bool::weighted(0.3)),
    );
    let question = question.prop_map(|(start, after, stop_at, since, amount, flags)| Question {
        start,
        after,
        stop_at,
        since,
        amount,
        flags,
    });
    proptest::collection::vec(question, 12)
}

/// Those that look for a jump wherever one may be, or of a few commits at least, and as they are.
fn paces() -> [Pace; 4] {
    [Pace::eager(1), Pace::eager(4), Pace::eager(12), Pace::default()]
}

async fn compare_bases(history: &History, pairs: &[(usize, usize)]) {
    for (left, right) in pairs {
        // Of the heads, mostly: the walks from these are the longest.
        let pick = |n: usize| match n {
            n if n.is_multiple_of(5) => &history.commits[n * 7 % history.commits.len()],
            n => &history.branches[n % history.branches.len()],
        };
        let (left, right) = (pick(*left), pick(*right));
        let expected = history.plain_base(left, right);
        for pace in paces() {
            let cold = history.cold();
            let found = cold.inner.meeting_of(&history.repository, left, right, pace).await.unwrap();
            assert_eq!(found.map(|base| base.id), expected, "{left:?} {right:?}");
        }
    }
}

async fn compare_logs(history: &History, questions: &[Question]) {
    for question in questions {
        let pick = |n: usize| history.commits[n % history.commits.len()].clone();
        let start = match question.start {
            n if n.is_multiple_of(3) => pick(n),
            n => history.branches[n % history.branches.len()].clone(),
        };
        let mut asked = Asked {
            after: question.after.map(pick),
            stop_at: question.stop_at.map(pick),
            since: question.since.map(|n| pick(n).created_secs),
            amount: question.amount,
            first_parent: question.flags.0,
            limit: question.flags.1,
            of_path: question.flags.2,
        };
        let at: RefExpr = start.id.to_string().parse().unwrap();
        for pace in paces() {
            let cold = history.cold();
            // And the pages behind it, which go on from where the first one stood.
            for _ in 0..3 {
                let expected = history.plain_log(&start, &asked);
                let found = cold.log_at(&history.repository.id, &at, &asked.request(), pace.clone()).await;
                let found = found.ok().map(|page| {
                    let items: Vec<CommitId> = page.items.iter().map(|commit| commit.id).collect();
                    (items, page.has_more)
                });
                assert_eq!(found, expected, "{start:?} {asked:?}");
                let last = found.as_ref().and_then(|(items, _)| items.last());
                let Some(last) = last else { break };
                asked.after = history.by_id.get(last).cloned();
            }
            asked.after = question.after.map(pick);
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn history_of(ops: &[Op]) -> History {
    let mut history = History::new().await;
    for op in ops {
        history.apply(op).await;
    }
    history
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_that_jumps_finds_what_one_that_does_not_finds(
        ops in ops(),
        pairs in proptest::collection::vec((0usize..100, 0usize..100), 10),
        questions in questions(),
    ) {
        block_on(async {
            let history = history_of(&ops).await;
            compare_bases(&history, &pairs).await;
            compare_logs(&history, &questions).await;
        });
    }
}

/// The merge base of two branches, and how many commits a server that has just started looked at to find it.
async fn base_of(history: &History, left: usize, right: usize) -> (CommitId, usize) {
    let (left, right) = (&history.branches[left], &history.branches[right]);
    let cold = history.cold();
    let base = cold.inner.best_common_ancestor(&history.repository, left, right).await.unwrap().unwrap();
    assert_eq!(Some(base.id), history.plain_base(left, right));
    (base.id, cold.inner.commits.len())
}

#[test]
fn a_merge_base_is_found_by_jumps_however_chains_lie() {
    block_on(async {
        // One below the other, below branches, and chains of squashed merges, whose generations have gaps.
        let mut history = history_of(&[Op::Chain(0, 1500, 1), Op::Branch(0, 0), Op::Chain(0, 3000, 1)]).await;
        assert!(base_of(&history, 0, 1).await.1 < 60);
        history.apply(&Op::Chain(1, 2990, 1)).await;
        let (base, looked_at) = base_of(&history, 0, 1).await;
        assert_eq!(history.by_id[&base].generation, 1501);
        assert!(looked_at < 250, "{looked_at} commits for two branches of 3,000");
        history.apply(&Op::Branch(1, 0)).await;
        history.apply(&Op::Merge(0, 1, false)).await;
        history.apply(&Op::Chain(1, 2000, 1)).await;
        history.apply(&Op::Chain(2, 4000, 1)).await;
        let (base, looked_at) = base_of(&history, 1, 2).await;
        assert_eq!(history.by_id[&base].generation, 1501 + 2990);
        assert!(looked_at < 400, "{looked_at} commits below a merge");

        let mut history = history_of(&[Op::Chain(0, 9, 1), Op::Branch(0, 0)]).await;
        for _ in 0..2000 {
            history.branches.truncate(2);
            history.apply(&Op::Branch(0, 0)).await;
            history.apply(&Op::Chain(2, 5, 1)).await;
            history.apply(&Op::Merge(2, 0, true)).await;
        }
        let (base, looked_at) = base_of(&history, 0, 1).await;
        assert_eq!((history.by_id[&base].generation, history.branches[0].generation), (10, 12_010));
        assert!(looked_at < 60, "{looked_at} commits for 2,000 squashed merges");
    });
}

#[test]
fn below_what_nobody_vouches_for_commits_are_taken_one_by_one() {
    block_on(async {
        let made: [Op; 3] =
            [Op::Older(0), Op::Record(0, 1501, Second::No), Op::Record(0, 7, Second::Missing)];
        for op in made {
            let chains = [Op::Chain(0, 1500, 1), Op::Branch(0, 0), op, Op::Chain(0, 1500, 1)];
            let history = history_of(&chains).await;
            let (base, looked_at) = base_of(&history, 0, 1).await;
            assert_eq!(base, history.branches[1].id);
            assert!(looked_at >= 1500, "{looked_at}");
        }
    });
}

#[tokio::test]
async fn a_row_that_says_something_else_of_its_commit_is_not_followed() {
    let history = history_of(&[Op::Chain(0, 900, 1)]).await;
    let (r, head) = (&history.repository.incarnation, &history.branches[0]);
    let other = Commit { generation: head.generation + 3, ..head.as_ref().clone() };
    let write = Transaction::new().put(keys::commit(r, &head.id), wire::encode(&wire::CommitRow::of(&other)));
    history.kv.transact(write).await.unwrap();
    let cold = history.cold();
    let chains = Chains { inner: &cold.inner, repository: &history.repository };
    assert!(chains.place(&head.id).await.unwrap().is_none());
    assert!(chains.place(&head.parents[0]).await.unwrap().is_some());
}
