//! The format of what is stored, and the servers that share it: so that a new version can be rolled out server by server,
//! and be taken back until it is final.
//!
//! One row says the format that all servers write. A server reads formats `oldest..=newest` and writes the row's; it
//! begins only if that is one it reads. `newest` becomes the row's format when an operator says so ([`finalize`]), and only
//! if every server of now reads it. Therefore a server never meets a record it does not know, and until then the version
//! before can be started again.
//!
//! *Why no server is overlooked.* A server announces itself in a transaction that also rewrites the format's row
//! (unchanged). [`finalize`] reads the format's row, then the announcements, then writes the row if it is still the one it
//! read: a server that announced itself after they were read has changed it, and they are read again. One that announces
//! itself later checks the new row, and refuses to start. A server whose announcement is older than [`FORGOTTEN`] counts as
//! dead; one that merely slept reads the row with its next sign of life and stops ([`Membership::beat`]).

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lakebed_core::{Clock, Entropy, Incarnation};
use lakebed_kv::{Check, KeyRange, Kv, KvError, Outcome, Transaction, Version};

use crate::sweep::after;
use crate::{keys, wire};

/// The formats this version reads. The last is also what it writes where nothing is stored yet.
pub const SUPPORTED: RangeInclusive<u32> = 1..=1;

/// How often a server gives a sign of life.
pub const BEAT: Duration = Duration::from_secs(20);

/// A server without one for so long is dead.
pub const FORGOTTEN: Duration = Duration::from_mins(2);

/// How often something is tried again because another server came between.
const ATTEMPTS: usize = 100;

/// Announcements read at once.
const PAGE: usize = 256;

/// Why a server may not work on what is stored.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It was written by a version that came later.
    #[error(
        "the data has format {found}, this version reads up to {newest}: start the version that wrote it, or a later one; \
         nothing was changed"
    )]
    Newer {
        /// Its format.
        found: u32,
        /// The newest this version reads.
        newest: u32,
    },
    /// It was written by a version that came too long before.
    #[error(
        "the data has format {found}, this version reads {oldest} and later: start a version in between first, and \
         finalize it with 'lakebed migrate finalize'; nothing was changed"
    )]
    Older {
        /// Its format.
        found: u32,
        /// The oldest this version reads.
        oldest: u32,
    },
    /// Servers that do not know the new format are running.
    #[error("format {wanted} cannot be final: these servers do not read it yet: {}", servers.join(", "))]
    InUse {
        /// The format that was to be written.
        wanted: u32,
        /// The servers that do not read it.
        servers: Vec<String>,
    },
    /// The format's row does not decode.
    #[error("the record of the data's format is damaged: restore the metadata from a backup")]
    Damaged,
    /// Too many servers at once.
    #[error("the record of the data's format is being changed by others: try again")]
    Busy,
    /// The key-value engine failed.
    #[error(transparent)]
    Kv(#[from] KvError),
}

/// A server that shares the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its version, as it calls itself.
    pub version: String,
    /// The formats it reads.
    pub reads: RangeInclusive<u32>,
    /// Seconds since its last sign of life.
    pub silent_secs: u64,
}

/// This server among those that share the data.
pub struct Membership {
    kv: Arc<dyn Kv>,
    clock: Arc<dyn Clock>,
    key: Bytes,
    version: String,
    supported: RangeInclusive<u32>,
}

struct Stored {
    format: u32,
    row: Option<Version>,
}

impl Stored {
    /// A transaction that happens only if the format is still this.
    fn unchanged(&self) -> Transaction {
        let check = self.row.map_or(Check::Absent, Check::Version);
        Transaction::new().check(keys::format(), check)
    }
}

fn format_row(format: u32) -> Bytes {
    wire::encode(&wire::FormatRow { format })
}

/// The format of the data. Without a row it is empty and takes `newest`, or was written before there was a row: 1.
async fn stored(kv: &dyn Kv, newest: u32) -> Result<Stored, FormatError> {
    if let Some(found) = kv.get(&keys::format()).await? {
        let row: wire::FormatRow = wire::decode(&found.value, "format").map_err(|_| FormatError::Damaged)?;
        return Ok(Stored { format: row.format, row: Some(found.version) });
    }
    let everything = KeyRange { start: Bytes::new(), end: None };
    let format = if kv.scan(&everything, 1).await?.is_empty() { newest } else { 1 };
    Ok(Stored { format, row: None })
}

fn check(found: u32, supported: &RangeInclusive<u32>) -> Result<(), FormatError> {
    let (oldest, newest) = (*supported.start(), *supported.end());
    match found {
        found if found > newest => Err(FormatError::Newer { found, newest }),
        found if found < oldest => Err(FormatError::Older { found, oldest }),
        _ => Ok(()),
    }
}

