//! Tasks: they end once, whoever ends them; one that was ended by another never publishes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use std::sync::Arc;

use lakebed_catalog::{CommitRequest, ErrorKind, MergeRequest, Task, TaskKind, TaskResult, TaskState};
use lakebed_core::ObjectName;
use lakebed_kv::Kv;
use support::narrow::NarrowKv;
use support::{Gate, Lake, branch, expr};

fn message(text: &str) -> CommitRequest {
    CommitRequest { message: text.to_owned(), ..CommitRequest::default() }
}

async fn task(lake: &Lake, kind: TaskKind, id: &ObjectName) -> Task {
    lake.catalog.task(&lake.repo, kind, &id.to_string()).await.unwrap()
}

/// Waits until a task has ended. Nothing but tasks runs meanwhile, so turns are enough.
async fn ended(lake: &Lake, kind: TaskKind, id: &ObjectName) -> TaskState {
    for _ in 0..10_000 {
        match task(lake, kind, id).await.state {
            TaskState::Running => tokio::task::yield_now().await,
            state => return state,
        }
    }
    panic!("{id} does not end");
}

fn failed(state: TaskState) -> (ErrorKind, String) {
    match state {
        TaskState::Failed { kind, message } => (kind, message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_commit_in_the_background_is_the_commit() {
    let lake = Lake::new().await;
    lake.put("main", "a", "1").await.unwrap();
    let id = lake.catalog.submit_commit(&lake.repo, &branch("main"), message("m")).await.unwrap();
    let TaskState::Done(TaskResult::Commit(made)) = ended(&lake, TaskKind::Commit, &id).await else {
        panic!("not done");
    };
    let head = lake.catalog.resolve(&lake.repo, &expr("main")).await.unwrap();
    assert_eq!((head.id, head.message.as_str()), (made, "m"));
    assert!(lake.uncommitted("main").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_a_commit_refuses_its_task_says() {
    let lake = Lake::new().await;
    let id = lake.catalog.submit_commit(&lake.repo, &branch("main"), message("m")).await.unwrap();
    let (kind, text) = failed(ended(&lake, TaskKind::Commit, &id).await);
    assert_eq!((kind, text.as_str()), (ErrorKind::NoChanges, "commit: no changes"));
    lake.put("main", "a", "1").await.unwrap();
    lake.catalog.set_branch_protection(&lake.repo, &["main".to_owned()], None).await.unwrap();
    let id = lake.catalog.submit_commit(&lake.repo, &branch("main"), message("m")).await.unwrap();
    assert_eq!(failed(ended(&lake, TaskKind::Commit, &id).await).0, ErrorKind::Protected);
    let none = lake.catalog.submit_commit(&lake.repo, &branch("none"), message("m")).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::BranchNotFound);
}

#[tokio::test]
async fn a_merge_in_the_background_says_its_conflicts() {
    let lake = Lake::new().await;
    lake.create_branch("dev", "main").await.unwrap();
    for on in ["main", "dev"] {
        lake.put(on, "a", on).await.unwrap();
        lake.commit(on, "a").await.unwrap();
    }
    let merge = async |request| {
        let (repo, source, into) = (&lake.repo, expr("dev"), branch("main"));
        let id = lake.catalog.submit_merge(repo, &source, &into, request).await.unwrap();
        ended(&lake, TaskKind::Merge, &id).await
    };
    let (kind, text) = failed(merge(MergeRequest::default()).await);
    assert_eq!(kind, ErrorKind::MergeConflict);
    assert!(text.contains("conflict found"), "{text}");
    let strategy = lakebed_catalog::MergeStrategy::SourceWins;
    let done = merge(MergeRequest { strategy, ..MergeRequest::default() }).await;
    let head = lake.catalog.resolve(&lake.repo, &expr("main")).await.unwrap();
    assert_eq!(done, TaskState::Done(TaskResult::Commit(head.id)));
    assert_eq!(lake.content("main", "a").await.as_deref(), Some("dev"));
}

#[tokio::test]
async fn a_task_is_known_at_once_and_only_as_what_it_is() {
    let lake = Lake::new().await;
    lake.put("main", "a", "1").await.unwrap();
    let id = lake.catalog.submit_commit(&lake.repo, &branch("main"), message("m")).await.unwrap();
    // Nothing had its turn yet.
    let running = task(&lake, TaskKind::Commit, &id).await;
    assert_eq!((running.state, running.branch.as_str()), (TaskState::Running, "main"));
    for (kind, id) in [(TaskKind::Merge, id.to_string()), (TaskKind::Commit, "x".to_owned())] {
        let error = lake.catalog.task(&lake.repo, kind, &id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn an_ended_task_is_forgotten_after_a_day() {
    let lake = Lake::new().await;
    let id = lake.catalog.submit_commit(&lake.repo, &branch("main"), message("m")).await.unwrap();
    ended(&lake, TaskKind::Commit, &id).await;
    lake.clock.advance_millis(24 * 3600 * 1000);
    lake.catalog.sweep_once().await.unwrap();
    task(&lake, TaskKind::Commit, &id).await;
    lake.clock.advance_millis(1);
    let gone = async || lake.catalog.task(&lake.repo, TaskKind::Commit, &id.to_string()).await.unwrap_err();
    assert_eq!(gone().await.kind(), ErrorKind::NotFound, "also before it is swept");
    lake.catalog.sweep_once().await.unwrap();
    assert_eq!(gone().await.kind(), ErrorKind::NotFound);
}

/// A lake whose publishes wait at a gate.
async fn gated() -> (Lake, Arc<Gate>) {
    let gate = Gate::new(Arc::new(NarrowKv::default()));
    (Lake::over(gate.clone(), 7).await, gate)
}

const LIMIT_MILLIS: i64 = 20 * 60 * 1000;

#[tokio::test]
async fn a_task_without_a_sign_of_life_expires_and_never_publishes() {
    let (lake, gate) = gated().await;
    lake.put("main", "a", "1").await.unwrap();
    let before = lake.catalog.resolve(&lake.repo, &expr("main")).await.unwrap();
    gate.close();
    let id = lake.catalog.submit_commit(&lake.repo, &branch("main"), message("late")).await.unwrap();
    gate.reached().await;
    lake.clock.advance_millis(LIMIT_MILLIS);
    assert_eq!(task(&lake, TaskKind::Commit, &id).await.state, TaskState::Running);
    lake.clock.advance_millis(1);
    let (kind, text) = failed(task(&lake, TaskKind::Commit, &id).await.state);
    assert_eq!(kind, ErrorKind::Expired);
    assert!(text.starts_with("Operation expired"), "{text}");
    gate.open();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(lake.catalog.resolve(&lake.repo, &expr("main")).await.unwrap().id, before.id);
    assert_eq!(lake.uncommitted("main").await.unwrap().len(), 1, "what was staged stays staged");
}

#[tokio::test]
async fn signs_of_life_keep_a_task_and_show_its_progress() {
    let (lake, gate) = gated().await;
    lake.put("main", "a", "1").await.unwrap();
    gate.close();
    let id = lake.catalog.submit_commit(&lake.repo, &branch("main"), message("slow")).await.unwrap();
    gate.reached().await;
    for _ in 0..3 {
        lake.clock.advance_millis(LIMIT_MILLIS);
        lake.catalog.beat_once().await.unwrap();
        lake.catalog.sweep_once().await.unwrap();
    }
    assert_eq!(task(&lake, TaskKind::Commit, &id).await.updated, lakebed_core::Clock::now(&*lake.clock));
    gate.open();
    assert!(matches!(ended(&lake, TaskKind::Commit, &id).await, TaskState::Done(_)));
}

#[tokio::test]
async fn what_an_earlier_life_left_running_fails_at_once_and_cannot_publish() {
    let (lake, gate) = gated().await;
    lake.put("main", "a", "1").await.unwrap();
    gate.close();
    let id = lake.catalog.submit_commit(&lake.repo, &branch("main"), message("orphan")).await.unwrap();
    gate.reached().await;
    let kv: Arc<dyn Kv> = gate.clone();
    let next = Lake::again(kv, lake.catalog.blocks().clone(), lake.repo.clone(), 9);
    next.catalog.abandon_orphans().await.unwrap();
    let (kind, text) = failed(task(&next, TaskKind::Commit, &id).await.state);
    assert_eq!(kind, ErrorKind::Expired);
    assert!(text.contains("submit it again"), "{text}");
    // The earlier life is not as dead as it was thought.
    gate.open();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(next.log("main").await, ["Repository created"]);
    let own = next.catalog.submit_commit(&next.repo, &branch("main"), message("own")).await.unwrap();
    next.catalog.abandon_orphans().await.unwrap();
    assert!(matches!(ended(&next, TaskKind::Commit, &own).await, TaskState::Done(_)), "its own go on");
}

#[tokio::test]
async fn more_tasks_than_a_server_takes_are_refused() {
    let (lake, gate) = gated().await;
    lake.put("main", "a", "1").await.unwrap();
    gate.close();
    let submit = async || lake.catalog.submit_commit(&lake.repo, &branch("main"), message("m")).await;
    let mut taken = Vec::new();
    let refused = loop {
        match submit().await {
            Ok(id) => taken.push(id),
            Err(error) => break error,
        }
    };
    assert_eq!((refused.kind(), taken.len()), (ErrorKind::Busy, 128));
    gate.open();
    for id in &taken {
        ended(&lake, TaskKind::Commit, id).await;
    }
    submit().await.unwrap();
}

#[tokio::test]
async fn a_branch_of_the_same_name_is_not_the_one_meant() {
    let (lake, gate) = gated().await;
    lake.create_branch("dev", "main").await.unwrap();
    // Eight tasks hold the places, so the one that counts waits.
    lake.put("main", "a", "1").await.unwrap();
    gate.close();
    for _ in 0..8 {
        lake.catalog.submit_commit(&lake.repo, &branch("main"), message("m")).await.unwrap();
    }
    gate.reached().await;
    let id = lake.catalog.submit_commit(&lake.repo, &branch("dev"), message("m")).await.unwrap();
    lake.catalog.delete_branch(&lake.repo, &branch("dev"), false).await.unwrap();
    lake.create_branch("dev", "main").await.unwrap();
    lake.put("dev", "b", "1").await.unwrap();
    gate.open();
    assert_eq!(failed(ended(&lake, TaskKind::Commit, &id).await).0, ErrorKind::BranchNotFound);
    assert_eq!(lake.uncommitted("dev").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_that_stops_lets_its_tasks_end() {
    let lake = Lake::new().await;
    lake.put("main", "a", "1").await.unwrap();
    let id = lake.catalog.submit_commit(&lake.repo, &branch("main"), message("m")).await.unwrap();
    lake.catalog.close().await;
    assert!(matches!(task(&lake, TaskKind::Commit, &id).await.state, TaskState::Done(_)));
    let late = lake.catalog.submit_commit(&lake.repo, &branch("main"), message("m")).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Busy);
}

#[tokio::test]
async fn a_server_that_stops_ends_the_tasks_it_cannot_wait_for() {
    let (lake, gate) = gated().await;
    lake.put("main", "a", "1").await.unwrap();
    gate.close();
    let id = lake.catalog.submit_commit(&lake.repo, &branch("main"), message("m")).await.unwrap();
    gate.reached().await;
    lake.catalog.close_within(std::time::Duration::ZERO).await;
    assert_eq!(failed(task(&lake, TaskKind::Commit, &id).await.state).0, ErrorKind::Expired);
    gate.open();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(lake.log("main").await, ["Repository created"]);
}
