//! Tests of the metadata and the configuration of artifacts.

use super::*;

fn metadata() -> Metadata {
    Metadata {
        methods: vec!["reboot".to_owned(), "rebootStatus".to_owned()],
        config: Some(r#"{"delay": "5s"}"#.parse().unwrap()),
        capabilities: vec!["power".to_owned()],
        contract: Some("0.3.0".to_owned()),
        release: 7,
        health: Some("rebootStatus".to_owned()),
        version: Some("1.2.3".to_owned()),
    }
}

fn artifact(metadata: &Metadata) -> Artifact {
    let interfaces = ComponentInterfaces::default();
    Artifact::new(b"\0asm".to_vec(), "reboot.wasm", interfaces, metadata, None)
}

fn read_with(name: &str, value: &str) -> Result<Metadata, MetadataError> {
    let mut manifest = artifact(&Metadata::default()).manifest;
    manifest.annotations.insert(name.to_owned(), value.to_owned());
    Metadata::read(&manifest)
}

#[test]
fn metadata_is_written_as_annotations_and_read_back() {
    let manifest = artifact(&metadata()).manifest;
    assert_eq!(manifest.annotations[annotation::METHODS], r#"["reboot","rebootStatus"]"#);
    assert_eq!(manifest.annotations[annotation::RELEASE], "7");
    assert_eq!(Metadata::read(&manifest), Ok(metadata()));
}

#[test]
fn a_foreign_artifact_has_no_metadata() {
    let manifest = artifact(&Metadata::default()).manifest;
    assert!(manifest.annotations.is_empty());
    assert_eq!(Metadata::read(&manifest), Ok(Metadata::default()));
    assert!(read_with("org.example.x", "").is_ok());
}

#[test]
fn a_malformed_annotation_is_refused_with_its_name() {
    let cases = [
        (annotation::METHODS, "reboot", "is malformed: expected value"),
        (annotation::METHODS, "[1]", "is malformed: invalid type"),
        (annotation::METHODS, r#"["a\nb"]"#, "has the name `a\\nb`"),
        (annotation::METHODS, r#"[""]"#, "has the name ``"),
        (annotation::METHODS, "", "is empty"),
        (annotation::CAPABILITIES, "{}", "is malformed: invalid type"),
        (annotation::CONFIG, "[]", "is malformed: not a JSON object"),
        (annotation::CONFIG, r#"{"a":1,"a":2}"#, "is malformed: duplicate key `a`"),
        (annotation::CONTRACT, "1.0", "is `1.0`, not a version"),
        (annotation::CONTRACT, "1.0.x", "is `1.0.x`, not a version"),
        (annotation::RELEASE, "-1", "is `-1`, not a release number"),
        (annotation::RELEASE, "07", "is `07`, not a release number"),
        (annotation::RELEASE, "+7", "is `+7`, not a release number"),
        (annotation::RELEASE, "18446744073709551616", "is `18446744073709551616`, not"),
    ];
    for (name, value, problem) in cases {
        let error = read_with(name, value).unwrap_err().to_string();
        let expected = format!("annotation `{name}` {problem}");
        assert!(error.starts_with(&expected), "{error}, not {expected}");
    }
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_ANNOTATION_BYTES));
    assert!(read_with(annotation::CONFIG, &long).is_err());
    let many = serde_json::to_string(&vec!["a"; 300]).unwrap();
    assert!(read_with(annotation::METHODS, &many).is_err());
}

#[test]
fn the_configuration_is_the_one_of_wkg() {
    let artifact = artifact(&metadata());
    let config = WasmConfig::parse(&artifact.config, &artifact.manifest).unwrap();
    assert_eq!((&*config.architecture, &*config.os), ("wasm", "wasip2"));
    assert_eq!(config.layer_digests, [Digest::of(b"\0asm")]);
    let text = String::from_utf8(artifact.config).unwrap();
    assert!(text.starts_with(r#"{"created":null,"author":null,"architecture":"wasm""#), "{text}");
    assert!(text.contains(r#""layerDigests":["sha256:"#), "{text}");
}

#[test]
fn a_configuration_of_other_layers_is_refused() {
    let manifest = artifact(&metadata()).manifest;
    assert!(WasmConfig::parse(b"{}", &manifest).is_ok());
    let other = format!(r#"{{"layerDigests":["{}"]}}"#, Digest::of(b"other"));
    let error = WasmConfig::parse(other.as_bytes(), &manifest).unwrap_err();
    assert_eq!(error, "lists other layers than the manifest");
    assert!(WasmConfig::parse(b"[1", &manifest).is_err());
}
