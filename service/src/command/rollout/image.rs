//! References of images on the command line.

/// Parses a reference to an image with its digest. A tag is refused, because it can move during
/// a rollout.
pub(super) fn image(text: &str) -> Result<String, String> {
    let expected = "expected REGISTRY/REPOSITORY@sha256: and 64 hexadecimal digits";
    let Some((name, digest)) = text.split_once('@') else {
        return Err(format!("{expected}; a tag can move during the rollout"));
    };
    let hex = digest.strip_prefix("sha256:").ok_or(expected)?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let (registry, repository) = name.split_once('/').ok_or(expected)?;
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'@';
    let is_complete = !registry.is_empty() && !repository.is_empty();
    match is_complete && name.bytes().all(is_plain) && hex.len() == 64 && hex.bytes().all(is_hex) {
        true => Ok(text.to_owned()),
        false => Err(expected.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_needs_a_registry_a_repository_and_a_digest() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for good in [format!("localhost:5000/a/b@{digest}"), format!("r.example/a:1.2@{digest}")] {
            assert_eq!(image(&good), Ok(good));
        }
        assert!(image("r.example/a:latest").unwrap_err().ends_with("can move during the rollout"));
        for bad in ["r.example/a@sha256:00", "a@sha256:", "r.example/a@md5:00", "/a@sha256:", ""] {
            assert!(image(bad).is_err(), "{bad}");
        }
        assert!(image(&format!("reboot@{digest}")).is_err());
    }
}
