//! Users, credentials, tokens and the authorization decision. Does not know HTTP.
