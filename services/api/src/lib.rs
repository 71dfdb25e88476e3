//! The API service: subscriptions, discussions and the relay.
