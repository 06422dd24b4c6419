//! A prefix that is the server's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

use std::sync::Arc;

use bytes::Bytes;
use lakebed_blocks::{BlockAddress, BlockError, BlockStore, MemStore, PutOptions, Reserved, conformance};

fn at(key: &str) -> BlockAddress {
    BlockAddress::new(format!("mem://bucket/{key}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outside_it_the_store_is_what_it_was() {
    let store = Reserved::new(Arc::new(MemStore::new()), &at("meta"));
    conformance::run_all(Arc::new(store), "mem://bucket/suite").await;
}

#[tokio::test]
async fn what_is_under_it_cannot_be_reached_and_is_not_listed() {
    let inner = Arc::new(MemStore::new());
    let put = async |store: &dyn BlockStore, key: &str| {
        store.put_bytes(&at(key), Bytes::from_static(b"x"), PutOptions::default()).await
    };
    for n in 0..50 {
        put(&*inner, &format!("meta/log/{n:02}")).await.unwrap();
    }
    let store = Reserved::new(inner.clone(), &at("meta/"));
    for key in ["a", "meta", "meta-2", "metb", "z"] {
        put(&store, key).await.unwrap();
    }
    let refused = |result: Result<(), BlockError>| {
        let error = result.unwrap_err();
        assert!(
            matches!(&error, BlockError::Refused { .. }) && error.to_string().contains("metadata"),
            "{error}"
        );
    };
    let inside = at("meta/log/07");
    refused(put(&store, "meta/log/07").await);
    refused(store.get(&inside, None).await.map(drop));
    refused(store.get_bytes(&inside, 9).await.map(drop));
    refused(store.head(&inside).await.map(drop));
    refused(store.copy(&inside, &at("copy")).await);
    refused(store.copy(&at("a"), &inside).await);
    refused(store.create_multipart(&inside).await.map(drop));
    refused(store.list(&at("meta/"), None, 9).await.map(drop));
    let mut deleted = store.delete(&[at("a"), inside.clone(), at("none")]).await.into_iter();
    deleted.next().unwrap().unwrap();
    refused(deleted.next().unwrap());
    deleted.next().unwrap().unwrap();
    assert!(inner.head(&inside).await.is_ok() && inner.head(&at("a")).await.is_err());
    for limit in [1, 2, 3, 100] {
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let page = store.list(&BlockAddress::new("mem://bucket/"), after.as_ref(), limit).await.unwrap();
            after = page.last().map(|info| info.address.clone());
            let full = page.len() == limit;
            all.extend(page.into_iter().map(|info| info.address));
            if !full {
                break;
            }
        }
        assert_eq!(all, ["meta", "meta-2", "metb", "z"].map(at), "{limit} at a time");
    }
}
