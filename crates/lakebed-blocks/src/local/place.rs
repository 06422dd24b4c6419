//! How a file that was written under a temporary name becomes an object.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::flush::Flusher;
use super::log::{Log, Request};
use super::tree::{Tree, is_absent, split};
use super::{blocking, io_error};
use crate::{BlockAddress, BlockError, PutOptions};

/// Puts synced files in their places.
#[derive(Clone)]
pub(crate) struct Placer {
    pub(crate) tree: Arc<Tree>,
    pub(crate) log: Arc<Log>,
    pub(crate) flusher: Arc<dyn Flusher>,
}

impl Placer {
    /// Moves a synced file to its address, durably.
    pub(crate) async fn settle(
        &self,
        temporary: String,
        path: String,
        options: PutOptions,
    ) -> Result<(), BlockError> {
        let what = "put an object in its place";
        let tree = self.tree.clone();
        let (from, to) = (temporary.clone(), path.clone());
        // A name taken for the first time needs no word in the log; an existing object may have records there.
        let placed = blocking(what, move || match tree.rename(&from, &to, false) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(io_error(what)(error)),
        })
        .await?;
        if !placed {
            if options.if_absent {
                self.tree.unlink(&temporary).map_err(io_error(what))?;
                return Err(BlockError::Exists(BlockAddress::new(format!("local://{path}"))));
            }
            // Its records stop counting with the next one: until the new content is in place the old must stand
            // without them.
            let (tree, flusher, old) = (self.tree.clone(), self.flusher.clone(), path.clone());
            blocking(what, move || {
                let sync =
                    |file: File| flusher.sync_data(&file).and_then(|()| tree.sync_directory(split(&old).0));
                match tree.read(&old) {
                    Err(error) if is_absent(&error) => Ok(()),
                    other => other.and_then(sync).map_err(io_error(what)),
                }
            })
            .await?;
            let request = Request::Replace { from: temporary, path: path.clone() };
            self.log.send(request).await.map_err(io_error(what))?;
        }
        let tree = self.tree.clone();
        blocking(what, move || tree.sync_directory(split(&path).0).map_err(io_error(what))).await
    }
}
