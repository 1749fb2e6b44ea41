//! A look at a rollout before its first wave: the signature, the release number and the
//! capabilities of its image, next to the versions that the devices run.
//!
//! Some facts need `--yes`, because the devices would refuse the image, or because it may do
//! more than the version before.

use std::collections::BTreeSet;

use behaviour_service::Client;
use behaviour_service::rollout::{self, RolloutPlan, RunningVersion};
use oci::artifact::Metadata;
use oci::referrers::{Bundles, bundles};
use oci::signature::Bundle;
use oci::{Digest, Reference, registry, resolve};
use program::{Progress, chain, counted, note};
use serde_json::{Value, json};

use super::super::show;
use super::OutputFormat;
use super::image::ImageOptions;
use crate::command_error::{CommandError, FailureKind, usage};

/// Maximum number of running versions that are shown.
const SHOWN: usize = 5;

/// A look at a rollout before its first wave.
pub(super) struct Preview {
    image: Reference,
    /// The facts about the image, or the reason why it cannot be read here.
    facts: Result<ImageFacts, String>,
    signature: SignatureState,
    /// The capabilities that the devices grant.
    granted: BTreeSet<String>,
    allows_downgrade: bool,
    replaced: Vec<ReplacedVersion>,
}

/// The facts in the manifest of an image.
struct ImageFacts {
    release: u64,
    version: Option<String>,
}

/// The signature of an image.
enum SignatureState {
    Unknown,
    Missing,
    /// The image has signatures, none of which can be read, for this reason.
    Unreadable(String),
    /// By the keys with these ids, according to the signatures.
    Unverified(Vec<String>),
    /// By the key with this id.
    Verified(String),
}

/// A version that devices run, and its release number if its image can be read.
struct ReplacedVersion {
    running: RunningVersion,
    release: Option<u64>,
}

impl Preview {
    /// Reads the image and the reports of the devices.
    ///
    /// # Errors
    ///
    /// Fails if no device matches, or if keys are given and none of them has signed the image.
    pub(super) async fn read(
        client: &Client,
        image: &Reference,
        plan: &RolloutPlan,
        options: &ImageOptions,
    ) -> Result<Preview, CommandError> {
        let (keys, registry) = (options.keys()?, options.client(image)?);
        let running = rollout::running(client, plan).await?;
        let progress = Progress::new(&format!("reading {image}"));
        let read = read(&registry, image).await;
        let mut replaced = Vec::new();
        for running in running {
            let release = match &read {
                Ok(_) => release(&registry, image, running.digest.as_deref()).await,
                Err(_) => None,
            };
            replaced.push(ReplacedVersion { running, release });
        }
        drop(progress);
        let digest = image.digest().expect("the command line requires a digest");
        let signature = match &read {
            Err(_) if keys.is_empty() => SignatureState::Unknown,
            Err(reason) => return Err(CommandError::new(FailureKind::default(), reason)),
            Ok((_, bundles)) if !keys.is_empty() => {
                let verified = bundles.verify(&digest, &keys);
                let untrusted = |error| CommandError::new(FailureKind::default(), chain(&error));
                SignatureState::Verified(verified.map_err(untrusted)?.key)
            }
            Ok((_, Bundles { found, skipped })) if found.is_empty() => match skipped.first() {
                None => SignatureState::Missing,
                Some((_, reason)) => SignatureState::Unreadable(reason.clone()),
            },
            Ok((_, bundles)) => {
                let keys = bundles.found.iter().filter_map(Bundle::key_id);
                SignatureState::Unverified(keys.collect())
            }
        };
        let metadata = read.map(|(metadata, _)| metadata);
        let wanted = plan.entry.get("capabilities").and_then(Value::as_array);
        let granted = match (wanted, &metadata) {
            (Some(names), _) => {
                names.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
            }
            (None, Ok(metadata)) => metadata.capabilities.iter().cloned().collect(),
            (None, Err(_)) => BTreeSet::new(),
        };
        Ok(Preview {
            image: image.clone(),
            facts: metadata.map(|it| ImageFacts { release: it.release, version: it.version }),
            signature,
            granted,
            allows_downgrade: plan.entry.contains_key("allowDowngrade"),
            replaced,
        })
    }

