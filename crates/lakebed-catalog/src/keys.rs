//! Key constructors, one per record of `protocol.md`. The first byte names the noun; ids are fixed-length, so a name
//! or path behind them keeps its byte order. No other module of the workspace may use these first bytes in the same
//! engine (`lakebed-auth` uses `a`).

use bytes::{BufMut, Bytes, BytesMut};
use lakebed_core::{BranchId, CommitId, Incarnation, LayerId, ObjectName, RepositoryId, TagId, Timestamp};

fn key(noun: u8, parts: &[&[u8]]) -> Bytes {
    let mut out = BytesMut::with_capacity(1 + parts.iter().map(|p| p.len()).sum::<usize>());
    out.put_u8(noun);
    for part in parts {
        out.put_slice(part);
    }
    out.freeze()
}

/// `repo/<name>` -> repository.
pub(crate) fn repository(id: &RepositoryId) -> Bytes {
    key(b'p', &[id.as_str().as_bytes()])
}

/// Prefix of all repositories whose name starts with `prefix`.
pub(crate) fn repositories(prefix: &str) -> Bytes {
    key(b'p', &[prefix.as_bytes()])
}

/// `dead-repo/<R>`: a deleted repository whose rows the sweeper takes.
pub(crate) fn dead_repository(r: &Incarnation) -> Bytes {
    key(b'P', &[r.as_bytes()])
}

/// Prefix of all deleted repositories.
pub(crate) fn dead_repositories() -> Bytes {
    key(b'P', &[])
}

/// `ns-claim/<namespace>` -> incarnation of the repository it belongs to, for ever, and whether it was given up.
pub(crate) fn namespace_claim(namespace: &str) -> Bytes {
    key(b'n', &[namespace.as_bytes()])
}

/// `ns-mention/<namespace>\0<other>`: entries stored in the namespace `other` name objects in `namespace`.
pub(crate) fn namespace_mention(namespace: &str, other: &str) -> Bytes {
    key(b'm', &[namespace.as_bytes(), b"\0", other.as_bytes()])
}

/// `freeing/<namespace>`: a namespace that was given up, whose bytes are being deleted.
pub(crate) fn freeing(namespace: &str) -> Bytes {
    key(b'z', &[namespace.as_bytes()])
}

/// `ref/<R>/<name>` -> branch or tag: one key space, so a name is one thing.
pub(crate) fn reference(r: &Incarnation, name: &str) -> Bytes {
    key(b'r', &[r.as_bytes(), name.as_bytes()])
}

/// Index of branches, so that listing them costs nothing for tags: `<R>/<name>` -> empty.
pub(crate) fn branch_index(r: &Incarnation, prefix: &str) -> Bytes {
    key(b'b', &[r.as_bytes(), prefix.as_bytes()])
}

/// Index of tags: `<R>/<name>` -> empty.
pub(crate) fn tag_index(r: &Incarnation, prefix: &str) -> Bytes {
    key(b't', &[r.as_bytes(), prefix.as_bytes()])
}

/// Where the name begins in the keys of [`reference`], [`branch_index`], [`tag_index`].
pub(crate) const NAME_AT: usize = 17;

/// `gate/<G>/<i>`: exists while the gate is open.
pub(crate) fn gate(g: &Incarnation, i: u8) -> Bytes {
    key(b'g', &[g.as_bytes(), &[i]])
}

/// `layer/<L>`: exists until the layer's content may be dropped.
pub(crate) fn layer(l: &LayerId) -> Bytes {
    key(b'l', &[l.as_bytes()])
}

/// `row/<L>/<path>` -> entry or tombstone.
pub(crate) fn row(l: &LayerId, path: &[u8]) -> Bytes {
    key(b'w', &[l.as_bytes(), path])
}

/// Rows count only while their layer's descriptor exists (`protocol.md`, Read).
pub(crate) const STAGED: lakebed_kv::Guarded =
    lakebed_kv::Guarded { rows: b'w', guards: b'l', id_bytes: PATH_AT - 1 };

/// Where the path begins in the keys of [`row`].
pub(crate) const PATH_AT: usize = 17;

/// `commit/<R>/<id>` -> commit.
pub(crate) fn commit(r: &Incarnation, id: &CommitId) -> Bytes {
    key(b'c', &[r.as_bytes(), id.as_bytes()])
}

/// Prefix of the commits of a repository.
pub(crate) fn commits(r: &Incarnation, id_prefix: &[u8]) -> Bytes {
    key(b'c', &[r.as_bytes(), id_prefix])
}

/// `trace/<R>/<id>` -> what helps a walk past a commit: which paths it changed, where in a branch's reflog it stands.
pub(crate) fn trace(r: &Incarnation, id: &CommitId) -> Bytes {
    key(b'f', &[r.as_bytes(), id.as_bytes()])
}

