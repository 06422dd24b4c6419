//! Git-like version control for data lakes: the server and its commands.
fn main() {}
