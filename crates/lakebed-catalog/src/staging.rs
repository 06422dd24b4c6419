//! Staging: layers, gates, rows (`protocol.md`).