/// `trace/<R>/<id>/j` -> how a walk jumps from a commit. Among the traces, so that versions that do not know it take it away
/// with a repository all the same.
pub(crate) fn jump(r: &Incarnation, id: &CommitId) -> Bytes {
    key(b'f', &[r.as_bytes(), id.as_bytes(), b"j"])
}

/// `reflog/<B>/<seq>` -> what moved the head.
pub(crate) fn reflog(b: &Incarnation, seq: u64) -> Bytes {
    key(b'k', &[b.as_bytes(), &seq.to_be_bytes()])
}

/// The whole reflog of a branch.
pub(crate) fn reflog_of(b: &Incarnation) -> lakebed_kv::KeyRange {
    lakebed_kv::KeyRange::prefix(&key(b'k', &[b.as_bytes()]))
}

/// `turn/<B>` -> empty: there is a line of operations that wait to move the branch's head.
pub(crate) fn turn(b: &Incarnation) -> Bytes {
    key(b'T', &[b.as_bytes()])
}

/// `turn/<B>/<time>/<id>` -> a place in the line.
pub(crate) fn place(b: &Incarnation, taken: Timestamp, id: &Incarnation) -> Bytes {
    key(b'T', &[b.as_bytes(), &(taken.millis().max(0) as u64).to_be_bytes(), id.as_bytes()])
}

/// The places of a branch's line, the first one first.
pub(crate) fn places(b: &Incarnation) -> lakebed_kv::KeyRange {
    lakebed_kv::KeyRange { start: key(b'T', &[b.as_bytes(), &[0]]), ..turns(b) }
}

/// The line and its places.
pub(crate) fn turns(b: &Incarnation) -> lakebed_kv::KeyRange {
    lakebed_kv::KeyRange::prefix(&turn(b))
}

/// `op/<id>` -> outcome of a publish.
pub(crate) fn operation(id: &Incarnation) -> Bytes {
    key(b'o', &[id.as_bytes()])
}

/// A row that may go a day after `at`: `<time>/<its key>`, in order of time so that a round reads only what is due.
pub(crate) fn expiry(at: Timestamp, target: &Bytes) -> Bytes {
    key(b'x', &[&(at.millis().max(0) as u64).to_be_bytes(), target])
}

/// Expiries noted before `at`, in order.
pub(crate) fn expiries_before(at: Timestamp) -> lakebed_kv::KeyRange {
    lakebed_kv::KeyRange { start: key(b'x', &[]), end: Some(expiry(at, &Bytes::new())) }
}

/// Where the key of the row begins in the keys of [`expiry`].
pub(crate) const EXPIRING_AT: usize = 9;

/// `dead/<L>`: a layer whose descriptor and rows the sweeper takes.
pub(crate) fn dead_layer(l: &LayerId) -> Bytes {
    key(b'd', &[l.as_bytes()])
}

/// Prefix of all dead layers.
pub(crate) fn dead_layers() -> Bytes {
    key(b'd', &[])
}

/// `upload/<R>/<id>` -> multipart upload.
pub(crate) fn upload(r: &Incarnation, id: &str) -> Bytes {
    key(b'u', &[r.as_bytes(), id.as_bytes()])
}

/// Repository and id of the upload whose row has this key; `None` if it is another's.
pub(crate) fn upload_of(key: &[u8]) -> Option<(Incarnation, &str)> {
    let rest = key.strip_prefix(b"u")?;
    let (r, id) = rest.split_at_checked(16)?;
    Some((Incarnation::from_slice(r)?, std::str::from_utf8(id).ok()?))
}

/// Prefix of the open uploads of a repository.
pub(crate) fn uploads(r: &Incarnation) -> Bytes {
    key(b'u', &[r.as_bytes()])
}

/// Index of open uploads in the order S3 lists them: `<R>/<branch>/<path>\0<id>` -> id.
pub(crate) fn upload_index(r: &Incarnation, order: &str) -> Bytes {
    key(b'i', &[r.as_bytes(), order.as_bytes()])
}

/// Part of an upload: `<R>/<id>/<number>` -> part.
pub(crate) fn upload_part(r: &Incarnation, id: &str, number: u32) -> Bytes {
    key(b'v', &[r.as_bytes(), id.as_bytes(), &number.to_be_bytes()])
}

/// Prefix of the parts of an upload.
pub(crate) fn upload_parts(r: &Incarnation, id: &str) -> Bytes {
    key(b'v', &[r.as_bytes(), id.as_bytes()])
}

