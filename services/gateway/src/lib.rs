//! The gateway: holds the browsers' event streams.
