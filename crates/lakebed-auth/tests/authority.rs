//! Setup, credentials and tokens over the engine in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

use std::sync::Arc;

use lakebed_auth::{Auth, AuthConfig, AuthError, Permission, SetupState};
use lakebed_core::{ManualClock, SeededEntropy, Timestamp};
use lakebed_kv::{Kv, MemKv, Transaction};

fn auth(kv: &Arc<MemKv>, clock: &Arc<ManualClock>, secret: &[u8], seed: u64) -> Auth {
    Auth::new(AuthConfig {
        kv: kv.clone(),
        clock: clock.clone(),
        entropy: Arc::new(SeededEntropy::new(seed)),
        secret_key: secret.to_vec(),
        login_duration_secs: 60,
    })
}

fn parts() -> (Arc<MemKv>, Arc<ManualClock>) {
    (Arc::new(MemKv::new()), Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000))))
}

#[tokio::test]
async fn of_many_setups_one_succeeds_and_its_pair_works() {
    let (kv, clock) = parts();
    let auth = auth(&kv, &clock, b"secret", 1);
    assert_eq!(auth.setup_state().await.unwrap(), SetupState::NotInitialized);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let auth = auth.clone();
        tasks.spawn(async move { auth.setup(&format!("admin{n}"), None).await });
    }
    let mut won = Vec::new();
    while let Some(result) = tasks.join_next().await {
        match result.unwrap() {
            Ok(credentials) => won.push(credentials),
            Err(error) => assert!(matches!(error, AuthError::AlreadyInitialized)),
        }
    }
    let [pair] = &won[..] else { panic!("{} setups succeeded", won.len()) };
    assert!(pair.access_key_id.starts_with("AKIA") && pair.access_key_id.len() == 20);
    assert_eq!(pair.secret_access_key.len(), 40);
    let principal = auth.authenticate_key(&pair.access_key_id, &pair.secret_access_key).await.unwrap();
    let allowed =
        Permission { action: "fs:CreateRepository", resource: "arn:lakefs:fs:::repository/x".into() };
    principal.authorize(&allowed).unwrap();
    let other = Permission { action: "admin:Login", ..allowed };
    assert!(matches!(principal.authorize(&other), Err(AuthError::Denied { .. })));
}

#[tokio::test]
async fn wrong_pairs_are_all_the_same_error() {
    let (kv, clock) = parts();
    let auth = auth(&kv, &clock, b"secret", 1);
    auth.setup("admin", Some(("KEYID".into(), "longsecret:with:colons".into()))).await.unwrap();
    auth.authenticate_key("KEYID", "longsecret:with:colons").await.unwrap();
    let long = "x".repeat(10_000);
    for (id, secret) in
        [("KEYID", "wrong"), ("KEYID", ""), ("OTHER", "longsecret:with:colons"), ("", ""), (&long, "x")]
    {
        assert!(matches!(auth.authenticate_key(id, secret).await, Err(AuthError::Unauthenticated)));
    }
    for (id, secret) in
        [("a:b", "longsecret"), ("ab", "longsecret"), ("KEYID2", "short"), ("KEYID2", "with blank here")]
    {
        let (kv, clock) = parts();
        let result = self::auth(&kv, &clock, b"s", 2).setup("admin", Some((id.into(), secret.into()))).await;
        assert!(matches!(result, Err(AuthError::Invalid(_))), "{id} {secret}");
    }
}

#[tokio::test]
async fn secrets_are_stored_encrypted_and_deleted_ones_stop_at_once() {
    let (kv, clock) = parts();
    let auth = self::auth(&kv, &clock, b"secret", 1);
    auth.setup("admin", Some(("KEYID".into(), "verysecretsecret".into()))).await.unwrap();
    let row = kv.get(b"auth/credentials/KEYID").await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&row.value).contains("verysecret"));
    auth.authenticate_key("KEYID", "verysecretsecret").await.unwrap();
    let wrong_key = self::auth(&kv, &clock, b"another", 1);
    assert!(matches!(wrong_key.authenticate_key("KEYID", "x").await, Err(AuthError::WrongKey)));
    kv.transact(Transaction::new().delete("auth/credentials/KEYID")).await.unwrap();
    assert!(matches!(
        auth.authenticate_key("KEYID", "verysecretsecret").await,
        Err(AuthError::Unauthenticated)
    ));
}

#[tokio::test]
async fn tokens_expire_and_belong_to_one_installation() {
    let (kv, clock) = parts();
    let auth = self::auth(&kv, &clock, b"secret", 1);
    auth.setup("admin", Some(("KEYID".into(), "verysecretsecret".into()))).await.unwrap();
    let (token, expires) = auth.login("KEYID", "verysecretsecret").await.unwrap();
    assert_eq!(expires, Timestamp::from_secs(1_800_000_060));
    assert_eq!(auth.authenticate_token(&token).await.unwrap().user_id, "admin");
    assert_eq!(
        auth.installation_id().await.unwrap(),
        self::auth(&kv, &clock, b"x", 5).installation_id().await.unwrap()
    );
    let (other_kv, _) = parts();
    let other = self::auth(&other_kv, &clock, b"secret", 9);
    other.setup("admin", None).await.unwrap();
    assert!(matches!(other.authenticate_token(&token).await, Err(AuthError::Unauthenticated)));
    clock.advance_millis(60_000);
    assert!(matches!(auth.authenticate_token(&token).await, Err(AuthError::Unauthenticated)));
}
