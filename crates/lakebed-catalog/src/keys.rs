//! Key constructors, one per record of `protocol.md`.
