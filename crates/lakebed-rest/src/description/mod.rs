//! The description of the API, generated from the table of operations that serves it.
//!
//! What the table knows is taken from it: paths, methods, who may call, the types of JSON bodies. What it cannot know
//! is said in [`operations`]: what an operation is for, its answers, its parameters. Parameters are declared there and
//! nowhere else; what a handler reads is read by the declaration, and a test holds the two against each other.

mod document;
pub(crate) mod operation;
mod operations;
pub(crate) mod parameters;
mod prose;
mod schemas;

pub(crate) use document::Document;
pub(crate) use operation::Described;
pub(crate) use operations::of;

#[cfg(test)]
mod tests;
