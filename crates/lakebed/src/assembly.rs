//! Wires engines, catalog and doors together, and takes them apart in the right order.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lakebed_auth::{Auth, AuthConfig, AuthError, SetupState};
use lakebed_blocks::{
    AzureStore, BlockStore, GsStore, LocalStore, MemStore, Reserved, S3Store, Sources, StoreId, Stores,
};
use lakebed_catalog::formats::{self, FormatError, Membership};
use lakebed_catalog::{Catalog, CatalogConfig};
use lakebed_core::{RepositoryId, SystemClock, SystemEntropy};
use lakebed_kv::{DynamoKv, FjallConfig, FjallKv, Kv, MemKv, PostgresKv};
use lakebed_kv_object::Ended;
use lakebed_rest::{Rest, RestConfig, ShownStore};
use lakebed_s3::S3;
use lakebed_server::{Doors, Metrics, Router, Server, ServerConfig, Stop, Tls};
use lakebed_traces::Exporter;

use crate::Failure;
use crate::config::{Blockstore, Database, Settings, StoreSettings};
use crate::logging::Exports;
use crate::standby;

/// The version of the REST API we speak, as clients compare it.
const API_VERSION: &str = "1.84.0";

/// Makes a directory with its parents, and their names durable: what is stored in it rests on them.
pub(crate) fn create_directory(path: &Path) -> std::io::Result<()> {
    let path = std::path::absolute(path)?;
    let mut made: Vec<&Path> = path.ancestors().take_while(|at| !at.exists()).collect();
    std::fs::create_dir_all(&path)?;
    if made.is_empty() {
        // Made at an earlier start, perhaps by one that did not come to this.
        made.push(&path);
    }
    for parent in made.iter().filter_map(|at| at.parent()) {
        match std::fs::File::open(parent) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
            opened => opened?.sync_all()?,
        }
    }
    Ok(())
}

/// A key-value engine that is open, and the stores as those see them that work with it.
pub(crate) struct Opened {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) blocks: Arc<dyn BlockStore>,
    /// Of an engine that another server may take over.
    pub(crate) ended: Option<Ended>,
}

/// Opens the key-value engine, replaying what a crash left. `None`: told to stop while standing by.
pub(crate) async fn open_kv(
    settings: &Settings,
    metrics: &Metrics,
    mut blocks: Arc<dyn BlockStore>,
) -> Result<Option<Opened>, Failure> {
    let mut ended = None;
    let kv: Arc<dyn Kv> = match &settings.database {
        Database::Local { path, engine } => {
            create_directory(path).map_err(|error| {
                format!("database.local.path: cannot create '{}': {error}", path.display())
            })?;
            let engine = FjallConfig { guarded: Some(Catalog::GUARDED), ..*engine };
            Arc::new(FjallKv::open(path, engine)?)
        }
        Database::Postgres(config) => Arc::new(PostgresKv::open(config, Arc::new(SystemEntropy)).await?),
        Database::Dynamo(config) => {
            Arc::new(DynamoKv::open(config, Arc::new(SystemEntropy), metrics.dynamo()?).await?)
        }
        Database::Object(config) => {
            let Some(kv) = standby::until_active(settings, config, blocks.clone()).await? else {
                blocks.close().await?;
                return Ok(None);
            };
            ended = Some(kv.ended());
            // No address that a client names leads to it.
            blocks = Arc::new(Reserved::new(blocks, &config.prefix));
            Arc::new(kv)
        }
        Database::Mem => Arc::new(MemKv::new()),
    };
    Ok(Some(Opened { kv, blocks, ended }))
}

/// Engines and what stands on them.
pub(crate) struct Lake {
    kv: Arc<dyn Kv>,
    blocks: Arc<dyn BlockStore>,
    metrics: Metrics,
    membership: Arc<Membership>,
    /// Of an engine that another server may take over.
    ended: Option<Ended>,
    pub(crate) catalog: Catalog,
    pub(crate) auth: Auth,
}

