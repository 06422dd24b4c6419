//! Values too large for one item: reading their pieces, and taking away those that nobody can name any more.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::item::{Pieces, Stored, binary, bytes_of, damaged, primary};
use super::{Table, failed, layout};
use crate::{KvError, Version, Versioned};

/// How often pieces are looked for that nobody can name.
pub(super) const SWEEP: Duration = Duration::from_hours(1);

/// Notes looked at at once.
const NOTES: usize = 100;

impl Table {
    /// The value of what was found; `None`: its pieces are gone, for it was written again meanwhile.
    pub(super) async fn whole(&self, stored: Stored) -> Result<Option<Versioned>, KvError> {
        let Stored { version, value, pieces } = stored;
        let Some(Pieces { handle, number }) = pieces else { return Ok(Some(Versioned { value, version })) };
        let rest = (0..number).map(|number| self.item(layout::piece(&handle, number)));
        let rest = try_join_all(rest).await?;
        let mut whole = BytesMut::from(value);
        for piece in rest {
            let Some(piece) = piece.as_ref().and_then(|piece| bytes_of(piece, "v")) else { return Ok(None) };
            whole.extend_from_slice(&piece);
        }
        Ok(Some(Versioned { value: whole.freeze(), version }))
    }

    /// Takes away the pieces of values that were overwritten or deleted. They were made in one transaction with their key, so
    /// if that has another version now, it will never have theirs again. May stop anywhere and be done by many at once: a note
    /// goes after its pieces.
    pub(super) async fn sweep(&self) -> Result<usize, KvError> {
        let mut swept = 0;
        let mut next: Option<Value> = None;
        loop {
            let mut body = json!({
                "TableName": self.name,
                "ConsistentRead": true,
                "KeyConditionExpression": "p = :p",
                "ExpressionAttributeValues": {":p": binary(&layout::pieces_notes())},
                "Limit": NOTES,
                "ReturnConsumedCapacity": "TOTAL",
            });
            if let Some(next) = next.take() {
                body["ExclusiveStartKey"] = next;
            }
            let mut answer = self.client.ask("Query", &body).await.map_err(failed("Query"))?;
            for note in answer.get("Items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default() {
                swept += usize::from(self.sweep_one(note).await?);
            }
            next = answer.get_mut("LastEvaluatedKey").map(Value::take).filter(|key| !key.is_null());
            if next.is_none() {
                return Ok(swept);
            }
        }
    }

    async fn sweep_one(&self, note: &Value) -> Result<bool, KvError> {
        let text = || damaged("a note of pieces that says something else");
        let handle = bytes_of(note, "s").ok_or_else(text)?;
        let key = bytes_of(note, "k").map(Bytes::from).ok_or_else(text)?;
        let number: [u8; 2] = bytes_of(note, "n").and_then(|n| n.try_into().ok()).ok_or_else(text)?;
        let made =
            handle.first_chunk::<8>().map(|bytes| Version(u64::from_be_bytes(*bytes))).ok_or_else(text)?;
        let now = self.item(layout::place(&key)).await?;
        if now.as_ref().map(Stored::of).transpose()?.is_some_and(|now| now.version == made) {
            return Ok(false);
        }
        let pieces = (0..u16::from_be_bytes(number)).map(|number| layout::piece(&handle, number));
        for place in pieces.chain([layout::pieces_note(&handle)]) {
            let body = json!({"TableName": self.name, "Key": primary(&place)});
            // Deleted twice is deleted.
            self.client.ask("DeleteItem", &body).await.map_err(failed("DeleteItem"))?;
        }
        Ok(true)
    }
}
