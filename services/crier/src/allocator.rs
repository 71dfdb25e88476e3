//! jemalloc (feature `jemalloc`, which the image and the benchmarks have): a delivery takes less than with glibc's allocator,
//! an idle stream less memory, and what clients leave behind when they go is given back. ADR 14 has the figures.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// What jemalloc reads when it starts; `_RJEM_MALLOC_CONF` in the environment goes over it. What is free is given back by a
/// thread of its own, over ten seconds: a gateway whose clients have left allocates nothing that would give it an occasion.
#[allow(unsafe_code, reason = "it has to be found by its name")]
#[unsafe(export_name = "_rjem_malloc_conf")]
#[used]
static CONFIGURATION: &[u8; 23] = b"background_thread:true\0";