impl Lake {
    /// Opens the engines, replaying what a crash left. `None`: told to stop while standing by.
    pub(crate) async fn open(settings: &Settings) -> Result<Option<Self>, Failure> {
        let metrics = Metrics::new()?;
        let blocks: Arc<dyn BlockStore> = Arc::new(open_stores(settings, &metrics).await?);
        let Some(Opened { kv, blocks, ended }) = open_kv(settings, &metrics, blocks).await? else {
            return Ok(None);
        };
        let kv = metrics.kv(settings.database.kind(), kv);
        let membership = Membership::join(
            kv.clone(),
            Arc::new(SystemClock),
            &SystemEntropy,
            format!("lakebed {}", env!("CARGO_PKG_VERSION")),
            formats::SUPPORTED,
        );
        let membership = Arc::new(membership.await?);
        let catalog = Catalog::new(CatalogConfig {
            kv: kv.clone(),
            blocks: blocks.clone(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            node_cache_bytes: settings.node_cache_bytes,
            signing_key: settings.signing_key.clone(),
        });
        let elsewhere = catalog.repositories_without_store(NAMED).await?;
        if !elsewhere.is_empty() {
            return Err(without_store(settings, &elsewhere).into());
        }
        metrics.catalog(&catalog)?;
        catalog.start();
        let auth = Auth::new(AuthConfig {
            kv: kv.clone(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            secret_key: settings.secret_key.clone(),
            login_duration_secs: settings.login_secs,
        });
        Ok(Some(Self { kv, blocks, metrics, membership, ended, catalog, auth }))
    }

    /// Makes the configured administrator, unless there is one. True if it was made now.
    pub(crate) async fn install(&self, settings: &Settings) -> Result<bool, Failure> {
        let Some(installation) = &settings.installation else { return Ok(false) };
        if self.auth.setup_state().await? == SetupState::Initialized {
            return Ok(false);
        }
        match self.auth.setup(&installation.user, Some(installation.key_pair.clone())).await {
            Ok(_) => Ok(true),
            // Another server of this installation was first.
            Err(AuthError::AlreadyInitialized) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Serves until SIGTERM or Ctrl-C, lets requests in flight finish, and closes everything; a second signal ends what
    /// is in flight at once. `ready` is told the address, as clients write it, when requests are answered.
    pub(crate) async fn serve(
        self,
        settings: &Settings,
        Exports { traces, exporter }: Exports,
        ready: impl FnOnce(String),
    ) -> Result<(), Failure> {
        self.metrics.traces(&traces)?;
        let exporting = exporter.map(Exporter::begin);
        // What still runs on an engine of our own was begun by an earlier life. On a shared one it may be another
        // server's work: the sweeper ends it when its signs of life have stopped.
        if settings.database.is_ours_alone() {
            self.catalog.abandon_orphans().await?;
        }
        let rest = self.shown(settings)?;
        let entropy = Arc::new(SystemEntropy);
        let doors = Doors {
            s3: S3::new(self.catalog.clone(), self.auth.clone(), settings.gateway.clone(), entropy.clone())?,
            rest: Rest::new(self.catalog.clone(), self.auth.clone(), rest, entropy),
            auth: self.auth.clone(),
            catalog: self.catalog.clone(),
            traces,
            debug: settings.debug,
        };
        let router = Router::new(doors, self.metrics.clone(), settings.connections.receive_timeout);
        let tls = settings.tls.as_ref().map(|files| Tls::load(&files.chain, &files.key)).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let config = ServerConfig {
            listen_address: settings.listen_address.clone(),
            tls,
            send_timeout: settings.connections.send_timeout,
            grace: settings.shutdown.grace,
            drain_timeout: settings.shutdown.drain_timeout,
            ..ServerConfig::default()
        };
        let server = Server::bind(config, router).await?;
        let stop = Stop::new();
        listen_for_signals(stop.clone())?;
        if let Some(address) = server.address() {
            ready(format!("{scheme}://{address}"));
        }
        let over = Over::default();
        let alive = tokio::spawn(show_life(self.membership.clone(), over.clone(), stop.clone()));
        tokio::spawn(stop_when_ended(self.ended.clone(), over.clone(), stop.clone()));
        server.run(&stop).await;
        alive.abort();
        // Looked at before closing, which ends the engine, too.
        let over = over.get().cloned();
        tracing::info!("shutting down");
        let urged = async {
            stop.urged().await;
            // What was acknowledged is durable already: closing only spares the next start some replaying.
            tokio::time::sleep(URGED_CLOSE).await;
        };
        let closed = tokio::select! {
            closed = self.close(&stop) => closed,
            () = urged => {
                tracing::warn!("stopped before everything was closed");
                Ok(())
            }
        };
        if let Some(exporting) = exporting {
            exporting.finish(if stop.is_urgent() { Duration::ZERO } else { LAST_SPANS }).await;
        }
        match over {
            Some(why) => Err(why.into()),
            None => closed,
        }
    }

    /// What clients are told of the server and its stores.
    fn shown(&self, settings: &Settings) -> Result<RestConfig, Failure> {
        let show = |store: &StoreSettings| {
            let info = self.blocks.info_of(&store.id).ok_or("a store that is configured was not opened")?;
            let mut shown = ShownStore::of(&info);
            shown.storage.blockstore_id = store.id.to_string();
            shown.storage.blockstore_description.clone_from(&store.description);
            if let Some(prefix) = &store.default_namespace_prefix {
                shown.storage.default_namespace_prefix = Some(prefix.clone());
            }
            shown.storage.pre_sign_support_ui &= store.presign.in_ui;
            shown.presign_life = store.presign.life;
            Ok::<_, Failure>(shown)
        };
        let mut rest = RestConfig::for_store(&self.blocks.info(), API_VERSION);
        let main = settings.stores.iter().find(|store| store.backward_compatible);
        if let Some(main) = main.or(settings.stores.first()) {
            rest.store = show(main)?;
        }
        if settings.stores.iter().any(|store| !store.id.is_empty()) {
            rest.several = settings.stores.iter().map(show).collect::<Result<_, _>>()?;
        }
        Ok(rest)
    }

    /// Catalog before stores, stores before the engine that names what is in them, unless that one is in them itself.
    /// Tasks are waited for unless it is urgent.
    pub(crate) async fn close(self, stop: &Stop) -> Result<(), Failure> {
        tokio::select! {
            biased;
            () = stop.urged() => self.catalog.close_within(Duration::ZERO).await,
            () = self.catalog.close() => {}
        }
        self.membership.leave().await;
        if self.ended.is_some() {
            self.kv.close().await?;
            self.blocks.close().await?;
        } else {
            self.blocks.close().await?;
            self.kv.close().await?;
        }
        Ok(())
    }
}

/// How many repositories are named that stop a server from starting.
const NAMED: usize = 20;

/// Opens every store that is configured.
pub(crate) async fn open_stores(settings: &Settings, metrics: &Metrics) -> Result<Stores, Failure> {
    let mut opened = Vec::with_capacity(settings.stores.len());
    for store in &settings.stores {
        let opened_store = match open_store(&store.blockstore).await {
            Err(error) if !store.id.is_empty() => {
                return Err(format!("the store '{}' of blockstores.stores: {error}", store.id).into());
            }
            opened => opened?,
        };
        opened.push((store.id.clone(), metrics.blocks(opened_store)?));
    }
    let nameless =
        settings.stores.iter().find(|store| store.backward_compatible).map(|store| store.id.clone());
    Stores::new(opened, nameless).ok_or_else(|| "no store is configured".into())
}

async fn open_store(settings: &Blockstore) -> Result<Arc<dyn BlockStore>, Failure> {
    Ok(match settings {
        Blockstore::Local(path, import) => {
            create_directory(path).map_err(|error| {
                format!("blockstore.local.path: cannot create '{}': {error}", path.display())
            })?;
            let store = LocalStore::open(path)?.importing(import.clone());
            Arc::new(store.map_err(|error| format!("blockstore.local.allowed_external_prefixes: {error}"))?)
        }
        Blockstore::S3(config) => Arc::new(S3Store::open(config.as_ref().clone(), Sources::default()).await),
        Blockstore::Gs(config) => Arc::new(GsStore::open(config.as_ref().clone(), Sources::default())?),
        Blockstore::Azure(config) => Arc::new(AzureStore::open(config.as_ref().clone(), Sources::default())?),
        Blockstore::Mem => Arc::new(MemStore::new()),
    })
}

/// Why a server does not start on repositories whose store it does not have, and what to do.
fn without_store(settings: &Settings, elsewhere: &[(RepositoryId, StoreId)]) -> String {
    let shown: Vec<String> = elsewhere
        .iter()
        .map(|(repository, store)| {
            if store.is_empty() {
                format!("{repository} (without a storage id)")
            } else {
                format!("{repository} (store '{store}')")
            }
        })
        .collect();
    let more = if elsewhere.len() == NAMED { ", and perhaps others" } else { "" };
    let what = if settings.stores.iter().all(|store| store.id.is_empty()) {
        "the configuration has a single 'blockstore', and these were made with several: configure 'blockstores' with \
         the stores they name"
    } else {
        "add the stores they name to 'blockstores.stores' again; for those without a storage id set \
         'backward_compatible: true' on the store they were made in"
    };
    format!("there are repositories whose store is not configured: {}{more}. {what}", shown.join(", "))
}

/// Why a server stopped that nobody told to: it fails, so that whoever watches over the process starts it again. Said before
/// the server is asked to stop, which it may do at once.
type Over = Arc<OnceLock<String>>;

/// Gives signs of life to the other servers. One that was taken for dead, while the format went on, stops at once.
async fn show_life(membership: Arc<Membership>, over: Over, stop: Stop) {
    loop {
        tokio::time::sleep(formats::BEAT).await;
        match membership.beat().await {
            Ok(_) => {}
            Err(error @ (FormatError::Newer { .. } | FormatError::Older { .. })) => {
                tracing::error!(%error, "stopping at once");
                over.get_or_init(|| error.to_string());
                stop.urge();
                return;
            }
            Err(error) => tracing::warn!(%error, "a sign of life could not be given; trying again"),
        }
    }
}

/// Stops the server when its engine answers no more, if it is one that others may take over.
async fn stop_when_ended(engine: Option<Ended>, over: Over, stop: Stop) {
    if let Some(engine) = engine {
        let why = engine.wait().await;
        over.get_or_init(|| format!("the metadata engine has stopped: {why}"));
        stop.ask();
    }
}

/// Resolves at SIGTERM or Ctrl-C.
pub(crate) fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let stop = Stop::new();
    listen_for_signals(stop.clone())?;
    Ok(async move { stop.asked().await })
}

/// How long the spans that wait may take to leave when the server stops.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// How long closing may take after a second signal.
const URGED_CLOSE: Duration = Duration::from_secs(2);

/// SIGTERM and Ctrl-C tell the server to stop, a second one of either to stop at once.
fn listen_for_signals(stop: Stop) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        stop.ask();
        next().await;
        tracing::warn!("told to stop again: stopping at once");
        stop.urge();
    });
    Ok(())
}
