//! The hub: walks the spine, matches events to connections and gives frames, without I/O.
