//! Removal of images that no container uses, when the disk gets full: `--image_gc_config` (spec/agent.md 1.12).

use serde::Deserialize;
use std::time::Duration;
use wire::v1;

/// When images are removed, and which are not.
#[derive(Debug, Clone, PartialEq)]
pub struct GcConfig {
    /// Part of the disk that shall be free, from 0 to 1.
    pub headroom: f64,
    /// Time between two looks.
    pub interval: Duration,
    /// Images that stay.
    pub excluded: Vec<v1::Image>,
}

impl GcConfig {
    /// Parses the flag's JSON: `{"image_disk_headroom": 0.1, "image_disk_watch_interval": {"nanoseconds": 3600000000000},
    /// "excluded_images": []}`.
    ///
    /// # Errors
    /// With a text that completes "--image_gc_config".
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Raw {
            image_disk_headroom: f64,
            image_disk_watch_interval: Nanoseconds,
            #[serde(default)]
            excluded_images: Vec<serde_json::Value>,
        }
        #[derive(Deserialize)]
        struct Nanoseconds {
            nanoseconds: i64,
        }
        let raw: Raw = serde_json::from_str(text).map_err(|e| format!("is not understood: {e}"))?;
        if !(0.0..=1.0).contains(&raw.image_disk_headroom) {
            return Err(format!(
                "has image_disk_headroom {}: expected 0.0 to 1.0",
                raw.image_disk_headroom
            ));
        }
        let nanoseconds = raw.image_disk_watch_interval.nanoseconds;
        let interval = u64::try_from(nanoseconds).ok().filter(|n| *n > 0).map(Duration::from_nanos);
        let interval = interval.ok_or("has an image_disk_watch_interval that is not above zero")?;
        let excluded = raw.excluded_images.iter().map(|image| {
            wire::json::from_value(image).map_err(|e| format!("has a malformed image: {e}"))
        });
        let excluded = excluded.collect::<Result<Vec<v1::Image>, String>>()?;
        Ok(Self { headroom: raw.image_disk_headroom, interval, excluded })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_is_as_the_peer_documents_it() {
        let text = r#"{"image_disk_headroom": 0.1, "image_disk_watch_interval": {"nanoseconds": 3600000000000},
            "excluded_images": [{"type": "DOCKER", "docker": {"name": "busybox"}}]}"#;
        let config = GcConfig::parse(text).expect("a config");
        assert_eq!((config.headroom, config.interval), (0.1, Duration::from_secs(3600)));
        assert_eq!(config.excluded[0].docker.as_ref().expect("an image").name, "busybox");
        for wrong in [
            "{}",
            r#"{"image_disk_headroom": 1.1, "image_disk_watch_interval": {"nanoseconds": 1}}"#,
            r#"{"image_disk_headroom": 0.1, "image_disk_watch_interval": {"nanoseconds": 0}}"#,
            r#"{"image_disk_headroom": 0.1, "image_disk_watch_interval": {"nanoseconds": 1}, "excluded_images": [{}]}"#,
        ] {
            assert!(GcConfig::parse(wrong).is_err(), "{wrong}");
        }
    }
}
