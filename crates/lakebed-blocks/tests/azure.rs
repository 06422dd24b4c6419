//! The conformance suite on Azure Blob Storage. `make test-stores` starts an emulator and says where it is.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use base64::Engine;
use lakebed_blocks::{AzureStore, AzureStoreConfig, BlockAddress, BlockStore, Sources, conformance};

const NAMESPACE: &str = "https://devstoreaccount1.blob.core.windows.net/suite/main";

fn store() -> AzureStore {
    let variable =
        |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: make test-stores"));
    let key = base64::engine::general_purpose::STANDARD.decode(variable("LAKEBED_TEST_AZURE_KEY")).unwrap();
    let config = AzureStoreConfig {
        endpoint: Some(variable("LAKEBED_TEST_AZURE_ENDPOINT")),
        account: Some("devstoreaccount1".to_owned()),
        key: Some(key),
        ..AzureStoreConfig::default()
    };
    AzureStore::open(config, Sources::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a service: make test-stores"]
async fn the_suite() {
    conformance::run_all(Arc::new(store()), NAMESPACE).await;
    conformance::large_bodies(Arc::new(store()), NAMESPACE).await;
}

/// The service goes on by markers of its own; after any blob the list must go on all the same.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a service: make test-stores"]
async fn lists_go_on_with_and_without_a_marker() {
    let (one, other) = (store(), store());
    let at = |n: u32| BlockAddress::new(format!("{NAMESPACE}/markers/{n:03}"));
    for n in 0..25 {
        one.put_bytes(&at(n), "x".into(), lakebed_blocks::PutOptions::default()).await.unwrap();
    }
    let prefix = BlockAddress::new(format!("{NAMESPACE}/markers/"));
    for store in [&one, &other] {
        let mut found = Vec::new();
        while let page = store.list(&prefix, found.last(), 4).await.unwrap()
            && !page.is_empty()
        {
            found.extend(page.into_iter().map(|info| info.address));
        }
        assert_eq!(found, (0..25).map(at).collect::<Vec<_>>());
    }
    let page = other.list(&prefix, Some(&at(11)), 2).await.unwrap();
    assert_eq!(page.into_iter().map(|info| info.address).collect::<Vec<_>>(), [at(12), at(13)]);
}
