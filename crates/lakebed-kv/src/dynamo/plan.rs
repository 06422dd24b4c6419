//! A transaction as DynamoDB takes it: one action for each item.
//!
//! A check of a key and the write of it are one action. A long key brings the sign of its group along
//! ([`super::layout`]), a large value its pieces and a note of them: pieces are never changed, and belong to one version of one
//! key, so who finds the version can read them later. When the key is written again or deleted nobody looks whether it had
//! any; the sweeper finds them by their notes ([`super::pieces`]).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::item::{PIECE, binary, item, primary, version_bytes};
use super::layout;
use crate::{Check, Key, KvError, Transaction, Version, Write};

/// What `TransactWriteItems` takes.
const MOST_ACTIONS: usize = 100;

/// A transaction's actions.
pub(super) struct Plan {
    /// What is done, and of which key.
    actions: Vec<(Option<Key>, &'static str, Value)>,
}

fn action(table: &str, check: Option<Check>) -> Map<String, Value> {
    let mut action = Map::new();
    action.insert("TableName".to_owned(), table.into());
    let condition = match check {
        None => return action,
        Some(Check::Absent) => "attribute_not_exists(p)",
        Some(Check::Exists) => "attribute_exists(p)",
        Some(Check::Version(version)) => {
            let values = json!({":r": binary(&version_bytes(version))});
            action.insert("ExpressionAttributeValues".to_owned(), values);
            "r = :r"
        }
    };
    action.insert("ConditionExpression".to_owned(), condition.into());
    action
}

impl Plan {
    /// What a well-formed transaction asks for, its writes being of this version.
    pub(super) fn of(transaction: &Transaction, version: Version, table: &str) -> Result<Self, KvError> {
        let mut checks: BTreeMap<&Key, Check> =
            transaction.checks.iter().map(|(key, check)| (key, *check)).collect();
        let mut plan = Self { actions: Vec::with_capacity(transaction.writes.len() + checks.len()) };
        let mut signs = BTreeMap::new();
        for (at, (key, write)) in transaction.writes.iter().enumerate() {
            let mut action = action(table, checks.remove(key));
            let place = layout::place(key);
            match write {
                Write::Delete => {
                    action.insert("Key".to_owned(), primary(&place));
                    plan.actions.push((Some(key.clone()), "Delete", action.into()));
                }
                Write::Put(value) => {
                    if let Some(sign) = layout::sign(key) {
                        let item = item(&sign, &[("r", &version_bytes(version))]);
                        signs.insert(sign, item);
                    }
                    let (first, rest) = value.split_at(value.len().min(PIECE));
                    let handle = [&version_bytes(version)[..], &(at as u16).to_be_bytes()].concat();
                    let number = rest.len().div_ceil(PIECE) as u16;
                    let version = version_bytes(version);
                    let mut attributes: Vec<(&str, &[u8])> = vec![("r", &version), ("v", first)];
                    let number_bytes = number.to_be_bytes();
                    if number > 0 {
                        attributes.extend([("c", &handle[..]), ("n", &number_bytes[..])]);
                    }
                    action.insert("Item".to_owned(), item(&place, &attributes));
                    plan.actions.push((Some(key.clone()), "Put", action.into()));
                    if number > 0 {
                        let note: [(&str, &[u8]); 2] = [("k", &key[..]), ("n", &number_bytes)];
                        plan.put(table, &item(&layout::pieces_note(&handle), &note));
                        for (number, piece) in rest.chunks(PIECE).enumerate() {
                            let at = layout::piece(&handle, number as u16);
                            plan.put(table, &item(&at, &[("v", piece)]));
                        }
                    }
                }
            }
        }
        for (_, sign) in signs {
            plan.put(table, &sign);
        }
        for (key, check) in checks {
            let mut action = action(table, Some(check));
            action.insert("Key".to_owned(), primary(&layout::place(key)));
            plan.actions.push((Some(key.clone()), "ConditionCheck", action.into()));
        }
        if plan.actions.len() > MOST_ACTIONS {
            return Err(KvError::Invalid(format!(
                "long keys and large values make {} items of it, DynamoDB takes {MOST_ACTIONS}",
                plan.actions.len()
            )));
        }
        Ok(plan)
    }

    fn put(&mut self, table: &str, item: &Value) {
        self.actions.push((None, "Put", json!({"TableName": table, "Item": item})));
    }

    /// Whether nothing is asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// The operation, its request, whether it may be sent again by its token, and the key of each action. One write alone
    /// is half as dear by itself.
    pub(super) fn request(mut self, token: &str) -> (&'static str, Value, bool, Vec<Option<Key>>) {
        let keys = self.actions.iter().map(|(key, _, _)| key.clone()).collect();
        if let [(_, kind @ ("Put" | "Delete"), action)] = &mut self.actions[..] {
            action["ReturnConsumedCapacity"] = "TOTAL".into();
            let operation = if *kind == "Put" { "PutItem" } else { "DeleteItem" };
            return (operation, action.take(), false, keys);
        }
        let actions: Vec<Value> =
            self.actions.into_iter().map(|(_, kind, action)| json!({kind: action})).collect();
        let body = json!({
            "TransactItems": actions,
            "ClientRequestToken": token,
            "ReturnConsumedCapacity": "TOTAL",
        });
        ("TransactWriteItems", body, true, keys)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn plan(transaction: &Transaction) -> Plan {
        Plan::of(transaction, Version(7), "t").unwrap()
    }

    #[test]
    fn a_check_and_a_write_of_one_key_are_one_cheap_action() {
        let (operation, body, with_token, keys) =
            plan(&Transaction::new().check("k", Check::Version(Version(3))).put("k", "v")).request("token");
        assert_eq!((operation, with_token, keys), ("PutItem", false, vec![Some("k".into())]));
        assert_eq!(body["ConditionExpression"], "r = :r");
        assert_eq!(body["Item"]["v"], binary(b"v"));
        let (operation, body, ..) = plan(&Transaction::new().delete("k")).request("token");
        assert_eq!((operation, &body["Key"]), ("DeleteItem", &primary(&layout::place(b"k"))));
        let (operation, body, with_token, keys) =
            plan(&Transaction::new().check("gate", Check::Exists).put("k", "v")).request("token");
        assert_eq!((operation, with_token), ("TransactWriteItems", true));
        assert_eq!(body["ClientRequestToken"], "token");
        assert_eq!(keys, [Some("k".into()), Some("gate".into())]);
    }

    #[test]
    fn large_values_and_long_keys_bring_what_belongs_to_them() {
        let value = Bytes::from(vec![1; 2 * PIECE + 1]);
        let (_, body, ..) = plan(&Transaction::new().put("k", value)).request("t");
        // The key, a note, two more pieces.
        assert_eq!(body["TransactItems"].as_array().unwrap().len(), 4);
        let long = |end: u8| Bytes::from([vec![b'x'; layout::SHORT], vec![end]].concat());
        let two = Transaction::new().put(long(1), "").put(long(2), "").delete(long(3));
        // One sign for both.
        assert_eq!(plan(&two).request("t").1["TransactItems"].as_array().unwrap().len(), 4);
        let many = (0..60_u8).fold(Transaction::new(), |all, n| {
            all.put(Bytes::from([vec![n; layout::SHORT], vec![n]].concat()), "")
        });
        assert!(matches!(Plan::of(&many, Version(1), "t"), Err(KvError::Invalid(_))));
    }
}
