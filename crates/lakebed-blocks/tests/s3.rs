//! The conformance suite on an S3 service. `make test-stores` starts one and says where it is.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use lakebed_blocks::{
    BlockAddress, BlockStore, PresignedGet, PutOptions, S3Credentials, S3Store, S3StoreConfig, conformance,
};

async fn store() -> S3Store {
    let variable =
        |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: make test-stores"));
    S3Store::open(S3StoreConfig {
        region: Some("us-east-1".to_owned()),
        credentials: Some(S3Credentials {
            access_key: variable("LAKEBED_TEST_S3_ACCESS_KEY"),
            secret_key: variable("LAKEBED_TEST_S3_SECRET_KEY"),
            session_token: None,
        }),
        endpoint: Some(variable("LAKEBED_TEST_S3_ENDPOINT")),
        path_style: true,
        ..S3StoreConfig::default()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an S3 service: make test-stores"]
async fn the_suite() {
    let store = Arc::new(store().await);
    if std::env::var_os("LAKEBED_TEST_S3_LAX").is_some() {
        conformance::run_most(store).await;
    } else {
        conformance::run_all(store).await;
    }
}

/// Bodies of unknown length that take several parts, and announced ones that stream.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an S3 service: make test-stores"]
async fn large_bodies() {
    let store = store().await;
    let content: Vec<u8> = (0..20_000_000_u32).map(|n| (n * 7 / 3) as u8).collect();
    for size_hint in [None, Some(content.len() as u64)] {
        let address = BlockAddress::new("s3://suite/main/large");
        let chunks: Vec<_> = content.chunks(70_001).map(|chunk| Ok(chunk.to_vec().into())).collect();
        let options = PutOptions { size_hint, if_absent: false };
        let stored = store.put(&address, Box::pin(futures::stream::iter(chunks)), options).await.unwrap();
        assert_eq!(stored.size, content.len() as u64);
        let read = store.get(&address, None).await.unwrap();
        assert!(lakebed_blocks::collect(read, usize::MAX).await.unwrap() == content);
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
