//! XML: answers are written with [`Writer`], requests are read as [`Element`]s.

mod read;
mod write;

pub(crate) use read::Element;
pub(crate) use write::{DECLARATION, Writer};
