//! REST handlers: wire types to catalog calls, error mapping.
