//! Tests of directories with images, complete and damaged.

use std::fs;

use super::*;
use crate::artifact::{Artifact, ComponentInterfaces, Metadata};
use crate::referrers::{Bundles, bundles, referrer};
use crate::signature::{self, KeyType, PrivateKey, Refusal};
use crate::source::resolve;
use crate::{SourceError, media_type};

const NAME: &str = "registry.example/plugins/reboot:1.2.3";

fn image() -> Reference {
    NAME.parse().unwrap()
}

fn artifact() -> Artifact {
    let component = b"\0asm\x0d\0\x01\0".repeat(20_000);
    let metadata = Metadata { release: 3, ..Metadata::default() };
    Artifact::new(component, "reboot.wasm", ComponentInterfaces::default(), &metadata, None)
}

/// Writes an image to a new directory.
async fn filled(dir: &Path) -> Layout {
    let layout = Layout::create(dir).await.unwrap();
    let artifact = artifact();
    layout.add_blob(&artifact.component).unwrap();
    layout.add_blob(&artifact.config).unwrap();
    add(&layout, Some(&image()), artifact.manifest.to_json()).await;
    layout
}

async fn add(layout: &Layout, name: Option<&Reference>, bytes: Vec<u8>) -> Digest {
    let digest = Digest::of(&bytes);
    let media_type = Some(media_type::MANIFEST.to_owned());
    let received = Received { digest, media_type, bytes };
    layout.add_document(name, &received, None).await.unwrap();
    digest
}

#[tokio::test]
async fn an_image_is_read_by_tag_and_by_digest() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let layout = Layout::open(folder.path()).await.unwrap();
    let found = resolve(&layout, &image()).await.unwrap();
    assert_eq!(found.manifest, artifact().manifest);
    let other: Reference = format!("other.example/x@{}", found.digest).parse().unwrap();
    assert_eq!(resolve(&layout, &other).await.unwrap().digest, found.digest);
    let layer = found.manifest.component().unwrap();
    let file = folder.path().join("copy");
    let seen = std::sync::Mutex::new(0);
    let progress = |bytes| *seen.lock().unwrap() = bytes;
    layout.blob_to_file(&image(), layer, &file, &progress).await.unwrap();
    assert_eq!(fs::read(&file).unwrap(), artifact().component);
    assert_eq!(*seen.lock().unwrap(), layer.size);
    assert!(layout.blob(&image(), &found.manifest.config, 4096).await.is_ok());
}

/// Replaces a file by a pipe without a writer.
fn make_pipe(path: &Path) {
    let _removed = fs::remove_file(path);
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[tokio::test]
async fn a_pipe_in_place_of_a_file_is_refused_without_waiting_for_its_writer() {
    let folder = tempfile::tempdir().unwrap();
    let layout = filled(folder.path()).await;
    let manifest = artifact().manifest;
    let layer = manifest.component().unwrap();
    make_pipe(&layout.blob_path(&layer.digest));
    let file = folder.path().join("copy");
    let of_blob = layout.blob_to_file(&image(), layer, &file, &|_| ()).await.unwrap_err();
    make_pipe(&folder.path().join("index.json"));
    let of_index = resolve(&layout, &image()).await.unwrap_err();
    for error in [of_blob, of_index] {
        let text = program::chain(&error).to_string();
        assert!(text.ends_with("not a regular file"), "{text}");
    }
}

#[tokio::test]
async fn a_missing_or_damaged_blob_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let layout = filled(folder.path()).await;
    let manifest = artifact().manifest;
    let layer = manifest.component().unwrap();
    let file = folder.path().join("copy");
    let path = layout.blob_path(&layer.digest);
    let mut content = fs::read(&path).unwrap();
    content[9] ^= 1;
    fs::write(&path, &content).unwrap();
    let error = layout.blob_to_file(&image(), layer, &file, &|_| ()).await.unwrap_err();
    assert_eq!(error.code(), "wrong-digest");
    assert_eq!(fs::metadata(&file).unwrap().len(), 0);
    fs::write(&path, b"short").unwrap();
    let error = layout.blob_to_file(&image(), layer, &file, &|_| ()).await.unwrap_err();
    assert_eq!(error.code(), "wrong-size");
    fs::remove_file(&path).unwrap();
    let error = layout.blob_to_file(&image(), layer, &file, &|_| ()).await.unwrap_err();
    assert_eq!(error.code(), "not-found");
    let mut lie = manifest.config.clone();
    lie.size += 1;
    assert_eq!(layout.blob(&image(), &lie, 4096).await.unwrap_err().code(), "wrong-size");
    assert_eq!(layout.blob(&image(), &lie, 10).await.unwrap_err().code(), "too-large");
    let tag: Reference = "registry.example/plugins/reboot:2".parse().unwrap();
    assert_eq!(resolve(&layout, &tag).await.unwrap_err().code(), "not-found");
    let name: Reference = "registry.example/plugins/reboot".parse().unwrap();
    assert!(matches!(resolve(&layout, &name).await, Err(SourceError::NoSelector(_))));
}

