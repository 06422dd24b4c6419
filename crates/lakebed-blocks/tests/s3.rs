//! The conformance suite on an S3 service. `make test-stores` starts one and says where it is.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use lakebed_blocks::{
    BlockAddress, BlockStore, PresignedGet, S3Credentials, S3Store, S3StoreConfig, Sources, conformance,
};

async fn store() -> S3Store {
    let variable =
        |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: make test-stores"));
    let config = S3StoreConfig {
        region: Some("us-east-1".to_owned()),
        credentials: Some(S3Credentials {
            access_key: variable("LAKEBED_TEST_S3_ACCESS_KEY"),
            secret_key: variable("LAKEBED_TEST_S3_SECRET_KEY"),
            session_token: None,
        }),
        endpoint: Some(variable("LAKEBED_TEST_S3_ENDPOINT")),
        path_style: true,
        ..S3StoreConfig::default()
    };
    S3Store::open(config, Sources::default()).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an S3 service: make test-stores"]
async fn the_suite() {
    let store = Arc::new(store().await);
    if std::env::var_os("LAKEBED_TEST_S3_LAX").is_some() {
        conformance::run_most(store, "s3://suite/main").await;
    } else {
        conformance::run_all(store, "s3://suite/main").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an S3 service: make test-stores"]
async fn large_bodies() {
    conformance::large_bodies(Arc::new(store().await), "s3://suite/main").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an S3 service: make test-stores"]
async fn uploads_that_wait() {
    // Our own door lists uploads by branch.
    if std::env::var_os("LAKEBED_TEST_S3_OURS").is_none() {
        conformance::waiting_uploads_are_found(Arc::new(store().await), "s3://suite/main").await;
    }
}

/// Signed URLs name what they were asked for; a real client uses them in the black-box suite.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an S3 service: make test-stores"]
async fn presigned_urls() {
    let store = store().await;
    let (address, life) = (BlockAddress::new("s3://suite/main/a b"), Duration::from_mins(1));
    let wanted = PresignedGet { disposition: Some("attachment".to_owned()), content_type: None };
    let url = store.presign_get(&address, &wanted, life).await.unwrap();
    assert!(
        url.contains("/suite/main/a%20b?") && url.contains("response-content-disposition=attachment"),
        "{url}"
    );
    assert!(url.contains("X-Amz-Expires=60") && url.contains("X-Amz-Signature="), "{url}");
    let url = store.presign_part(&address, "u", 3, life).await.unwrap();
    assert!(url.contains("partNumber=3") && url.contains("uploadId=u"), "{url}");
    assert!(store.presign_put(&address, life).await.unwrap().contains("X-Amz-Signature="));
}
