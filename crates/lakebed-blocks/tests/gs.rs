//! The conformance suite on Google Cloud Storage. `make test-stores` starts an emulator and says where it is.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use lakebed_blocks::{
    BlockAddress, BlockStore, GsCredentials, GsStore, GsStoreConfig, PresignedGet, Sources, conformance,
};

fn store() -> GsStore {
    let variable =
        |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: make test-stores"));
    let config = GsStoreConfig {
        endpoint: Some(variable("LAKEBED_TEST_GS_ENDPOINT")),
        credentials: GsCredentials::Json(variable("LAKEBED_TEST_GS_CREDENTIALS")),
        ..GsStoreConfig::default()
    };
    GsStore::open(config, Sources::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a service: make test-stores"]
async fn the_suite() {
    conformance::run_all(Arc::new(store()), "gs://suite/main").await;
    conformance::waiting_uploads_are_found(Arc::new(store()), "gs://suite/main").await;
    conformance::large_bodies(Arc::new(store()), "gs://suite/main").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a service: make test-stores"]
async fn presigned_urls_name_what_they_allow() {
    let store = store();
    let address = BlockAddress::new("gs://suite/main/a b");
    let wanted = PresignedGet { disposition: Some("attachment".to_owned()), content_type: None };
    let url = store.presign_get(&address, &wanted, Duration::from_mins(1)).await.unwrap();
    assert!(url.contains("/suite/main/a%20b?") && url.contains("X-Goog-Expires=60"), "{url}");
    assert!(url.contains("response-content-disposition=attachment") && url.contains("&X-Goog-Signature="));
}
