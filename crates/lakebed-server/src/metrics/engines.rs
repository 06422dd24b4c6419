//! Calls of the key-value engine and of the object store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use lakebed_blocks::{
    BlockAddress, BlockError, BlockInfo, BlockStore, ByteRange, ByteStream, PresignedGet, PutOptions,
    StoreInfo, Stored, StoredPart, WaitingUpload,
};
use lakebed_catalog::Catalog;
use lakebed_core::traces::SPAN;
use lakebed_kv::{Key, KeyRange, Kv, KvError, Limits, Outcome, Row, Transaction, Versioned};
use parking_lot::Mutex;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{Held, durations, register};

/// What is counted of engines.
pub(super) struct Engines {
    kv: HistogramVec,
    kv_failures: IntCounterVec,
    kv_refused: IntCounterVec,
    kv_conflicts: IntCounterVec,
    registry: Registry,
    blocks_open: IntGaugeVec,
    /// By kind of store: two stores of one kind are counted together.
    blocks: Mutex<HashMap<&'static str, HistogramVec>>,
}

impl Engines {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let labels = &["operation", "type"];
        let kv = HistogramVec::new(
            durations("kv_request_duration_seconds", "Calls of the key-value engine."),
            labels,
        )?;
        let counter = |name: &str, help: &str| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            register(registry, &counter)?;
            Ok::<_, prometheus::Error>(counter)
        };
        let kv_failures = counter("kv_request_failures_total", "Calls of the key-value engine that failed.")?;
        let kv_refused = counter(
            "lakebed_kv_not_done_total",
            "Transactions that were refused by a check, or whose outcome is unknown.",
        )?;
        let kv_conflicts = IntCounterVec::new(
            Opts::new("kv_cas_conflicts_total", "Transactions refused by a check, by the kind of record."),
            &["op"],
        )?;
        register(registry, &kv_conflicts)?;
        // Those of every installation are there from the start, so that a rate sees the first one.
        for kind in ["ref", "staged", "gate"] {
            kv_conflicts.with_label_values(&[kind]);
        }
        let blocks_open = IntGaugeVec::new(
            Opts::new("blockstore_concurrent_operations", "Calls of the object store at work."),
            &["operation", "blockstore_type"],
        )?;
        register(registry, &kv)?;
        register(registry, &blocks_open)?;
        Ok(Self {
            kv,
            kv_failures,
            kv_refused,
            kv_conflicts,
            registry: registry.clone(),
            blocks_open,
            blocks: Mutex::default(),
        })
    }

    pub(super) fn kv(&self, kind: &'static str, kv: Arc<dyn Kv>) -> Arc<dyn Kv> {
        let call = |operation: &'static str| Call {
            operation,
            kind,
            took: self.kv.with_label_values(&[operation, kind]),
            failed: self.kv_failures.with_label_values(&[operation, kind]),
        };
        Arc::new(CountedKv {
            get: call("get"),
            get_many: call("batch_get"),
            scan: call("scan"),
            transact: call("transact"),
            abandon: call("abandon"),
            refused: self.kv_refused.with_label_values(&["refused", kind]),
            unknown: self.kv_refused.with_label_values(&["unknown", kind]),
            conflicts: self.kv_conflicts.clone(),
            inner: kv,
        })
    }

    fn took(&self, kind: &'static str) -> Result<HistogramVec, prometheus::Error> {
        let mut known = self.blocks.lock();
        if let Some(took) = known.get(kind) {
            return Ok(took.clone());
        }
        let took = HistogramVec::new(
            durations(&format!("{kind}_operation_duration_seconds"), "Calls of the object store."),
            &["operation", "error"],
        )?;
        register(&self.registry, &took)?;
        known.insert(kind, took.clone());
        Ok(took)
    }

    pub(super) fn blocks(
        &self,
        blocks: Arc<dyn BlockStore>,
    ) -> Result<Arc<dyn BlockStore>, prometheus::Error> {
        let kind = blocks.info().kind;
        let took = self.took(kind)?;
        let operation = |name: &'static str| Operation {
            name,
            kind,
            well: took.with_label_values(&[name, "false"]),
            badly: took.with_label_values(&[name, "true"]),
            open: self.blocks_open.with_label_values(&[name, kind]),
        };
        Ok(Arc::new(CountedBlocks {
            put: operation("put"),
            get: operation("get"),
            head: operation("head"),
            delete: operation("delete"),
            copy: operation("copy"),
            list: operation("list"),
            multipart: operation("multipart"),
            part: operation("upload_part"),
            presign: operation("presign"),
            inner: blocks,
        }))
    }
}

/// One of an engine's calls.
struct Call {
    operation: &'static str,
    kind: &'static str,
    took: Histogram,
    failed: IntCounter,
}

