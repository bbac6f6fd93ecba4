//! Latencies as text, in the V2 format that HdrHistogram's libraries and plotters read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize};

use super::{LONGEST, Latencies};

impl Serialize for Latencies {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.histogram, &mut bytes).map_err(S::Error::custom)?;
        serializer.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Latencies, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        let histogram: Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(D::Error::custom)?;
        // Histograms of other bounds could not be added to those of this version.
        if (histogram.low(), histogram.high(), histogram.sigfig()) != (1, LONGEST, 3) {
            return Err(D::Error::custom("a histogram of another range or precision"));
        }
        // How many were clipped is not part of the format. The summary beside it has that.
        Ok(Latencies { histogram, clipped: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Latencies, serde_json::Error> {
        serde_json::from_value(text.into())
    }

    #[test]
    fn every_bucket_comes_back_from_text() {
        let mut latencies = Latencies::default();
        (0..1_000_000).step_by(7).for_each(|value| latencies.record(value * value));
        let text = serde_json::to_value(&latencies).expect("text");
        let text = text.as_str().expect("a string");
        assert!(text.starts_with("HISTFAAA"), "as HdrHistogram's logs begin: {text}");
        assert_eq!(read(text).expect("latencies").histogram, latencies.histogram);
    }

    #[test]
    fn text_of_another_kind_is_refused() {
        let other = Histogram::<u64>::new_with_bounds(1, 1000, 2).expect("bounds");
        let other = serde_json::to_value(Latencies { histogram: other, clipped: 0 }).expect("text");
        for text in ["", "HISTF", "HISTFAAAAAA=", "no base64", other.as_str().expect("a string")] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
