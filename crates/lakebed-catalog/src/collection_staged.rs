//! What a garbage collector outside the server must keep: the addresses that are staged and not committed
//! (`operations.md` §6.2).
//!
//! Every layer of every branch counts, also what a newer layer hides, and so do multipart uploads. It is read page by
//! page, each a request of its own; a branch that is committed meanwhile is begun anew, which names some addresses twice. A
//! collector asks for this first and for the active commits afterwards, so what is committed in between is in one of the
//! two.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lakebed_blocks::{BlockAddress, PutOptions};
use lakebed_core::{BranchId, LayerId, ObjectName, RepositoryId};
use lakebed_kv::KeyRange;

use crate::branch_state::{BranchState, Content};
use crate::catalog::Inner;
use crate::collection::RETENTION;
use crate::entry::EntryView;
use crate::layers::Decision;
use crate::sweep::after;
use crate::working::{READ_ATTEMPTS, busy};
use crate::{Catalog, CatalogError, ErrorKind, PageRequest, Repository, keys, wire};

/// Addresses of one page.
const MOST_ADDRESSES: usize = 100_000;

/// Branches looked at for one page, so that many without changes do not make a request endless.
const MOST_BRANCHES: usize = 10_000;

/// Branches and uploads read at once.
const PAGE: usize = 256;

/// Bytes of one file.
const FILE_BYTES: usize = 1 << 20;

/// A page of staged addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StagedAddresses {
    /// The run it belongs to.
    pub run: String,
    /// Where the run's files are; empty if this page has none.
    pub location: String,
    /// Asks for the next page; `None` on the last.
    pub next: Option<String>,
}

impl Catalog {
    /// Writes a page of the addresses that are staged. `token` is the `next` of the page before.
    pub async fn prepare_staged(
        &self,
        repository: &RepositoryId,
        token: Option<&str>,
    ) -> Result<StagedAddresses, CatalogError> {
        self.prepare_staged_by(repository, token, MOST_ADDRESSES, MOST_BRANCHES).await
    }

    /// [`Catalog::prepare_staged`] with smaller pages, for tests.
    #[doc(hidden)]
    pub async fn prepare_staged_by(
        &self,
        repository: &RepositoryId,
        token: Option<&str>,
        most_addresses: usize,
        most_branches: usize,
    ) -> Result<StagedAddresses, CatalogError> {
        let record = self.repository(repository).await?;
        Inner::check_writable(&record, false)?;
        let at = match token {
            None => wire::StagedToken {
                run: ObjectName::ascending(self.inner.clock.now(), &*self.inner.entropy).to_string(),
                ..wire::StagedToken::default()
            },
            Some(token) => parse(token)?,
        };
        let mut page = StagedPage {
            catalog: self,
            repository: &record,
            run: at.run.clone(),
            file: at.files,
            held: String::new(),
            found: 0,
            most: most_addresses,
            wrote: false,
        };
        let next = page.fill(at, most_branches).await?;
        page.write().await?;
        let location = if page.wrote { page.directory().as_str().to_owned() } else { String::new() };
        let files = page.file;
        let next = next.map(|next| {
            let next = wire::StagedToken { run: page.run.clone(), files, ..next };
            URL_SAFE_NO_PAD.encode(wire::encode(&next))
        });
        Ok(StagedAddresses { run: page.run, location, next })
    }
}

fn parse(token: &str) -> Result<wire::StagedToken, CatalogError> {
    let invalid = || {
        CatalogError::refused(
            ErrorKind::Invalid,
            "continuation_token: it must be one that a page before gave: validation error",
        )
    };
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let token: wire::StagedToken = wire::decode(&bytes, "token").map_err(|_| invalid())?;
    // It becomes a part of an address.
    token.run.parse::<ObjectName>().map_err(|_| invalid())?;
    if !token.branch.is_empty() {
        token.branch.parse::<BranchId>().map_err(|_| invalid())?;
    }
    Ok(token)
}

/// A page on its way.
struct StagedPage<'a> {
    catalog: &'a Catalog,
    repository: &'a Repository,
    run: String,
    /// Files of the run so far.
    file: u64,
    held: String,
    found: usize,
    most: usize,
    wrote: bool,
}

/// How far a branch was read.
enum Read {
    Whole,
    /// Up to this path of this layer.
    Until(LayerId, Vec<u8>),
}

