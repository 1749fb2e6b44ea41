//! The context of a span, and its text: `traceparent` of W3C Trace Context, version `00`.

use std::fmt;

/// Identity of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) trace: [u8; 16],
    pub(crate) span: [u8; 8],
    /// `true` if the spans of the trace are recorded.
    pub(crate) sampled: bool,
}

impl TraceContext {
    /// Returns the context of the root of a new, sampled trace.
    pub(super) fn root() -> TraceContext {
        let mut trace = [0; 16];
        // Without random bytes, ids from the clock are still unique on this device.
        if getrandom::fill(&mut trace).is_err() || trace == [0; 16] {
            let nanoseconds = jiff::Timestamp::now().as_nanosecond();
            trace = (nanoseconds as u128).to_be_bytes();
        }
        TraceContext { trace, span: span_id(), sampled: true }
    }

    /// Returns the context of a new span below this one.
    pub(super) fn child(&self) -> TraceContext {
        TraceContext { span: span_id(), ..*self }
    }

    /// Returns the context that a caller has put into a field of a payload.
    pub(crate) fn of_payload(payload: &[u8], field: &str) -> Option<TraceContext> {
        let payload: serde_json::Value = serde_json::from_slice(payload).ok()?;
        TraceContext::parse(payload.get(field)?.as_str()?)
    }

    /// Parses the text. Later versions can have more at its end. Returns `None` if the text is
    /// invalid, which starts a new trace (section 4.3 of the specification).
    pub(crate) fn parse(text: &str) -> Option<TraceContext> {
        let mut parts = text.trim().split('-');
        let version = bytes::<1>(parts.next()?)?;
        let (trace, span) = (bytes(parts.next()?)?, bytes(parts.next()?)?);
        let [flags] = bytes(parts.next()?)?;
        let is_longer = parts.next().is_some();
        let is_valid = version != [0xff] && trace != [0; 16] && span != [0; 8];
        (is_valid && !(is_longer && version == [0])).then_some(TraceContext {
            trace,
            span,
            sampled: flags & 1 == 1,
        })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TraceContext { trace, span, sampled } = self;
        let (trace, span) = (u128::from_be_bytes(*trace), u64::from_be_bytes(*span));
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", u8::from(*sampled))
    }
}

/// Returns a random id of a span, which is never zero.
fn span_id() -> [u8; 8] {
    let clock = || jiff::Timestamp::now().as_microsecond() as u64;
    getrandom::u64().unwrap_or_else(|_| clock()).max(1).to_be_bytes()
}

/// Parses lower-case hexadecimal digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 2 * N || !text.as_bytes().iter().all(is_digit) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_survives_printing_and_parsing() {
        let context = TraceContext::root().child();
        assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let context = TraceContext::parse(text).unwrap();
        assert_eq!((context.to_string().as_str(), context.sampled), (text, false));
    }

    #[test]
    fn a_later_version_can_have_more_and_an_invalid_text_is_refused() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        assert!(TraceContext::parse(&format!("01-{trace}-{span}-01-more")).is_some());
        let zero = "0".repeat(32);
        for text in [
            format!("00-{trace}-{span}-01-more"),
            format!("ff-{trace}-{span}-01"),
            format!("00-{zero}-{span}-01"),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-+0f067aa0ba902b7-01"),
            "é".repeat(55),
            String::new(),
        ] {
            assert_eq!(TraceContext::parse(&text), None, "{text}");
        }
    }
}
