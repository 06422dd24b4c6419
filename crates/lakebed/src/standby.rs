//! Waiting to be the active server over metadata in the object store: the port answers meanwhile that it stands by.

use std::sync::Arc;

use lakebed_blocks::BlockStore;
use lakebed_core::SystemEntropy;
use lakebed_kv_object::{ObjectConfig, ObjectKv, SystemTicks, Waiting};
use lakebed_server::{ServerConfig, WaitingRoom};
use tokio::sync::watch;

use crate::Failure;
use crate::assembly::stop_signal;
use crate::config::Settings;

/// The engine, once this server is the active one. `None`: it was told to stop before.
pub(crate) async fn until_active(
    settings: &Settings,
    config: &ObjectConfig,
    blocks: Arc<dyn BlockStore>,
) -> Result<Option<ObjectKv>, Failure> {
    let (said, mut hears) = watch::channel(String::new());
    let waiting = move |waiting: Waiting| {
        let text = waiting.to_string();
        if *said.borrow() != text {
            tracing::info!("{text}");
            said.send_replace(text);
        }
    };
    let opening = ObjectKv::open(config, blocks, Arc::new(SystemTicks), Arc::new(SystemEntropy), &waiting);
    let stop = stop_signal()?;
    tokio::pin!(opening, stop);
    let mut room = None;
    let kv = loop {
        tokio::select! {
            biased;
            kv = &mut opening => break Some(kv?),
            () = &mut stop => break None,
            // A first server on an empty bucket never comes here; nor does it take the port and give it back.
            Ok(()) = hears.changed(), if room.is_none() => {
                let address =
                    ServerConfig { listen_address: settings.listen_address.clone(), ..ServerConfig::default() };
                let hears = hears.clone();
                let why = move || hears.borrow().clone();
                // Another command on the active server's own machine: there it has the port.
                room = Some(WaitingRoom::open(&address, why).await.map_err(|error| {
                    tracing::warn!(%error, "nobody is told that this server stands by");
                }).ok());
            }
        }
    };
    if let Some(Some(room)) = room {
        room.close().await;
    }
    if kv.is_some() {
        tracing::info!("this server is the active one");
    }
    Ok(kv)
}