impl StagedPage<'_> {
    fn directory(&self) -> BlockAddress {
        let key = format!("{RETENTION}/uncommitted/run_id={}/", self.run);
        BlockAddress::in_namespace(&self.repository.storage_namespace, &key)
    }

    /// Fills the page from `at` on; answers where the next one begins.
    async fn fill(
        &mut self,
        at: wire::StagedToken,
        most_branches: usize,
    ) -> Result<Option<wire::StagedToken>, CatalogError> {
        let inner = &self.catalog.inner;
        if !at.in_uploads {
            let mut looked_at = 0;
            let mut page = PageRequest { after: at.branch.clone(), amount: PAGE, ..PageRequest::default() };
            // The branch that the page before was in the middle of.
            if !at.branch.is_empty() && !at.layer.is_empty() {
                let from = LayerId::from_slice(&at.layer).map(|layer| (layer, at.path.clone()));
                if let Some(next) = self.branch(&at.branch, from).await? {
                    return Ok(Some(next));
                }
            }
            loop {
                let branches = self.catalog.list_branches(&self.repository.id, &page, true).await?;
                for branch in &branches.items {
                    if looked_at >= most_branches {
                        return Ok(Some(wire::StagedToken {
                            branch: page.after,
                            ..wire::StagedToken::default()
                        }));
                    }
                    if let Some(next) = self.branch(branch.id.as_str(), None).await? {
                        return Ok(Some(next));
                    }
                    looked_at += 1;
                    page.after = branch.id.to_string();
                }
                if !branches.has_more {
                    break;
                }
            }
        }
        let mut range = KeyRange::prefix(&keys::uploads(&self.repository.incarnation));
        if at.in_uploads && !at.path.is_empty() {
            range.start =
                after(&keys::upload(&self.repository.incarnation, &String::from_utf8_lossy(&at.path)));
        }
        loop {
            let rows = inner.kv.scan(&range, PAGE).await?;
            for row in &rows {
                let upload: wire::UploadRow = wire::decode(&row.value, "upload")?;
                self.add(&upload.address).await?;
                if self.found >= self.most {
                    let path = upload.id.into_bytes();
                    let next = wire::StagedToken { in_uploads: true, path, ..wire::StagedToken::default() };
                    return Ok(Some(next));
                }
            }
            match rows.last() {
                Some(last) if rows.len() == PAGE => range.start = after(&last.key),
                _ => return Ok(None),
            }
        }
    }

    /// Adds what is staged on a branch, from behind a path of a layer on.
    async fn branch(
        &mut self,
        name: &str,
        mut from: Option<(LayerId, Vec<u8>)>,
    ) -> Result<Option<wire::StagedToken>, CatalogError> {
        let inner = &self.catalog.inner;
        for _ in 0..READ_ATTEMPTS {
            let Some(state) = inner.find_branch(self.repository, name).await? else { return Ok(None) };
            let read = self.layers(&state, from.take()).await;
            // What is part of a whole was read, whatever became of it since.
            let read = match read {
                Ok(until @ Read::Until(..)) => Some(until),
                read => inner.of_layers(&state, read).await?,
            };
            match read {
                Some(Read::Until(layer, path)) => {
                    return Ok(Some(wire::StagedToken {
                        branch: name.to_owned(),
                        layer: layer.as_bytes().to_vec(),
                        path,
                        ..wire::StagedToken::default()
                    }));
                }
                Some(Read::Whole) => return Ok(None),
                // A layer was committed or reset meanwhile: what was read of it may not have been whole.
                None => {}
            }
        }
        Err(busy(&format!("staged addresses of branch '{name}'")))
    }

    async fn layers(
        &mut self,
        state: &BranchState,
        from: Option<(LayerId, Vec<u8>)>,
    ) -> Result<Read, CatalogError> {
        let layers = std::iter::once((state.current, None))
            .chain(state.sealed.iter().map(|sealed| (sealed.id, Some(sealed))));
        let mut layers: Vec<_> = layers
            .filter(|(_, sealed)| !sealed.is_some_and(|sealed| matches!(sealed.content, Content::Mask(_))))
            .collect();
        let mut start: Vec<u8> = Vec::new();
        // A layer that is no longer there was folded or committed: then the branch is begun anew.
        if let Some((layer, path)) = from
            && let Some(at) = layers.iter().position(|(id, _)| *id == layer)
        {
            layers.drain(..at);
            start = path;
            start.push(0);
        }
        for (id, sealed) in layers {
            // One layer alone: what newer ones hide counts, too.
            let mut stack = match sealed {
                None => self.catalog.inner.stack(self.repository, Some(id), &[]),
                Some(sealed) => self.catalog.inner.stack(self.repository, None, std::slice::from_ref(sealed)),
            };
            stack.seek(&std::mem::take(&mut start)).await?;
            while let Some((path, decision)) = stack.take().await? {
                let Some(Decision::Entry(entry)) = decision else { continue };
                let entry = EntryView::parse(&entry).ok_or(CatalogError::Damaged { what: "entry" })?;
                self.add(entry.address).await?;
                if self.found >= self.most {
                    return Ok(Read::Until(id, path.into()));
                }
            }
        }
        Ok(Read::Whole)
    }

    /// Adds an address, unless it is outside the namespace: nobody collects there.
    async fn add(&mut self, address: &str) -> Result<(), CatalogError> {
        if address.contains("://") {
            return Ok(());
        }
        self.found += 1;
        self.held.push_str(address);
        self.held.push('\n');
        if self.held.len() >= FILE_BYTES - 4096 {
            self.write().await?;
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), CatalogError> {
        if self.held.is_empty() {
            return Ok(());
        }
        let address = self.directory().and(&format!("part-{:06}.csv", self.file));
        let content = format!("{HEAD}{}", std::mem::take(&mut self.held));
        self.catalog.inner.blocks.put_bytes(&address, content.into(), PutOptions::default()).await?;
        self.file += 1;
        self.wrote = true;
        Ok(())
    }
}

/// The head of each file.
const HEAD: &str = "physical_address\n";