impl Call {
    /// The span of a call in a trace. Of its keys only the kind of record is said that the first one names: keys hold
    /// paths.
    fn span(&self, key: &[u8], batch: Option<usize>) -> Span {
        tracing::info_span!(
            target: SPAN,
            "kv",
            otel.name = format_args!("kv {}", self.operation),
            otel.kind = if is_remote(self.kind) { "client" } else { "internal" },
            otel.status_code = Empty,
            db.system.name = database(self.kind),
            db.operation.name = self.operation,
            db.operation.batch.size = batch.map(|items| items as i64),
            lakebed.record = Catalog::kind_of(key),
            lakebed.outcome = Empty,
            error.type = Empty,
        )
    }

    async fn count<T>(
        &self,
        span: &Span,
        call: impl Future<Output = Result<T, KvError>>,
    ) -> Result<T, KvError> {
        let begun = Instant::now();
        let result = call.instrument(span.clone()).await;
        self.took.observe(begun.elapsed().as_secs_f64());
        if let Err(error) = &result {
            self.failed.inc();
            let kind = match error {
                KvError::Invalid(_) => "invalid",
                KvError::Stopped(_) => "stopped",
                KvError::Unavailable(_) => "unavailable",
                KvError::Engine(_) => "engine",
            };
            failed(span, kind);
        }
        result
    }
}