    /// Shows the facts, then the reasons against the rollout.
    ///
    /// # Errors
    ///
    /// Fails if there are such reasons and `yes` is `false`.
    pub(super) fn show(&self, show: OutputFormat, yes: bool) -> Result<(), CommandError> {
        let warnings = self.warnings();
        match show.as_json {
            true => show::json(&self.to_json(&warnings)),
            false => self.rows().iter().for_each(|(what, text)| {
                note(format_args!("{what:<13} {text}"));
            }),
        }
        if warnings.is_empty() || (yes && show.as_json) {
            return Ok(());
        }
        let last = warnings.len() - usize::from(!yes);
        warnings[..last].iter().for_each(|warning| note(format_args!("warning: {warning}")));
        match warnings.get(last) {
            None => Ok(()),
            Some(warning) => Err(usage(format!("not started: {warning}"))
                .with_hint("add --yes to roll out nevertheless")),
        }
    }

    /// Returns the reasons against the rollout.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let facts = match &self.facts {
            Ok(facts) => facts,
            Err(reason) => return vec![format!("the image cannot be read from here: {reason}")],
        };
        match &self.signature {
            SignatureState::Missing => warnings
                .push("the image has no signature, which devices require by default".to_owned()),
            SignatureState::Unreadable(reason) => {
                warnings.push(format!("no signature of the image can be read: {reason}"));
            }
            _ => {}
        }
        let newest = self.replaced.iter().filter_map(|it| it.release).max().unwrap_or_default();
        if facts.release < newest && !self.allows_downgrade {
            warnings.push(format!(
                "devices that have run release {newest} refuse release {} without \
                 --allow-downgrade",
                facts.release
            ));
        }
        let gained: BTreeSet<&String> = self
            .replaced
            .iter()
            .filter(|it| it.is_version())
            .flat_map(|it| it.gains(self))
            .collect();
        if !gained.is_empty() {
            warnings.push(format!("the image gets more capabilities: {}", list(gained)));
        }
        warnings
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![("image", self.image.to_string())];
        rows.push(("signature", self.signature.text()));
        if let Ok(ImageFacts { release, version }) = &self.facts {
            let version = version.as_ref().map_or_else(String::new, |it| format!(", version {it}"));
            rows.push(("release", format!("{release}{version}")));
        }
        rows.push(("capabilities", list(&self.granted)));
        let shown = self.replaced.iter().take(SHOWN);
        rows.extend(shown.map(|replaced| ("instead of", replaced.text(self))));
        if let Some(more) = self.replaced.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            rows.push(("", format!("and {more} other versions")));
        }
        rows
    }

    fn to_json(&self, warnings: &[String]) -> Value {
        let (state, keys) = match &self.signature {
            SignatureState::Unknown => ("unknown", Vec::new()),
            SignatureState::Missing => ("missing", Vec::new()),
            SignatureState::Unreadable(_) => ("unreadable", Vec::new()),
            SignatureState::Unverified(keys) => ("unverified", keys.iter().collect()),
            SignatureState::Verified(key) => ("verified", vec![key]),
        };
        let facts = self.facts.as_ref().ok();
        let replaced = self.replaced.iter().map(|it| {
            json!({"digest": it.running.digest, "devices": it.running.devices,
                "release": it.release, "gains": it.gains(self), "loses": it.loses(self)})
        });
        json!({
            "event": "preview",
            "image": self.image.to_string(),
            "signature": {"state": state, "keys": keys},
            "release": facts.map(|facts| facts.release),
            "version": facts.and_then(|facts| facts.version.as_ref()),
            "capabilities": self.granted,
            "replaces": replaced.collect::<Vec<_>>(),
            "warnings": warnings,
        })
    }
}

impl SignatureState {
    fn text(&self) -> String {
        match self {
            SignatureState::Unknown => "unknown".to_owned(),
            SignatureState::Missing => "none".to_owned(),
            SignatureState::Unreadable(reason) => format!("cannot be read: {reason}"),
            SignatureState::Unverified(keys) => {
                let hint = "not verified; --signed-by FILE does that";
                format!("names the key {} ({hint})", list(keys))
            }
            SignatureState::Verified(key) => format!("valid, by the key {key}"),
        }
    }
}

impl ReplacedVersion {
    /// Returns `false` for devices without the plugin.
    fn is_version(&self) -> bool {
        self.running.digest.is_some() || !self.running.capabilities.is_empty()
    }

