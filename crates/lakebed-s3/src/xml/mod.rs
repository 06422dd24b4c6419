//! XML: answers are written with [`Writer`], requests are read with `read`.

mod write;

pub(crate) use write::Writer;