/// What OpenTelemetry calls an engine.
fn database(kind: &'static str) -> &'static str {
    match kind {
        "postgres" => "postgresql",
        "dynamodb" => "aws.dynamodb",
        other => other,
    }
}

/// Whether an engine or store is asked over the network.
fn is_remote(kind: &str) -> bool {
    !matches!(kind, "local" | "mem" | "object")
}

/// Says in a span that what it is of has failed.
fn failed(span: &Span, kind: &'static str) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", kind);
}

struct CountedKv {
    inner: Arc<dyn Kv>,
    get: Call,
    get_many: Call,
    scan: Call,
    transact: Call,
    abandon: Call,
    refused: IntCounter,
    unknown: IntCounter,
    conflicts: IntCounterVec,
}

#[async_trait]
impl Kv for CountedKv {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, KvError> {
        self.get.count(&self.get.span(key, None), self.inner.get(key)).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, KvError> {
        let first = keys.first().map_or(&b""[..], |key| key);
        let span = self.get_many.span(first, Some(keys.len()));
        self.get_many.count(&span, self.inner.get_many(keys)).await
    }
    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Row>, KvError> {
        self.scan.count(&self.scan.span(&range.start, None), self.inner.scan(range, limit)).await
    }
    async fn transact(&self, transaction: Transaction) -> Result<Outcome, KvError> {
        let items = transaction.checks.len() + transaction.writes.len();
        let first = transaction.writes.first().map_or(&b""[..], |(key, _)| key);
        let span = self.transact.span(first, Some(items));
        let outcome = self.transact.count(&span, self.inner.transact(transaction)).await?;
        match &outcome {
            Outcome::Done(_) => {}
            Outcome::Refused(key) => {
                span.record("lakebed.outcome", "refused");
                self.refused.inc();
                self.conflicts.with_label_values(&[Catalog::kind_of(key)]).inc();
            }
            Outcome::Unknown => {
                span.record("lakebed.outcome", "unknown");
                self.unknown.inc();
            }
        }
        Ok(outcome)
    }
    async fn abandon(&self, rows: &KeyRange) -> Result<bool, KvError> {
        self.abandon.count(&self.abandon.span(&rows.start, None), self.inner.abandon(rows)).await
    }
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
    async fn close(&self) -> Result<(), KvError> {
        self.inner.close().await
    }
}

/// One of a store's calls.
struct Operation {
    name: &'static str,
    kind: &'static str,
    well: Histogram,
    badly: Histogram,
    open: IntGauge,
}

impl Operation {
    async fn count<T>(&self, call: impl Future<Output = Result<T, BlockError>>) -> Result<T, BlockError> {
        self.count_by(call, |result| result.as_ref().err().is_some_and(is_failure)).await
    }

    /// The span of a call in a trace, which says no address.
    fn span(&self) -> Span {
        tracing::info_span!(
            target: SPAN,
            "blocks",
            otel.name = format_args!("blocks {}", self.name),
            otel.kind = if is_remote(self.kind) { "client" } else { "internal" },
            otel.status_code = Empty,
            lakebed.store.type = self.kind,
            lakebed.store.operation = self.name,
            error.type = Empty,
        )
    }

    async fn count_by<T>(&self, call: impl Future<Output = T>, has_failed: impl Fn(&T) -> bool) -> T {
        let _open = Held::up(self.open.clone());
        let span = self.span();
        let begun = Instant::now();
        let result = call.instrument(span.clone()).await;
        let by = if has_failed(&result) {
            failed(&span, "store");
            &self.badly
        } else {
            &self.well
        };
        by.observe(begun.elapsed().as_secs_f64());
        result
    }
}

/// Whether an error is the store's fault: not that something is not there, or is, or that a client hung up.
fn is_failure(error: &BlockError) -> bool {
    !matches!(
        error,
        BlockError::NotFound(_)
            | BlockError::OutOfRange(_)
            | BlockError::Exists(_)
            | BlockError::NoSuchUpload(_)
            | BlockError::Refused { .. }
            | BlockError::Unsupported(_)
            | BlockError::Body(_)
    )
}

struct CountedBlocks {
    inner: Arc<dyn BlockStore>,
    put: Operation,
    get: Operation,
    head: Operation,
    delete: Operation,
    copy: Operation,
    list: Operation,
    multipart: Operation,
    part: Operation,
    presign: Operation,
}

#[async_trait]
impl BlockStore for CountedBlocks {
    fn info(&self) -> StoreInfo {
        self.inner.info()
    }
    async fn put(
        &self,
        address: &BlockAddress,
        body: ByteStream,
        options: PutOptions,
    ) -> Result<Stored, BlockError> {
        self.put.count(self.inner.put(address, body, options)).await
    }
    async fn put_bytes(
        &self,
        address: &BlockAddress,
        bytes: Bytes,
        options: PutOptions,
    ) -> Result<(), BlockError> {
        self.put.count(self.inner.put_bytes(address, bytes, options)).await
    }
    /// Until the first byte may be read.
    async fn get(&self, address: &BlockAddress, range: Option<ByteRange>) -> Result<ByteStream, BlockError> {
        self.get.count(self.inner.get(address, range)).await
    }
    async fn get_bytes(&self, address: &BlockAddress, limit: usize) -> Result<Bytes, BlockError> {
        self.get.count(self.inner.get_bytes(address, limit)).await
    }
    async fn head(&self, address: &BlockAddress) -> Result<BlockInfo, BlockError> {
        self.head.count(self.inner.head(address)).await
    }
    async fn delete(&self, addresses: &[BlockAddress]) -> Vec<Result<(), BlockError>> {
        let failed = |results: &Vec<Result<(), BlockError>>| {
            results.iter().any(|result| result.as_ref().err().is_some_and(is_failure))
        };
        self.delete.count_by(self.inner.delete(addresses), failed).await
    }
    async fn copy(&self, from: &BlockAddress, to: &BlockAddress) -> Result<(), BlockError> {
        self.copy.count(self.inner.copy(from, to)).await
    }
    async fn list(
        &self,
        prefix: &BlockAddress,
        start_after: Option<&BlockAddress>,
        limit: usize,
    ) -> Result<Vec<BlockInfo>, BlockError> {
        self.list.count(self.inner.list(prefix, start_after, limit)).await
    }
    async fn create_multipart(&self, address: &BlockAddress) -> Result<String, BlockError> {
        self.multipart.count(self.inner.create_multipart(address)).await
    }
    async fn put_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        body: ByteStream,
        size: Option<u64>,
    ) -> Result<(Stored, String), BlockError> {
        self.part.count(self.inner.put_part(address, upload, number, body, size)).await
    }
    async fn copy_part(
        &self,
        from: &BlockAddress,
        range: ByteRange,
        address: &BlockAddress,
        upload: &str,
        number: u32,
    ) -> Result<String, BlockError> {
        self.part.count(self.inner.copy_part(from, range, address, upload, number)).await
    }
    async fn complete_multipart(
        &self,
        address: &BlockAddress,
        upload: &str,
        parts: &[StoredPart],
    ) -> Result<(), BlockError> {
        self.multipart.count(self.inner.complete_multipart(address, upload, parts)).await
    }
    async fn abort_multipart(&self, address: &BlockAddress, upload: &str) -> Result<(), BlockError> {
        self.multipart.count(self.inner.abort_multipart(address, upload)).await
    }
    async fn waiting_uploads(
        &self,
        prefix: &BlockAddress,
        begun_before_secs: i64,
        limit: usize,
    ) -> Result<Vec<WaitingUpload>, BlockError> {
        self.list.count(self.inner.waiting_uploads(prefix, begun_before_secs, limit)).await
    }
    async fn presign_get(
        &self,
        address: &BlockAddress,
        wanted: &PresignedGet,
        life: Duration,
    ) -> Result<String, BlockError> {
        self.presign.count(self.inner.presign_get(address, wanted, life)).await
    }
    async fn presign_put(&self, address: &BlockAddress, life: Duration) -> Result<String, BlockError> {
        self.presign.count(self.inner.presign_put(address, life)).await
    }
    async fn presign_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        life: Duration,
    ) -> Result<String, BlockError> {
        self.presign.count(self.inner.presign_part(address, upload, number, life)).await
    }
    async fn close(&self) -> Result<(), BlockError> {
        self.inner.close().await
    }
}
