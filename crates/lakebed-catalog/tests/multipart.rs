//! Multipart uploads: one end wins, whatever breaks off or comes between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use lakebed_blocks::body_from_bytes;
use lakebed_catalog::{
    CatalogError, CompletedPart, Completion, Entry, EntryDraft, ErrorKind, Precondition, UploadTarget,
    UploadsRequest,
};
use lakebed_kv::{Key, KeyRange, Kv, KvError, Limits, MemKv, Outcome, Row, Transaction, Versioned};
use parking_lot::Mutex;
use support::{Lake, branch, draft, path};

const DAY_MILLIS: i64 = 24 * 3600 * 1000;

/// What happens to one transaction.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It is done, and nobody is told.
    LostAnswer,
    /// It is not done, and nobody is told.
    LostRequest,
    /// The process ends before it.
    CrashBefore,
    /// The process ends behind it.
    CrashBehind,
}

/// An engine in memory, where something can come between.
#[derive(Default)]
struct Faulty {
    kv: MemKv,
    /// Transactions still to come before the fault; 0: none is planned.
    countdown: AtomicUsize,
    fault: Mutex<Option<Fault>>,
    between: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Faulty {
    /// Lets the `nth` transaction from here meet `fault`, behind `between`.
    fn plan(&self, nth: usize, fault: Option<Fault>, between: Option<BoxFuture<'static, ()>>) {
        *self.fault.lock() = fault;
        *self.between.lock() = between;
        self.countdown.store(nth, Ordering::SeqCst);
    }

    /// Whether the plan came to pass; nothing is planned any more.
    fn heal(&self) -> bool {
        self.countdown.swap(0, Ordering::SeqCst) == 0
    }
}

#[async_trait]
impl Kv for Faulty {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, KvError> {
        self.kv.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, KvError> {
        self.kv.get_many(keys).await
    }

    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Row>, KvError> {
        self.kv.scan(range, limit).await
    }

    async fn transact(&self, transaction: Transaction) -> Result<Outcome, KvError> {
        let step = |n: usize| n.checked_sub(1);
        if self.countdown.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step) != Ok(1) {
            return self.kv.transact(transaction).await;
        }
        let between = self.between.lock().take();
        if let Some(between) = between {
            between.await;
        }
        let fault = *self.fault.lock();
        let crash = || Err(KvError::Stopped("crash".into()));
        match fault {
            None => self.kv.transact(transaction).await,
            Some(Fault::LostAnswer) => self.kv.transact(transaction).await.map(|_| Outcome::Unknown),
            Some(Fault::LostRequest) => Ok(Outcome::Unknown),
            Some(Fault::CrashBefore) => crash(),
            Some(Fault::CrashBehind) => self.kv.transact(transaction).await.and_then(|_| crash()),
        }
    }

    fn limits(&self) -> Limits {
        self.kv.limits()
    }