#[tokio::test]
async fn another_directory_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let message = async || Layout::open(folder.path()).await.unwrap_err().to_string();
    assert!(message().await.ends_with("it has no file `oci-layout`"));
    for (text, problem) in [
        ("", "has a file `oci-layout` that is malformed"),
        (r#"{"imageLayoutVersion":"2.0.0"}"#, "has the layout version `2.0.0`"),
    ] {
        fs::write(folder.path().join("oci-layout"), text).unwrap();
        assert!(message().await.contains(problem));
    }
    let layout = filled(&folder.path().join("good")).await;
    for (text, problem) in [("[]", "has an `index.json` that"), ("{\"a\":1}", "is malformed")] {
        fs::write(folder.path().join("good/index.json"), text).unwrap();
        let error = resolve(&layout, &image()).await.unwrap_err();
        assert_eq!(error.code(), "malformed-layout");
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[tokio::test]
async fn signatures_are_found_beside_the_image_and_under_the_fallback_tag() {
    let folder = tempfile::tempdir().unwrap();
    let layout = filled(folder.path()).await;
    let found = resolve(&layout, &image()).await.unwrap();
    let (key, _) = PrivateKey::generate(KeyType::P256).unwrap();
    let bundle = signature::sign(&key, &found.pinned, &Default::default()).unwrap();
    layout.add_blob(&bundle.json).unwrap();
    layout.add_blob(b"{}").unwrap();
    let signed_by = referrer(&found, &bundle, None);
    let digest = add(&layout, None, signed_by.to_json()).await;
    let signed = bundles(&layout, &image(), &found.pinned).await.unwrap();
    assert_eq!(signed.found, std::slice::from_ref(&bundle));
    assert!(signature::verify(&signed.found, &found.pinned, &[key.public_key().clone()]).is_ok());

    // The same referrer under the tag, and one of another image.
    let mut lie = signed_by.clone();
    lie.subject.as_mut().unwrap().digest = Digest::of(b"other");
    let lie = lie.to_json();
    layout.add_blob(&lie).unwrap();
    let entries = [Descriptor::of(media_type::MANIFEST, &lie), {
        Descriptor { digest, ..Descriptor::of(media_type::MANIFEST, &signed_by.to_json()) }
    }];
    let image_digest = found.pinned;
    let bytes = Index::new(entries.to_vec()).to_json();
    let tag = image().with_tag(&fallback_tag(&found.pinned));
    let media_type = Some(media_type::INDEX.to_owned());
    let received = Received { digest: Digest::of(&bytes), media_type, bytes };
    layout.add_document(Some(&tag), &received, None).await.unwrap();
    let signed = bundles(&layout, &image(), &found.pinned).await.unwrap();
    assert_eq!(signed.found, [bundle]);
    assert_eq!(signed.skipped.len(), 1);
    assert!(signed.skipped[0].1.starts_with("it refers to sha256:"));

    // Without the valid one, the refusal does not say that the image is unsigned.
    let unreadable = Bundles { found: Vec::new(), ..signed };
    let refusal = unreadable.verify(&image_digest, &[key.public_key().clone()]).unwrap_err();
    let text = format!(
        "no signature of {image_digest} is valid, and 1 of 1 cannot be read: bundle {}… cannot be \
         read: it refers to {}",
        &Digest::of(&lie).hex()[..12],
        Digest::of(b"other"),
    );
    assert_eq!(refusal.to_string(), text);
    assert_eq!(Bundles::default().verify(&image_digest, &[]).unwrap_err(), Refusal::NoKeys);
    let unsigned = Bundles::default().verify(&image_digest, &[key.public_key().clone()]);
    assert_eq!(unsigned.unwrap_err(), Refusal::Unsigned(image_digest));
}
