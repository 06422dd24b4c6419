//! The wire types of the REST API, shared by server and client.
