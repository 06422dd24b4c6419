//! Wires engines, catalog and doors together, and takes them apart in the right order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use lakebed_auth::{Auth, AuthConfig, AuthError, SetupState};
use lakebed_blocks::{AzureStore, BlockStore, GsStore, LocalStore, MemStore, Reserved, S3Store, Sources};
use lakebed_catalog::{Catalog, CatalogConfig};
use lakebed_core::{SystemClock, SystemEntropy};
use lakebed_kv::{FjallConfig, FjallKv, Kv, MemKv, PostgresKv};
use lakebed_kv_object::Ended;
use lakebed_rest::{Rest, RestConfig};
use lakebed_s3::S3;
use lakebed_server::{Doors, Metrics, Router, Server, ServerConfig};

use crate::Failure;
use crate::config::{Blockstore, Database, Settings};
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

/// Engines and what stands on them.
pub(crate) struct Lake {
    kv: Arc<dyn Kv>,
    blocks: Arc<dyn BlockStore>,
    metrics: Metrics,
    /// Of an engine that another server may take over.
    ended: Option<Ended>,
    pub(crate) catalog: Catalog,
    pub(crate) auth: Auth,
}

impl Lake {
    /// Opens the engines, replaying what a crash left. `None`: told to stop while standing by.
    pub(crate) async fn open(settings: &Settings) -> Result<Option<Self>, Failure> {
        let metrics = Metrics::new()?;
        let blocks: Arc<dyn BlockStore> = match &settings.blockstore {
            Blockstore::Local(path, import) => {
                create_directory(path).map_err(|error| {
                    format!("blockstore.local.path: cannot create '{}': {error}", path.display())
                })?;
                let store = LocalStore::open(path)?.importing(import.clone());
                Arc::new(
                    store.map_err(|error| format!("blockstore.local.allowed_external_prefixes: {error}"))?,
                )
            }
            Blockstore::S3(config) => Arc::new(S3Store::open(config.as_ref().clone()).await),
            Blockstore::Gs(config) => Arc::new(GsStore::open(config.as_ref().clone(), Sources::default())?),
            Blockstore::Azure(config) => {
                Arc::new(AzureStore::open(config.as_ref().clone(), Sources::default())?)
            }
            Blockstore::Mem => Arc::new(MemStore::new()),
        };
        let (mut blocks, mut ended) = (blocks, None);
        let kv: Arc<dyn Kv> = match &settings.database {
            Database::Local(path) => {
                create_directory(path).map_err(|error| {
                    format!("database.local.path: cannot create '{}': {error}", path.display())
                })?;
                Arc::new(FjallKv::open(path, FjallConfig::default())?)
            }
            Database::Postgres(config) => Arc::new(PostgresKv::open(config, Arc::new(SystemEntropy)).await?),
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
        let kv = metrics.kv(settings.database.kind(), kv);
        let blocks = metrics.blocks(blocks)?;
        let catalog = Catalog::new(CatalogConfig {
            kv: kv.clone(),
            blocks: blocks.clone(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            node_cache_bytes: settings.node_cache_bytes,
            signing_key: settings.signing_key.clone(),
        });
        catalog.start();
        let auth = Auth::new(AuthConfig {
            kv: kv.clone(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            secret_key: settings.secret_key.clone(),
            login_duration_secs: settings.login_secs,
        });
        Ok(Some(Self { kv, blocks, metrics, ended, catalog, auth }))
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

    /// Serves until SIGTERM or Ctrl-C, lets requests in flight finish, and closes everything.
    pub(crate) async fn serve(
        self,
        settings: &Settings,
        ready: impl FnOnce(SocketAddr),
    ) -> Result<(), Failure> {
        // What still runs on an engine of our own was begun by an earlier life. On a shared one it may be another
        // server's work: the sweeper ends it when its signs of life have stopped.
        if settings.database.is_ours_alone() {
            self.catalog.abandon_orphans().await?;
        }
        let mut rest = RestConfig::for_store(&self.blocks.info(), API_VERSION);
        if let Some(prefix) = &settings.default_namespace_prefix {
            rest.storage.default_namespace_prefix = Some(prefix.clone());
        }
        rest.presign_life = settings.presign.life;
        rest.storage.pre_sign_support_ui &= settings.presign.in_ui;
        let entropy = Arc::new(SystemEntropy);
        let doors = Doors {
            s3: S3::new(self.catalog.clone(), self.auth.clone(), settings.gateway.clone(), entropy.clone()),
            rest: Rest::new(self.catalog.clone(), self.auth.clone(), rest, entropy),
            auth: self.auth.clone(),
        };
        let router = Router::new(doors, self.metrics.clone());
        let config =
            ServerConfig { listen_address: settings.listen_address.clone(), ..ServerConfig::default() };
        let server = Server::bind(config, router).await?;
        if let Some(address) = server.address() {
            ready(address);
        }
        let ended = self.ended.clone();
        let (told, mut reason) = (stop_signal()?, None);
        server
            .run(async {
                tokio::select! {
                    () = told => {}
                    why = ended_of(ended) => reason = Some(why),
                }
            })
            .await;
        tracing::info!("shutting down");
        let closed = self.close().await;
        match reason {
            // Whoever watches over the process starts it again, and it stands by.
            Some(why) => Err(format!("the metadata engine has stopped: {why}").into()),
            None => closed,
        }
    }

    /// Catalog before stores, stores before the engine that names what is in them, unless that one is in them itself.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        self.catalog.close().await;
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

/// Resolves when the engine answers no more, if it is one that others may take over.
async fn ended_of(engine: Option<Ended>) -> Arc<str> {
    match engine {
        Some(engine) => engine.wait().await,
        None => std::future::pending().await,
    }
}

/// Resolves at SIGTERM or Ctrl-C.
pub(crate) fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
