//! The table: made when it is missing, refused when it is another's.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::{Decided, Failure};
use super::item::{binary, bytes_of, damaged, item, primary};
use super::layout::{self, Place};
use super::{Table, failed};
use crate::KvError;

/// The format this binary reads and writes ([`layout`], [`super::item`]).
pub(super) const FORMAT: u32 = 1;

/// How long a new table may take.
const PATIENCE: Duration = Duration::from_mins(3);
const PAUSE: Duration = Duration::from_millis(500);

/// What the service says of the table.
enum Found {
    Missing,
    /// With its status.
    There(String),
}

impl Table {
    async fn describe(&self) -> Result<Found, KvError> {
        let answer = match self.client.ask("DescribeTable", &json!({"TableName": self.name})).await {
            Err(Failure::Said(said)) if said.kind == "ResourceNotFoundException" => {
                return Ok(Found::Missing);
            }
            other => other.map_err(failed("DescribeTable"))?,
        };
        let table = answer.get("Table").unwrap_or(&Value::Null);
        let ours = json!([
            {"AttributeName": "p", "KeyType": "HASH"},
            {"AttributeName": "s", "KeyType": "RANGE"},
        ]);
        let types = table.get("AttributeDefinitions").and_then(Value::as_array);
        let binary = types.is_some_and(|types| {
            ["p", "s"]
                .iter()
                .all(|name| types.contains(&json!({"AttributeName": name, "AttributeType": "B"})))
        });
        if table.get("KeySchema") != Some(&ours) || !binary {
            return Err(KvError::Invalid(format!(
                "the DynamoDB table '{}' is another program's (its keys are not Lakebed's): name one of Lakebed's own in \
                 database.dynamodb.table_name; it is made if it is missing",
                self.name
            )));
        }
        Ok(Found::There(table.get("TableStatus").and_then(Value::as_str).unwrap_or_default().to_owned()))
    }

    /// Makes the table if it is missing, and waits until it can be used.
    pub(super) async fn ensure(&self) -> Result<(), KvError> {
        let begun = Instant::now();
        loop {
            match self.describe().await? {
                // An index or a setting is being changed: it can be used.
                Found::There(status) if status == "ACTIVE" || status == "UPDATING" => break,
                Found::There(status) if status != "CREATING" && status != "DELETING" => {
                    return Err(KvError::Engine(
                        format!("the DynamoDB table '{}' is {status}: it cannot be used", self.name).into(),
                    ));
                }
                Found::There(status) if begun.elapsed() > PATIENCE => {
                    return Err(KvError::Engine(
                        format!("the DynamoDB table '{}' is still {status}: start again later", self.name)
                            .into(),
                    ));
                }
                Found::There(_) => tokio::time::sleep(PAUSE).await,
                Found::Missing if begun.elapsed() > PATIENCE => {
                    return Err(KvError::Engine(
                        format!("the DynamoDB table '{}' does not come to be", self.name).into(),
                    ));
                }
                Found::Missing => self.create().await?,
            }
        }
        match self.format().await? {
            Some(FORMAT) => Ok(()),
            Some(found) => Err(KvError::Engine(
                format!(
                    "the DynamoDB table '{}' has format {found}, this binary knows {FORMAT}: use a later one",
                    self.name
                )
                .into(),
            )),
            None => {
                let version = FORMAT.to_be_bytes();
                let body = json!({
                    "TableName": self.name,
                    "Item": item(&layout::format(), &[("v", &version)]),
                    "ConditionExpression": "attribute_not_exists(p) OR v = :v",
                    "ExpressionAttributeValues": {":v": binary(&version)},
                });
                // It may be written twice: the second changes nothing.
                match self.client.write("PutItem", &body, true).await.map_err(failed("PutItem"))? {
                    Decided::Done => Ok(()),
                    Decided::Refused(_) | Decided::Unknown => Err(KvError::Engine(
                        format!("the format of the DynamoDB table '{}' cannot be set", self.name).into(),
                    )),
                }
            }
        }
    }

    async fn create(&self) -> Result<(), KvError> {
        let body = json!({
            "TableName": self.name,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [
                {"AttributeName": "p", "KeyType": "HASH"},
                {"AttributeName": "s", "KeyType": "RANGE"},
            ],
            "AttributeDefinitions": [
                {"AttributeName": "p", "AttributeType": "B"},
                {"AttributeName": "s", "AttributeType": "B"},
            ],
        });
        match self.client.ask("CreateTable", &body).await {
            // Another server made it meanwhile.
            Err(Failure::Said(said)) if said.kind == "ResourceInUseException" => Ok(()),
            Ok(_) => {
                tracing::info!(table = self.name, "made the DynamoDB table");
                Ok(())
            }
            Err(failure) => Err(failed("CreateTable")(failure)),
        }
    }

    /// The format of the table; `None`: it is new, or not there.
    pub(super) async fn format(&self) -> Result<Option<u32>, KvError> {
        let found = match self.get_item(&layout::format()).await {
            Err(Failure::Said(said)) if said.kind == "ResourceNotFoundException" => return Ok(None),
            other => other.map_err(failed("GetItem"))?,
        };
        let Some(found) = found else { return Ok(None) };
        let bytes: [u8; 4] = bytes_of(&found, "v")
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| damaged("its format is no number"))?;
        Ok(Some(u32::from_be_bytes(bytes)))
    }

    /// An item as it is now.
    async fn get_item(&self, place: &Place) -> Result<Option<Value>, Failure> {
        let body = json!({
            "TableName": self.name,
            "Key": primary(place),
            "ConsistentRead": true,
            "ReturnConsumedCapacity": "TOTAL",
        });
        let mut answer = self.client.ask("GetItem", &body).await?;
        Ok(answer.get_mut("Item").map(Value::take).filter(Value::is_object))
    }

    /// An item as it is now.
    pub(super) async fn item(&self, place: Place) -> Result<Option<Value>, KvError> {
        self.get_item(&place).await.map_err(failed("GetItem"))
    }

    /// Looks whether the table is there and can be used.
    pub(super) async fn health(&self) -> Result<(), KvError> {
        match self.describe().await? {
            Found::Missing => {
                Err(KvError::Engine(format!("the DynamoDB table '{}' is gone", self.name).into()))
            }
            Found::There(_) => Ok(()),
        }
    }
}