/// `pull/<R>/<id>` -> pull request.
pub(crate) fn pull_request(r: &Incarnation, id: &ObjectName) -> Bytes {
    pull_requests(r, &id.to_string())
}

/// Prefix of the pull requests of a repository whose ids start so.
pub(crate) fn pull_requests(r: &Incarnation, id_prefix: &str) -> Bytes {
    key(b'q', &[r.as_bytes(), id_prefix.as_bytes()])
}

/// The lists of pull requests besides the one of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullList {
    /// Open ones.
    Open,
    /// Closed and merged ones.
    Closed,
}

/// Index of pull requests by status: `<R>/<list>/<id>` -> empty.
pub(crate) fn pull_list(r: &Incarnation, list: PullList, id_prefix: &str) -> Bytes {
    let list = match list {
        PullList::Open => b'o',
        PullList::Closed => b'c',
    };
    key(b'Q', &[r.as_bytes(), &[list], id_prefix.as_bytes()])
}

/// `once/<R>/<key>` -> what the request with this idempotency key made.
pub(crate) fn once(r: &Incarnation, idempotency_key: &[u8; 32]) -> Bytes {
    key(b'y', &[r.as_bytes(), idempotency_key])
}

/// `task/<R>/<id>` -> task.
pub(crate) fn task(r: &Incarnation, id: &ObjectName) -> Bytes {
    key(b'j', &[r.as_bytes(), id.to_string().as_bytes()])
}

/// Index of running tasks, by the key of the task behind its first byte -> empty.
pub(crate) fn running_task(task: &[u8]) -> Bytes {
    key(b'J', &[task.get(1..).unwrap_or_default()])
}

/// Prefix of the index of running tasks.
pub(crate) fn running_tasks() -> Bytes {
    key(b'J', &[])
}

/// The task that an entry of the index of running tasks names.
pub(crate) fn task_of(running: &[u8]) -> Bytes {
    key(b'j', &[running.get(1..).unwrap_or_default()])
}

/// `format` -> the format in which everything is written.
pub(crate) fn format() -> Bytes {
    key(b'F', &[])
}

/// `server/<S>` -> a server that shares the data.
pub(crate) fn server(id: &Incarnation) -> Bytes {
    key(b'S', &[id.as_bytes()])
}

/// Prefix of all servers.
pub(crate) fn servers() -> Bytes {
    key(b'S', &[])
}

/// The row that probes of the engine write; it means nothing.
pub(crate) fn probe() -> Bytes {
    key(b'h', &[])
}

/// `rules/<R>` -> branch protection.
pub(crate) fn rules(r: &Incarnation) -> Bytes {
    key(b's', &[r.as_bytes(), b"p"])
}

/// Collection rules of a repository.
pub(crate) fn gc_rules(r: &Incarnation) -> Bytes {
    key(b's', &[r.as_bytes(), b"g"])
}

/// The name behind the fixed part of a key, if it is text.
pub(crate) fn name_of(key: &[u8], at: usize) -> Option<&str> {
    std::str::from_utf8(key.get(at..)?).ok()
}

/// A branch name as the key parts expect it.
pub(crate) fn branch(r: &Incarnation, id: &BranchId) -> Bytes {
    reference(r, id.as_str())
}

/// A tag name as the key parts expect it.
pub(crate) fn tag(r: &Incarnation, id: &TagId) -> Bytes {
    reference(r, id.as_str())
}

/// Everything that belongs to a repository besides its refs.
pub(crate) fn of_repository(r: &Incarnation) -> impl Iterator<Item = lakebed_kv::KeyRange> {
    [b'b', b't', b'c', b'f', b'u', b'i', b'v', b'q', b'Q', b'y', b's', b'j', b'J']
        .map(|noun| lakebed_kv::KeyRange::prefix(&key(noun, &[r.as_bytes()])))
        .into_iter()
}

/// What kind of record a key names, in few words.
pub(crate) fn kind_of(key: &[u8]) -> &'static str {
    match key.first() {
        Some(b'p' | b'P') => "repository",
        Some(b'n' | b'm' | b'z') => "namespace",
        Some(b'r' | b'b' | b't') => "ref",
        Some(b'g') => "gate",
        Some(b'l' | b'd') => "layer",
        Some(b'w') => "staged",
        Some(b'c' | b'f') => "commit",
        Some(b'k' | b'o' | b'T') => "publish",
        Some(b'u' | b'i' | b'v') => "upload",
        Some(b'q' | b'Q') => "pull_request",
        Some(b'y') => "idempotency_key",
        Some(b'j' | b'J') => "task",
        Some(b's') => "settings",
        Some(b'h' | b'F' | b'S') => "server",
        Some(b'a') => "auth",
        _ => "other",
    }
}
