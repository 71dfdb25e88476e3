//! Real parts for tests: nats-server, PostgreSQL, a trace collector, an SSE client and a browser.