impl Membership {
    /// Announces this server, if it reads what is stored. Must come before anything else is read or written.
    ///
    /// # Errors
    ///
    /// It does not read what is stored; nothing was changed then.
    pub async fn join(
        kv: Arc<dyn Kv>,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
        version: impl Into<String>,
        supported: RangeInclusive<u32>,
    ) -> Result<Self, FormatError> {
        let key = keys::server(&Incarnation::random(entropy));
        let server = Self { kv, clock, key, version: version.into(), supported };
        for _ in 0..ATTEMPTS {
            let found = stored(&*server.kv, *server.supported.end()).await?;
            check(found.format, &server.supported)?;
            let announce = found
                .unchanged()
                .put(keys::format(), format_row(found.format))
                .put(server.key.clone(), server.row());
            // Refused or unknown: look again. Announced twice is announced once.
            if let Outcome::Done(_) = server.kv.transact(announce).await? {
                return Ok(server);
            }
        }
        Err(FormatError::Busy)
    }

    fn row(&self) -> Bytes {
        wire::encode(&wire::ServerRow {
            version: self.version.clone(),
            oldest: *self.supported.start(),
            newest: *self.supported.end(),
            seen_ms: self.clock.now().millis(),
        })
    }

    /// Gives a sign of life, and answers the format that is written.
    ///
    /// # Errors
    ///
    /// It is one this server does not know: it was taken for dead, and must stop at once.
    pub async fn beat(&self) -> Result<u32, FormatError> {
        self.kv.transact(Transaction::new().put(self.key.clone(), self.row())).await?;
        let found = stored(&*self.kv, *self.supported.end()).await?;
        check(found.format, &self.supported)?;
        Ok(found.format)
    }

    /// Takes the announcement back. One that cannot be taken back is forgotten after a while.
    pub async fn leave(&self) {
        if let Err(error) = self.kv.transact(Transaction::new().delete(self.key.clone())).await {
            tracing::debug!(%error, "this server's announcement stays a while");
        }
    }
}

/// What is stored and who shares it; `None`: nothing is stored.
pub async fn survey(kv: &dyn Kv, clock: &dyn Clock) -> Result<(Option<u32>, Vec<Peer>), FormatError> {
    let found = stored(kv, 0).await?;
    Ok(((found.format > 0).then_some(found.format), peers(kv, clock).await?))
}

async fn peers(kv: &dyn Kv, clock: &dyn Clock) -> Result<Vec<Peer>, FormatError> {
    let mut range = KeyRange::prefix(&keys::servers());
    let now = clock.now().millis();
    let mut all = Vec::new();
    loop {
        let rows = kv.scan(&range, PAGE).await?;
        for row in &rows {
            let Ok(server) = wire::decode::<wire::ServerRow>(&row.value, "server") else {
                // Of a version that says more: it reads at least what is written now.
                continue;
            };
            let silent_secs = u64::try_from((now - server.seen_ms).max(0) / 1000).unwrap_or_default();
            if silent_secs < FORGOTTEN.as_secs() {
                all.push(Peer { version: server.version, reads: server.oldest..=server.newest, silent_secs });
            } else {
                // Only if it is still silent.
                let gone = Transaction::new()
                    .check(row.key.clone(), Check::Version(row.version))
                    .delete(row.key.clone());
                kv.transact(gone).await?;
            }
        }
        match rows.last() {
            Some(last) if rows.len() == PAGE => range.start = after(&last.key),
            _ => return Ok(all),
        }
    }
}

/// Makes the newest format that this version knows the one that all servers write. There is no way back. Answers what was
/// written before and what is now.
///
/// # Errors
///
/// A running server does not read it.
pub async fn finalize(
    kv: &dyn Kv,
    clock: &dyn Clock,
    supported: RangeInclusive<u32>,
) -> Result<(u32, u32), FormatError> {
    let wanted = *supported.end();
    for _ in 0..ATTEMPTS {
        let found = stored(kv, wanted).await?;
        check(found.format, &supported)?;
        if found.row.is_some() && found.format == wanted {
            return Ok((wanted, wanted));
        }
        // After the format's row: see above.
        let peers = peers(kv, clock).await?;
        let behind = peers.into_iter().filter(|peer| !peer.reads.contains(&wanted));
        let servers: Vec<String> =
            behind.map(|peer| format!("{} ({} s ago)", peer.version, peer.silent_secs)).collect();
        if !servers.is_empty() {
            return Err(FormatError::InUse { wanted, servers });
        }
        let write = found.unchanged().put(keys::format(), format_row(wanted));
        if let Outcome::Done(_) = kv.transact(write).await? {
            return Ok((found.format, wanted));
        }
    }
    Err(FormatError::Busy)
}
