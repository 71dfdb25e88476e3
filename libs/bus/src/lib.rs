//! NATS: the stream, publishing, the spine, live payloads and history.
