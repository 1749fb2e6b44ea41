//! The sampling of traces: `OTEL_TRACES_SAMPLER` and its argument.

use std::str::FromStr;

/// The decision whether a trace is recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampler {
    /// `true` if the decision of the caller counts, where there is a caller with one.
    parent_based: bool,
    /// Share of the other traces, from 0 to 1.
    ratio: f64,
}

impl Default for Sampler {
    /// Returns `parentbased_always_on`, the default of the specification.
    fn default() -> Sampler {
        Sampler { parent_based: true, ratio: 1.0 }
    }
}

impl FromStr for Sampler {
    type Err = ();

    /// Parses the name of a sampler of the specification.
    fn from_str(name: &str) -> Result<Sampler, ()> {
        let (parent_based, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let ratio = match root {
            "always_on" | "traceidratio" => 1.0,
            "always_off" => 0.0,
            _ => return Err(()),
        };
        Ok(Sampler { parent_based, ratio })
    }
}

impl Sampler {
    /// Returns the sampler with another share of traces, which is within 0 and 1.
    pub(crate) fn with_ratio(self, ratio: f64) -> Sampler {
        Sampler { ratio: ratio.clamp(0.0, 1.0), ..self }
    }

    /// Decides about a trace. `parent` is the decision of the caller. Programs with the same
    /// ratio decide alike, since the decision follows from the last eight bytes of the id.
    pub(super) fn samples(&self, trace: &[u8; 16], parent: Option<bool>) -> bool {
        if let Some(sampled) = parent.filter(|_| self.parent_based) {
            return sampled;
        }
        let [.., a, b, c, d, e, f, g, h] = *trace;
        let part = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
        self.ratio >= 1.0 || (part as f64) < self.ratio * (1_u64 << 63) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_based_sampler_follows_the_caller() {
        let trace = [7; 16];
        for (name, without, sampled, unsampled) in [
            ("always_on", true, true, true),
            ("always_off", false, false, false),
            ("parentbased_always_on", true, true, false),
            ("parentbased_always_off", false, true, false),
        ] {
            let sampler: Sampler = name.parse().unwrap();
            let found = [None, Some(true), Some(false)].map(|it| sampler.samples(&trace, it));
            assert_eq!(found, [without, sampled, unsampled], "{name}");
        }
        assert_eq!("jaeger_remote".parse::<Sampler>(), Err(()));
    }

    #[test]
    fn a_ratio_samples_that_share_of_the_traces() {
        let sampler = "traceidratio".parse::<Sampler>().unwrap().with_ratio(0.25);
        let trace = |number: u64| {
            let mut trace = [0; 16];
            // Spread evenly over all ids.
            trace[8..].copy_from_slice(&(number << 54).to_be_bytes());
            trace
        };
        let sampled = (0..1024).filter(|number| sampler.samples(&trace(*number), None)).count();
        assert_eq!(sampled, 256);
    }
}
