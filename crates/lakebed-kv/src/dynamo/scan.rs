//! Scans: the partitions of short keys side by side, groups of long keys where their signs stand.

use std::collections::VecDeque;

use futures::future::try_join_all;
use serde_json::{Value, json};

use super::item::{Stored, binary, bytes_of, damaged};
use super::layout::{self, Bounds, SHARDS, Sorted};
use super::{Table, failed};
use crate::{Key, KeyRange, KvError};

/// Part of a partition, read page by page.
struct Stream {
    partition: Vec<u8>,
    bounds: Bounds,
    /// Where the next page begins.
    next: Option<Value>,
    ended: bool,
    page: VecDeque<(Vec<u8>, Stored)>,
}

impl Stream {
    fn of(partition: Vec<u8>, bounds: Bounds) -> Self {
        Self { partition, bounds, next: None, ended: false, page: VecDeque::new() }
    }

    /// Makes sure that its first item, if it has any more, is in memory.
    async fn fill(&mut self, table: &Table, limit: usize) -> Result<(), KvError> {
        while self.page.is_empty() && !self.ended {
            let mut values = json!({":p": binary(&self.partition)});
            let condition = match (&self.bounds.first, &self.bounds.last) {
                (None, None) => "p = :p",
                (Some(_), None) => "p = :p AND s >= :a",
                (None, Some(_)) => "p = :p AND s <= :b",
                (Some(_), Some(_)) => "p = :p AND s BETWEEN :a AND :b",
            };
            for (name, bound) in [(":a", &self.bounds.first), (":b", &self.bounds.last)] {
                if let Some(bound) = bound {
                    values[name] = binary(bound);
                }
            }
            let mut body = json!({
                "TableName": table.name,
                "ConsistentRead": true,
                "KeyConditionExpression": condition,
                "ExpressionAttributeValues": values,
                "Limit": limit,
                "ReturnConsumedCapacity": "TOTAL",
            });
            if let Some(next) = self.next.take() {
                body["ExclusiveStartKey"] = next;
            }
            let mut answer = table.client.ask("Query", &body).await.map_err(failed("Query"))?;
            let items = answer.get("Items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            for item in items {
                let sort = bytes_of(item, "s").ok_or_else(|| damaged("an item without key"))?;
                self.page.push_back((sort, Stored::of(item)?));
            }
            self.next = answer.get_mut("LastEvaluatedKey").map(Value::take).filter(|key| !key.is_null());
            self.ended = self.next.is_none();
        }
        Ok(())
    }
}

impl Table {
    /// The first `limit` items of a range, in order; what is too large for one item is not read yet.
    pub(super) async fn range(&self, range: &KeyRange, limit: usize) -> Result<Vec<(Key, Stored)>, KvError> {
        if limit == 0 || range.end.as_ref().is_some_and(|end| *end <= range.start) {
            return Ok(Vec::new());
        }
        let inside = |key: &[u8]| range.end.as_ref().is_none_or(|end| *key < **end);
        // Hashing spreads evenly: twice its share of each partition is seldom too little. One item is asked of all.
        let page = (limit.div_ceil(usize::from(SHARDS)) * 2 + 2).min(limit).min(self.page);
        let bounds = layout::short_bounds(range);
        let mut streams: Vec<Stream> =
            (0..SHARDS).map(|number| Stream::of(layout::shard(number), bounds.clone())).collect();
        try_join_all(streams.iter_mut().map(|stream| stream.fill(self, page))).await?;
        let mut found = Vec::new();
        while found.len() < limit {
            let first = streams
                .iter_mut()
                .filter(|stream| !stream.page.is_empty())
                .min_by(|one, two| one.page[0].0.cmp(&two.page[0].0));
            let Some(stream) = first else { break };
            let Some((sort, stored)) = stream.page.pop_front() else { break };
            match layout::sorted(&sort) {
                Sorted::Key(key) if inside(key) => found.push((Key::copy_from_slice(key), stored)),
                Sorted::Key(_) => {}
                Sorted::Group(name) => self.group(name, &stored, range, limit, &mut found).await?,
            }
            stream.fill(self, page).await?;
        }
        Ok(found)
    }

    /// Adds the keys of a group that lie in the range, up to the limit.
    async fn group(
        &self,
        name: &[u8],
        sign: &Stored,
        range: &KeyRange,
        limit: usize,
        found: &mut Vec<(Key, Stored)>,
    ) -> Result<(), KvError> {
        let Some(bounds) = layout::group_bounds(name, range) else { return Ok(()) };
        let whole = bounds == Bounds { first: None, last: None };
        let mut stream = Stream::of(layout::group(name), bounds);
        let mut empty = true;
        while found.len() < limit {
            stream.fill(self, (limit - found.len()).min(self.page)).await?;
            let Some((rest, stored)) = stream.page.pop_front() else { break };
            empty = false;
            let key = [name, &rest].concat();
            if range.end.as_ref().is_none_or(|end| key[..] < **end) {
                found.push((key.into(), stored));
            }
        }
        if whole && empty {
            self.forget_group(name, sign).await;
        }
        Ok(())
    }

    /// Takes the sign of a group away that was seen to be empty. Every write to the group writes the sign, too: if it is still
    /// the one seen before the group was read, nothing has come since.
    async fn forget_group(&self, name: &[u8], sign: &Stored) {
        let Some(place) = layout::sign(&[name, &[0]].concat()) else { return };
        let body = json!({
            "TableName": self.name,
            "Key": super::item::primary(&place),
            "ConditionExpression": "r = :r",
            "ExpressionAttributeValues": {":r": binary(&super::item::version_bytes(sign.version))},
        });
        // It harms nobody if it stays.
        if let Err(failure) = self.client.write("DeleteItem", &body, false).await {
            tracing::debug!(error = %failure.error("DeleteItem"), "the sign of an empty group stays");
        }
    }
}
