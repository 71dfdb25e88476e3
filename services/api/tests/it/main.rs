//! The API service as a whole: a real one on a free port, on SQLite in a folder of its own, mostly without NATS.
