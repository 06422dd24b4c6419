//! Whether a store can do what the engine rests on. Asked at every start: a proxy or a gateway that drops a header would
//! otherwise be found out by lost writes.

use bytes::Bytes;
use lakebed_blocks::{BlockError, BlockStore};
use lakebed_core::Entropy;
use lakebed_kv::KvError;

use crate::log::{create, list};
use crate::names::{Kind, Place, fresh};

/// Refuses a store that overwrites what exists although it was asked not to, or whose listing lags behind.
pub(crate) async fn probe(
    store: &dyn BlockStore,
    place: &Place,
    entropy: &dyn Entropy,
) -> Result<(), KvError> {
    let address = place.object(Kind::Probes, &fresh(0, entropy));
    let failed = |what: &str, error: &BlockError| {
        KvError::Engine(
            format!("database.object.prefix: {what} under '{}': {error}", place.all(Kind::Probes)).into(),
        )
    };
    let first = Bytes::from_static(b"first");
    create(store, &address, first.clone()).await.map_err(|error| failed("cannot write", &error))?;
    let again = create(store, &address, Bytes::from_static(b"again")).await;
    let held = store.get_bytes(&address, 16).await.map_err(|error| failed("cannot read", &error))?;
    let listed = list(store, &place.all(Kind::Probes), None)
        .await
        .map_err(|error| failed("cannot list", &error))?
        .contains(&address);
    for result in store.delete(std::slice::from_ref(&address)).await {
        result.map_err(|error| failed("cannot delete", &error))?;
    }
    if !matches!(again, Err(BlockError::Exists(_))) || held != first {
        let why = "this store does not refuse to overwrite an object when asked to (If-None-Match on S3): \
                   metadata cannot be kept in it. Use another store, or database.type local or postgres";
        return Err(KvError::Engine(why.into()));
    }
    if !listed {
        let why = "this store does not list an object that was just written: metadata cannot be kept in it. \
                   Use another store, or database.type local or postgres";
        return Err(KvError::Engine(why.into()));
    }
    Ok(())
}