    fn gains<'a>(&self, preview: &'a Preview) -> Vec<&'a String> {
        let granted = preview.granted.iter();
        granted.filter(|name| !self.running.capabilities.contains(*name)).collect()
    }

    fn loses(&self, preview: &Preview) -> Vec<&String> {
        let running = self.running.capabilities.iter();
        running.filter(|name| !preview.granted.contains(*name)).collect()
    }

    fn text(&self, preview: &Preview) -> String {
        let devices = counted(self.running.devices, "device");
        if !self.is_version() {
            return format!("no version on {devices}");
        }
        let digest = match &self.running.digest {
            Some(digest) => format!("{}…", json::excerpt(digest, 19)),
            None => "another version".to_owned(),
        };
        let release = self.release.map_or_else(String::new, |it| format!(", release {it}"));
        let change = match (&self.gains(preview)[..], &self.loses(preview)[..]) {
            ([], []) => "the same capabilities".to_owned(),
            (gains, []) => format!("gains {}", list(gains)),
            ([], loses) => format!("loses {}", list(loses)),
            (gains, loses) => format!("gains {}, loses {}", list(gains), list(loses)),
        };
        format!("{digest}{release} on {devices}: {change}")
    }
}

/// Reads the metadata and the signatures of an image. The error is a message.
async fn read(
    registry: &registry::Client,
    image: &Reference,
) -> Result<(Metadata, Bundles), String> {
    let found = resolve(registry, image).await.map_err(|error| chain(&error).to_string())?;
    let metadata = Metadata::read(&found.manifest).map_err(|error| chain(&error).to_string())?;
    let bundles = bundles(registry, image, &found.pinned).await;
    Ok((metadata, bundles.map_err(|error| chain(&error).to_string())?))
}

/// Returns the release number of a version that devices run, if it is in the same repository.
async fn release(
    registry: &registry::Client,
    image: &Reference,
    digest: Option<&str>,
) -> Option<u64> {
    let digest: Digest = digest?.parse().ok()?;
    let found = resolve(registry, &image.with_digest(digest)).await.ok()?;
    Some(Metadata::read(&found.manifest).ok()?.release)
}

/// Returns untrusted names as one line.
fn list<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<String> =
        names.into_iter().map(|name| json::readable(name.as_ref()).into_owned()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    /// Returns a preview of release 6 with `granted` instead of release `before` with `http`.
    fn preview(granted: &[&str], before: u64) -> Preview {
        let digest = Digest::of(b"new");
        let running = RunningVersion {
            digest: Some(Digest::of(b"old").to_string()),
            capabilities: names(&["http"]),
            devices: 2,
        };
        Preview {
            image: format!("r.example/p@{digest}").parse().unwrap(),
            facts: Ok(ImageFacts { release: 6, version: None }),
            signature: SignatureState::Unverified(vec!["key".to_owned()]),
            granted: names(granted),
            allows_downgrade: false,
            replaced: vec![ReplacedVersion { running, release: Some(before) }],
        }
    }

    #[test]
    fn an_older_release_and_more_capabilities_are_doubtful() {
        assert_eq!(preview(&["http"], 6).warnings(), Vec::<String>::new());
        assert_eq!(preview(&[], 5).warnings(), Vec::<String>::new());
        let older = "devices that have run release 7 refuse release 6 without --allow-downgrade";
        assert_eq!(preview(&["http"], 7).warnings(), [older]);
        let allowed = Preview { allows_downgrade: true, ..preview(&["http"], 7) };
        assert_eq!(allowed.warnings(), Vec::<String>::new());
        let more = "the image gets more capabilities: power, twin";
        assert_eq!(preview(&["power", "twin", "http"], 5).warnings(), [more]);
    }

    #[test]
    fn a_replaced_version_is_shown_with_its_release_and_the_change_of_capabilities() {
        let text = |granted| preview(granted, 5).rows().pop().unwrap().1;
        let old = Digest::of(b"old").to_string();
        let start = format!("{}…, release 5 on 2 devices: ", &old[..19]);
        for (granted, change) in [
            (&["http"][..], "the same capabilities"),
            (&["http", "power"], "gains power"),
            (&["power"], "gains power, loses http"),
            (&[], "loses http"),
        ] {
            assert_eq!(text(granted), format!("{start}{change}"));
        }
    }
}
