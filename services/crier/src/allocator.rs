//! jemalloc, on huge pages (feature `jemalloc`, which the image and the benchmarks have).
//!
//! A delivery touches memory that nobody has touched since the last, some ten places for each stream, and on pages of 4 KiB
//! the processor has to find out for each of them where it is. ADR 14 has what other allocators and larger
//! pages make of that.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// What jemalloc reads when it starts; `_RJEM_MALLOC_CONF` in the environment goes over it. Where the machine allows no
/// huge pages (`/sys/kernel/mm/transparent_hugepage/enabled` is `never`) it goes on without. What is free is given back by a
/// thread of its own: a gateway whose clients have left allocates nothing that would give it an occasion.
#[allow(unsafe_code, reason = "it has to be found by its name")]
#[unsafe(export_name = "_rjem_malloc_conf")]
#[used]
static CONFIGURATION: &[u8; 34] = b"thp:always,background_thread:true\0";
