//! `Idempotency-Key`: what moves a branch's head and whose answer was lost can be sent again, and happens once
//! (ours; `versioning-api` §19).
//!
//! A key belongs to its caller, the repository and the operation, and is remembered for a day. The same key with another
//! request is refused with 422: it would be answered with what the first one made.

use http::HeaderName;
use lakebed_catalog::Once;
use serde::Serialize;

use crate::call::Call;
use crate::error::RestError;

/// The header, as it is declared of the operations that take it.
pub(crate) const HEADER: &str = "Idempotency-Key";

/// The longest key, in bytes.
pub(crate) const LONGEST: usize = 255;

/// What the catalog remembers this call by, if it has a key. `request` is everything it asks for besides its path.
pub(crate) fn once(call: &Call, request: &impl Serialize) -> Result<Option<Once>, RestError> {
    let Some(key) = call.header(&HeaderName::from_static("idempotency-key")) else { return Ok(None) };
    let written =
        serde_json::to_vec(request).map_err(|error| RestError::internal("digest of a request", &error))?;
    let operation = call.described.id.as_bytes();
    let caller = call.principal()?.user_id.as_bytes();
    let path = call.params.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    Ok(Some(Once {
        key: digest([operation, caller, key.as_bytes()].into_iter()),
        request: digest(path.chain([&written[..]])),
    }))
}

/// Of parts whose ends count.
fn digest<'a>(parts: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_parts_count() {
        let of = |parts: &[&str]| digest(parts.iter().map(|part| part.as_bytes()));
        assert_eq!(of(&["a", "bc"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", "bc"]), of(&["ab", "c"]));
        assert_ne!(of(&["a"]), of(&["a", ""]));
    }
}
