//! Finding the operation of a request.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::operation::Operation;

/// The table of operations, by path and method.
pub(crate) struct Router {
    paths: matchit::Router<Vec<usize>>,
    operations: Vec<Operation>,
}

/// An operation, and the path parameters it was found with.
pub(crate) struct Found<'a> {
    pub operation: &'a Operation,
    pub params: Vec<(&'static str, String)>,
}

impl Router {
    /// A router over these operations. Two that claim the same place are an error of the table.
    pub(crate) fn new(operations: Vec<Operation>) -> Result<Self, matchit::InsertError> {
        let mut grouped: Vec<(&'static str, Vec<usize>)> = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            match grouped.iter_mut().find(|(path, _)| *path == operation.path) {
                Some((_, indexes)) => indexes.push(index),
                None => grouped.push((operation.path, vec![index])),
            }
        }
        let mut paths = matchit::Router::new();
        for (path, indexes) in grouped {
            paths.insert(path, indexes)?;
        }
        Ok(Self { paths, operations })
    }

    /// The operation at a path (without the API's prefix). Each segment is decoded after it was found, so that an
    /// encoded slash does not split it; a segment that is not UTF-8 is found nowhere.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Option<Found<'_>> {
        let found = self.paths.at(path).ok()?;
        let operation = found
            .value
            .iter()
            .map(|index| &self.operations[*index])
            .find(|operation| operation.method == *method)?;
        let mut params = Vec::with_capacity(found.params.len());
        for (name, raw) in found.params.iter() {
            if raw.is_empty() {
                return None;
            }
            let value = percent_decode_str(raw).decode_utf8().ok()?;
            let known = operation.path_parameters().find(|known| *known == name)?;
            params.push((known, value.into_owned()));
        }
        Some(Found { operation, params })
    }

    /// All operations.
    pub(crate) fn operations(&self) -> &[Operation] {
        &self.operations
    }
}
