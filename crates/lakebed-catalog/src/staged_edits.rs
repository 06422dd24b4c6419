//! Staged layers as edits of the head's tree.

use async_trait::async_trait;
use bytes::Bytes;
use lakebed_tree::{EDITS_AT_ONCE, Edit, EditSource, TreeError};

use crate::entry::same_content;
use crate::layers::Decision;
use crate::working::Working;

/// When a staged entry takes the place of the head's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replaces {
    /// When its content is another one: identical content is no change, and the head's older entry stays. What commits
    /// are made of.
    OtherContent,
    /// Always: what a listing shows.
    Always,
}

/// What the layers of a walk make of its head.
pub(crate) struct StagedEdits {
    pub(crate) walk: Working,
    pub(crate) replaces: Replaces,
}

impl StagedEdits {
    fn keeps(&self, new: &Bytes, old: Option<&Bytes>) -> bool {
        self.replaces == Replaces::OtherContent && old.is_some_and(|old| same_content(new, old))
    }

    async fn edit(&mut self) -> Result<Option<Edit>, TreeError> {
        loop {
            let item =
                self.walk.next_staged().await.map_err(|error| TreeError::Source(error.to_string().into()))?;
            let Some(item) = item else {
                return Ok(None);
            };
            let value = match (item.staged, item.head) {
                (Some(Decision::Entry(new)), old) if self.keeps(&new, old.as_ref()) => continue,
                (Some(Decision::Entry(new)), _) => Some(new),
                (Some(Decision::Tombstone), Some(_)) => None,
                (Some(Decision::Tombstone), None) | (None, _) => continue,
            };
            return Ok(Some(Edit { key: item.path, value }));
        }
    }
}

#[async_trait]
impl EditSource for StagedEdits {
    async fn next(&mut self) -> Result<Option<Edit>, TreeError> {
        self.edit().await
    }

    async fn next_some(&mut self, into: &mut Vec<Edit>) -> Result<(), TreeError> {
        for _ in 0..EDITS_AT_ONCE {
            match self.edit().await? {
                Some(edit) => into.push(edit),
                None => break,
            }
        }
        Ok(())
    }
}
