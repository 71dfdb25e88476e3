//! The W3C `traceparent` header, read strictly: a guess would tie strangers' traces together.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

const VERSION: &str = "00";
/// `00-` 32 digits `-` 16 digits `-` 2 digits.
const LENGTH: usize = 55;

/// None for a context that names no span.
pub(super) fn write(context: &SpanContext) -> Option<String> {
    context.is_valid().then(|| {
        format!(
            "{VERSION}-{}-{}-{:02x}",
            context.trace_id(),
            context.span_id(),
            context.trace_flags() & TraceFlags::SAMPLED
        )
    })
}

/// None for anything that is not a `traceparent`.
pub(super) fn parse(header: &str) -> Option<SpanContext> {
    let known = header.get(..LENGTH)?;
    let rest = header.get(LENGTH..)?;
    let mut parts = known.split('-');
    let version = hex(parts.next()?, 2)?;
    let trace_id = TraceId::from_hex(hex(parts.next()?, 32)?).ok()?;
    let span_id = SpanId::from_hex(hex(parts.next()?, 16)?).ok()?;
    let flags = u8::from_str_radix(hex(parts.next()?, 2)?, 16).ok()?;
    // A later version may append something; ours may not, and ff is no version.
    let well_ended = match version {
        VERSION => rest.is_empty(),
        "ff" => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    let context = SpanContext::new(
        trace_id,
        span_id,
        TraceFlags::new(flags) & TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    (well_ended && parts.next().is_none() && context.is_valid()).then_some(context)
}

/// `part` if it is exactly `digits` lower-case hexadecimal digits.
fn hex(part: &str, digits: usize) -> Option<&str> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (part.len() == digits && part.bytes().all(is_hex)).then_some(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written_again() {
        assert_eq!(write(&parse(GOOD).unwrap()).as_deref(), Some(GOOD));
        let unsampled = GOOD.replace("-01", "-00");
        assert_eq!(write(&parse(&unsampled).unwrap()), Some(unsampled));
    }

    #[test]
    fn flags_we_do_not_know_are_dropped() {
        let context = parse(&GOOD.replace("-01", "-ff")).unwrap();
        assert_eq!(write(&context).as_deref(), Some(GOOD));
    }

    #[test]
    fn a_later_version_is_read_as_far_as_we_know_it() {
        assert!(parse(&GOOD.replacen("00", "01", 1)).is_some());
        assert!(parse(&format!("{}-more", GOOD.replacen("00", "cc", 1))).is_some());
        assert!(parse(&format!("{}.more", GOOD.replacen("00", "cc", 1))).is_none());
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "00",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902-b7-0",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-é4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(header in ".{0,80}") {
            let _ = parse(&header);
        }

        #[test]
        fn every_valid_one_comes_back(trace in 1_u128.., span in 1_u64.., sampled: bool) {
            let header = format!("00-{trace:032x}-{span:016x}-{:02x}", u8::from(sampled));
            prop_assert_eq!(write(&parse(&header).unwrap()), Some(header));
        }
    }
}
