//! What Crier is about, without I/O: ids, events, the audience rule, snapshots, cursors, subjects and headers.