    async fn close(&self) -> Result<(), KvError> {
        self.kv.close().await
    }
}

async fn lake() -> (Arc<Faulty>, Lake) {
    let kv = Arc::new(Faulty::default());
    let lake = Lake::over(kv.clone(), 7).await;
    (kv, lake)
}

fn target(lake: &Lake, on: &str, at: &str, id: &str) -> UploadTarget {
    UploadTarget { repository: lake.repo.clone(), branch: branch(on), path: path(at), id: id.to_owned() }
}

async fn begin(lake: &Lake, on: &str, at: &str) -> UploadTarget {
    let content = EntryDraft { content_type: "text/csv".to_owned(), ..EntryDraft::default() };
    let upload =
        lake.catalog.create_upload(&lake.repo, &branch(on), &path(at), content, BTreeMap::new()).await;
    target(lake, on, at, &upload.unwrap().id)
}

async fn put_part(
    lake: &Lake,
    target: &UploadTarget,
    number: u32,
    content: &str,
) -> Result<CompletedPart, CatalogError> {
    let body = body_from_bytes(Bytes::from(content.to_owned()));
    let stored = lake.catalog.store_part(target, number, body, None).await?;
    let part = lake.catalog.record_part(target, number, stored, BTreeMap::new()).await?;
    Ok(CompletedPart { number, etag: part.etag })
}

fn completion(parts: &[CompletedPart]) -> Completion {
    Completion { parts: parts.to_vec(), ..Completion::default() }
}

async fn complete(lake: &Lake, target: &UploadTarget, with: &Completion) -> Result<Entry, CatalogError> {
    let describe = |_: &_, parts: &[_]| {
        Ok::<_, CatalogError>(BTreeMap::from([("parts".to_owned(), parts.len().to_string())]))
    };
    lake.catalog.complete_upload(target, with, describe).await
}

fn kind<T: std::fmt::Debug>(result: Result<T, CatalogError>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// The bytes of an object.
async fn read(lake: &Lake, on: &str, at: &str) -> Option<String> {
    let repository = lake.catalog.repository(&lake.repo).await.unwrap();
    let entry = lake.catalog.stat(&lake.repo, &on.parse().unwrap(), &path(at)).await.ok()?;
    let address = entry.view().unwrap().full_address(&repository.storage_namespace);
    let bytes = lake.catalog.blocks().get_bytes(&address, 1 << 20).await.unwrap();
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

async fn uploads(lake: &Lake) -> Vec<String> {
    let request = UploadsRequest { amount: 100, ..UploadsRequest::default() };
    let (uploads, more) = lake.catalog.list_uploads(&lake.repo, &request).await.unwrap();
    assert!(!more);
    uploads.into_iter().map(|upload| format!("{}/{}", upload.branch, upload.path)).collect()
}

#[tokio::test]
async fn parts_become_an_object_and_repeating_says_the_same() {
    let (_, lake) = lake().await;
    let target = begin(&lake, "main", "m").await;
    let second = put_part(&lake, &target, 7, "second").await.unwrap();
    put_part(&lake, &target, 1, "replaced").await.unwrap();
    let first = put_part(&lake, &target, 1, "first ").await.unwrap();
    put_part(&lake, &target, 3, "left out").await.unwrap();
    assert_eq!(uploads(&lake).await, ["main/m"]);
    let with = completion(&[first, second]);
    let entry = complete(&lake, &target, &with).await.unwrap();
    assert_eq!(read(&lake, "main", "m").await.unwrap(), "first second");
    assert_eq!((entry.size, entry.content_type.as_str()), (12, "text/csv"));
    assert!(entry.checksum.ends_with("-2"));
    assert_eq!(entry.headers["parts"], "2");
    assert_eq!(uploads(&lake).await, [""; 0]);
    lake.clock.advance_millis(1000);
    // Whatever the precondition: it is the same completion.
    let again = Completion { precondition: Precondition::Absent, ..with.clone() };
    assert_eq!(complete(&lake, &target, &again).await.unwrap(), entry);
    assert_eq!(
        kind(complete(&lake, &target, &completion(&with.parts[..1])).await),
        ErrorKind::UploadNotFound
    );
    assert_eq!(kind(put_part(&lake, &target, 1, "x").await), ErrorKind::UploadNotFound);
    assert_eq!(kind(lake.catalog.abort_upload(&target).await), ErrorKind::UploadNotFound);
}

#[tokio::test]
async fn an_empty_part_makes_an_empty_object() {
    let (_, lake) = lake().await;
    let target = begin(&lake, "main", "empty").await;
    let part = put_part(&lake, &target, 1, "").await.unwrap();
    assert_eq!(complete(&lake, &target, &completion(&[part])).await.unwrap().size, 0);
    assert_eq!(read(&lake, "main", "empty").await.unwrap(), "");
}

#[tokio::test]
async fn whatever_breaks_a_completion_off_its_repetition_finishes_it() {
    for fault in [Fault::LostAnswer, Fault::LostRequest, Fault::CrashBefore, Fault::CrashBehind] {
        for nth in 1.. {
            let (kv, lake) = lake().await;
            let target = begin(&lake, "main", "m").await;
            let parts = [
                put_part(&lake, &target, 1, "one").await.unwrap(),
                put_part(&lake, &target, 2, "two").await.unwrap(),
            ];
            kv.plan(nth, Some(fault), None);
            let first = complete(&lake, &target, &completion(&parts)).await;
            let met = kv.heal();
            // As after a restart.
            let lake = Lake::again(kv.clone(), lake.catalog.blocks().clone(), lake.repo.clone(), 11);
            let entry = complete(&lake, &target, &completion(&parts)).await;
            let entry = entry.unwrap_or_else(|error| panic!("{fault:?} at {nth}: {error}"));
            if let Ok(first) = first {
                assert_eq!(first, entry, "{fault:?} at {nth}");
            }
            assert_eq!(read(&lake, "main", "m").await.unwrap(), "onetwo", "{fault:?} at {nth}");
            assert_eq!(uploads(&lake).await, [""; 0]);
            if !met {
                assert!(nth > 2, "a completion turns its row and links");
                break;
            }
        }
    }
}

#[tokio::test]
async fn either_the_abort_or_the_completion_wins() {
    for nth in 1.. {
        let (kv, lake) = lake().await;
        let target = begin(&lake, "main", "m").await;
        let part = put_part(&lake, &target, 1, "one").await.unwrap();
        let aborted: Arc<Mutex<Option<Result<(), CatalogError>>>> = Arc::default();
        let abort = {
            let (catalog, target, aborted) = (lake.catalog.clone(), target.clone(), aborted.clone());
            Box::pin(async move {
                let result = catalog.abort_upload(&target).await;
                *aborted.lock() = Some(result);
            })
        };
        kv.plan(nth, None, Some(abort));
        let completed = complete(&lake, &target, &completion(&[part])).await;
        if !kv.heal() {
            break;
        }
        let aborted = aborted.lock().take().unwrap();
        match (&completed, &aborted) {
            (Ok(_), Err(error)) | (Err(error), Ok(())) => {
                assert_eq!(error.kind(), ErrorKind::UploadNotFound, "at {nth}");
            }
            _ => panic!("at {nth}: {completed:?} {aborted:?}"),
        }
        assert_eq!(read(&lake, "main", "m").await.is_some(), completed.is_ok(), "at {nth}");
        assert_eq!(uploads(&lake).await, [""; 0]);
    }
}

#[tokio::test]
async fn completions_at_once_answer_the_same() {
    for nth in 1..=2 {
        let (kv, lake) = lake().await;
        let target = begin(&lake, "main", "m").await;
        let part = put_part(&lake, &target, 1, "one").await.unwrap();
        let with = completion(&[part]);
        // Another server's, in between; this server's own wait for each other.
        let other = Lake::again(kv.clone(), lake.catalog.blocks().clone(), lake.repo.clone(), 11);
        let between = {
            let (target, with) = (target.clone(), with.clone());
            Box::pin(async move {
                complete(&other, &target, &with).await.unwrap();
            })
        };
        kv.plan(nth, None, Some(between));
        let all = futures::future::join_all((0..4).map(|_| complete(&lake, &target, &with))).await;
        let entries: Vec<Entry> = all.into_iter().map(Result::unwrap).collect();
        assert!(entries.windows(2).all(|pair| pair[0] == pair[1]), "{entries:?}");
    }
}

#[tokio::test]
async fn a_completion_that_began_stays_the_only_one_until_it_is_aborted() {
    let (kv, lake) = lake().await;
    let target = begin(&lake, "main", "m").await;
    let parts = [
        put_part(&lake, &target, 1, "one").await.unwrap(),
        put_part(&lake, &target, 2, "two").await.unwrap(),
    ];
    // The store has joined them, the link did not happen.
    kv.plan(2, Some(Fault::CrashBefore), None);
    complete(&lake, &target, &completion(&parts)).await.unwrap_err();
    assert!(kv.heal());
    assert_eq!(kind(complete(&lake, &target, &completion(&parts[..1])).await), ErrorKind::Conflict);
    assert_eq!(kind(put_part(&lake, &target, 1, "other").await), ErrorKind::UploadNotFound);
    assert_eq!(uploads(&lake).await, ["main/m"]);
    lake.catalog.abort_upload(&target).await.unwrap();
    assert_eq!(kind(complete(&lake, &target, &completion(&parts)).await), ErrorKind::UploadNotFound);
    assert_eq!(read(&lake, "main", "m").await, None);
}

#[tokio::test]
async fn a_precondition_is_checked_in_the_link_itself() {
    let (kv, lake) = lake().await;
    let target = begin(&lake, "main", "m").await;
    let part = put_part(&lake, &target, 1, "one").await.unwrap();
    let with = Completion { precondition: Precondition::Absent, ..completion(&[part]) };
    let between = {
        let (catalog, repo) = (lake.catalog.clone(), lake.repo.clone());
        Box::pin(async move {
            catalog.put_bytes(&repo, &branch("main"), &path("m"), "", "first".into()).await.unwrap();
        })
    };
    // Behind the turn, before the link.
    kv.plan(2, None, Some(between));
    assert_eq!(kind(complete(&lake, &target, &with).await), ErrorKind::PreconditionFailed);
    assert_eq!(read(&lake, "main", "m").await.unwrap(), "first");
    let unconditional = Completion { precondition: Precondition::None, ..with };
    complete(&lake, &target, &unconditional).await.unwrap();
    assert_eq!(read(&lake, "main", "m").await.unwrap(), "one");
}

#[tokio::test]
async fn an_upload_counts_for_its_own_object_only() {
    let (_, lake) = lake().await;
    lake.create_branch("dev", "main").await.unwrap();
    let target = begin(&lake, "main", "m").await;
    for other in [
        self::target(&lake, "main", "other", &target.id),
        self::target(&lake, "dev", "m", &target.id),
        self::target(&lake, "main", "m", "0"),
    ] {
        assert_eq!(kind(put_part(&lake, &other, 1, "x").await), ErrorKind::UploadNotFound);
        assert_eq!(kind(lake.catalog.list_parts(&other, 0, 10).await), ErrorKind::UploadNotFound);
        assert_eq!(kind(lake.catalog.abort_upload(&other).await), ErrorKind::UploadNotFound);
        let part = CompletedPart { number: 1, etag: String::new() };
        assert_eq!(kind(complete(&lake, &other, &completion(&[part])).await), ErrorKind::UploadNotFound);
    }
}

#[tokio::test]
async fn a_branch_taken_again_is_another_branch() {
    let (_, lake) = lake().await;
    lake.create_branch("dev", "main").await.unwrap();
    let target = begin(&lake, "dev", "m").await;
    let part = put_part(&lake, &target, 1, "one").await.unwrap();
    let ticket = lake
        .catalog
        .begin_write(&lake.repo, &branch("dev"), &path("p"), Precondition::None, false)
        .await
        .unwrap();
    lake.catalog.delete_branch(&lake.repo, &branch("dev"), false).await.unwrap();
    let with = completion(&[part]);
    assert_eq!(kind(complete(&lake, &target, &with).await), ErrorKind::BranchNotFound);
    lake.create_branch("dev", "main").await.unwrap();
    assert_eq!(kind(complete(&lake, &target, &with).await), ErrorKind::BranchNotFound);
    assert_eq!(kind(lake.catalog.link(ticket, draft("late")).await), ErrorKind::BranchNotFound);
    assert_eq!(lake.list("dev").await.unwrap(), []);
    // It can still be dropped.
    assert_eq!(uploads(&lake).await, ["dev/m"]);
    lake.catalog.abort_upload(&target).await.unwrap();
}

#[tokio::test]
async fn what_a_completion_names_is_checked_before_anything_changes() {
    let (_, lake) = lake().await;
    let target = begin(&lake, "main", "m").await;
    let one = put_part(&lake, &target, 1, "one").await.unwrap();
    let two = put_part(&lake, &target, 2, "2").await.unwrap();
    let named = |number, etag: &str| CompletedPart { number, etag: etag.to_owned() };
    for (parts, expected) in [
        (vec![], ErrorKind::Invalid),
        (vec![two.clone(), one.clone()], ErrorKind::InvalidPartOrder),
        (vec![one.clone(), one.clone()], ErrorKind::InvalidPartOrder),
        (vec![named(1, &two.etag)], ErrorKind::InvalidPart),
        (vec![one.clone(), named(3, &one.etag)], ErrorKind::InvalidPart),
    ] {
        assert_eq!(kind(complete(&lake, &target, &completion(&parts)).await), expected);
    }
    let both = Completion { least_part_bytes: 4, ..completion(&[one.clone(), two]) };
    match complete(&lake, &target, &both).await {
        Err(CatalogError::PartTooSmall { number: 1, size: 3, least: 4, etag }) => assert_eq!(etag, one.etag),
        other => panic!("{other:?}"),
    }
    let refused = lake
        .catalog
        .complete_upload(&target, &completion(&both.parts), |_, parts| {
            assert_eq!(parts.iter().map(|part| part.size).collect::<Vec<_>>(), [3, 1]);
            Err::<BTreeMap<_, _>, _>(CatalogError::refused(ErrorKind::Invalid, "no"))
        })
        .await;
    assert_eq!(kind(refused), ErrorKind::Invalid);
    let both = Completion { least_part_bytes: 3, ..both };
    complete(&lake, &target, &both).await.unwrap();
}

#[tokio::test]
async fn what_forbids_a_completion_is_said_before_what_is_wrong_with_its_parts() {
    let (_, lake) = lake().await;
    lake.put("main", "m", "there").await.unwrap();
    let target = begin(&lake, "main", "m").await;
    let wrong = CompletedPart { number: 1, etag: "none".to_owned() };
    let with = Completion { precondition: Precondition::Absent, ..completion(&[wrong]) };
    assert_eq!(kind(complete(&lake, &target, &with).await), ErrorKind::PreconditionFailed);
}

#[tokio::test]
async fn outcomes_are_remembered_for_a_day_and_uploads_for_a_week() {
    let (_, lake) = lake().await;
    let done = begin(&lake, "main", "done").await;
    let part = put_part(&lake, &done, 1, "x").await.unwrap();
    let lying = begin(&lake, "main", "lying").await;
    put_part(&lake, &lying, 1, "x").await.unwrap();
    lake.clock.advance_millis(6 * DAY_MILLIS + DAY_MILLIS / 2);
    let with = completion(&[part]);
    complete(&lake, &done, &with).await.unwrap();
    lake.catalog.sweep_once().await.unwrap();
    assert_eq!(uploads(&lake).await, ["main/lying"]);
    lake.clock.advance_millis(DAY_MILLIS / 2 + 1);
    lake.catalog.sweep_once().await.unwrap();
    assert_eq!(uploads(&lake).await, [""; 0]);
    assert_eq!(kind(put_part(&lake, &lying, 2, "x").await), ErrorKind::UploadNotFound);
    // A week after it was begun, but not a day after it was completed.
    complete(&lake, &done, &with).await.unwrap();
    lake.clock.advance_millis(DAY_MILLIS);
    lake.catalog.sweep_once().await.unwrap();
    assert_eq!(kind(complete(&lake, &done, &with).await), ErrorKind::UploadNotFound);
    assert_eq!(read(&lake, "main", "done").await.unwrap(), "x");
}

#[tokio::test]
async fn an_abort_that_broke_off_is_finished_by_the_sweeper() {
    for fault in [Fault::CrashBehind, Fault::LostAnswer] {
        let (kv, lake) = lake().await;
        let target = begin(&lake, "main", "m").await;
        let part = put_part(&lake, &target, 1, "x").await.unwrap();
        kv.plan(1, Some(fault), None);
        lake.catalog.abort_upload(&target).await.unwrap_err();
        assert!(kv.heal());
        assert_eq!(kind(complete(&lake, &target, &completion(&[part])).await), ErrorKind::UploadNotFound);
        let rows = || async { kv.scan(&KeyRange::prefix(b"v"), 10).await.unwrap().len() };
        assert_eq!(rows().await, 1);
        lake.clock.advance_millis(DAY_MILLIS + 1);
        lake.catalog.sweep_once().await.unwrap();
        assert_eq!(rows().await, 0);
        for noun in [b"u", b"i", b"x"] {
            assert_eq!(kv.scan(&KeyRange::prefix(noun), 10).await.unwrap().len(), usize::from(noun == b"x"));
        }
    }
}

#[tokio::test]
async fn uploads_are_listed_by_key_then_by_age() {
    let (_, lake) = lake().await;
    lake.create_branch("dev", "main").await.unwrap();
    let mut ids = Vec::new();
    for at in ["b", "a", "a", "a/b"] {
        ids.push(begin(&lake, "main", at).await.id);
        lake.clock.advance_millis(1);
    }
    begin(&lake, "dev", "z").await;
    let page = |prefix: &str, after: &str, after_id: Option<&String>, amount| {
        let request = UploadsRequest {
            prefix: prefix.to_owned(),
            after: after.to_owned(),
            after_id: after_id.cloned(),
            amount,
        };
        let (catalog, repo) = (lake.catalog.clone(), lake.repo.clone());
        async move {
            let (uploads, more) = catalog.list_uploads(&repo, &request).await.unwrap();
            (uploads.into_iter().map(|upload| upload.id).collect::<Vec<_>>(), more)
        }
    };
    let in_order = [&ids[1], &ids[2], &ids[3], &ids[0]].map(String::clone);
    assert_eq!(page("main/", "", None, 10).await, (in_order.to_vec(), false));
    assert_eq!(page("main/", "", None, 2).await, (in_order[..2].to_vec(), true));
    assert_eq!(page("main/", "main/a", Some(&ids[1]), 1).await, (in_order[1..2].to_vec(), true));
    assert_eq!(page("main/", "main/a", None, 10).await, (in_order[2..].to_vec(), false));
    assert_eq!(page("main/a/", "", None, 4).await, (in_order[2..3].to_vec(), false));
    assert_eq!(page("main/x", "", None, 4).await, (vec![], false));
    assert_eq!(page("", "dev/z", None, 4).await, (in_order.to_vec(), false));
}

#[tokio::test]
async fn conditions_hold_together_or_one_for_all() {
    use Precondition::{Absent, All, Any, Differs, Exists, Matches, ModifiedAt, Size};
    let (_, lake) = lake().await;
    lake.put("main", "there", "etag").await.unwrap();
    let check = async |at: &str, precondition| {
        let begun =
            lake.catalog.begin_write(&lake.repo, &branch("main"), &path(at), precondition, false).await;
        begun.map(drop).map_err(|error| error.kind())
    };
    let etag = |text: &str| Matches(text.to_owned());
    let now = lake.catalog.clock().now().secs();
    for (condition, on_there, on_absent) in [
        (All(vec![Exists, Differs("x".into())]), Ok(()), Err(ErrorKind::ObjectNotFound)),
        (All(vec![Exists, Absent]), Err(ErrorKind::PreconditionFailed), Err(ErrorKind::ObjectNotFound)),
        (Any(vec![etag("x"), etag("etag")]), Ok(()), Err(ErrorKind::ObjectNotFound)),
        (Any(vec![etag("x"), etag("y")]), Err(ErrorKind::PreconditionFailed), Err(ErrorKind::ObjectNotFound)),
        (Size(4), Ok(()), Err(ErrorKind::ObjectNotFound)),
        (Size(5), Err(ErrorKind::PreconditionFailed), Err(ErrorKind::ObjectNotFound)),
        (ModifiedAt(now), Ok(()), Err(ErrorKind::ObjectNotFound)),
        (ModifiedAt(now + 1), Err(ErrorKind::PreconditionFailed), Err(ErrorKind::ObjectNotFound)),
        (All(vec![]), Ok(()), Ok(())),
    ] {
        assert_eq!(check("there", condition.clone()).await, on_there, "{condition:?}");
        assert_eq!(check("absent", condition.clone()).await, on_absent, "{condition:?}");
    }
}
