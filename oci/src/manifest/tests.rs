//! Tests of manifests and indexes, most of them malformed.

use proptest::prelude::*;

use super::*;

const HEX: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

fn descriptor(media_type: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"sha256:{HEX}","size":2}}"#)
}

fn manifest_of(layers: &[&str]) -> String {
    let layers: Vec<String> = layers.iter().map(|layer| descriptor(layer)).collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}],"more":[{{}}]}}"#,
        descriptor(media_type::WASM_CONFIG),
        layers.join(",")
    )
}

fn parse(text: &str) -> Result<Document, ManifestError> {
    Document::parse(text.as_bytes(), None)
}

#[test]
fn a_manifest_with_unknown_fields_is_accepted() {
    let Ok(Document::Manifest(manifest)) = parse(&manifest_of(&["text/x", "application/wasm"]))
    else {
        panic!("not a manifest");
    };
    assert_eq!(manifest.component().unwrap().media_type, "application/wasm");
    let again = Document::parse(&manifest.to_json(), Some(MANIFEST));
    assert_eq!(again, Ok(Document::Manifest(manifest)));
}

#[test]
fn null_for_an_empty_list_or_map_is_accepted() {
    let text = format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[],"annotations":null}}"#,
        descriptor("a/b")
    );
    assert!(matches!(parse(&text), Ok(Document::Manifest(_))));
    let text = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":null}}"#);
    assert!(matches!(parse(&text), Ok(Document::Index(_))));
}

#[test]
fn malformed_documents_are_refused_with_the_reason() {
    let good = manifest_of(&["application/wasm"]);
    let size = |size: &str| good.replace("\"size\":2", &format!("\"size\":{size}"));
    let many = manifest_of(&["a/b"; 300]);
    let entries = vec![descriptor(MANIFEST); 5000].join(",");
    let cases = [
        (String::new(), "is malformed: not a JSON object"),
        ("[]".to_owned(), "is malformed: not a JSON object"),
        ("{}".to_owned(), "is malformed: missing field `schemaVersion`"),
        ("<html>".to_owned(), "is malformed: not a JSON object"),
        (good[..good.len() - 1].to_owned(), "is malformed: EOF"),
        (format!("{good}{good}"), "is malformed: trailing characters"),
        (good.replace("Version\":2", "Version\":1"), "has schemaVersion 1 instead of 2"),
        (good.replace("Version\":2", "Version\":-2"), "is malformed: invalid value"),
        (good.replace("manifest.v1", "manifest.v9"), "has the media type"),
        (good.replace("\"more\"", "\"manifests\""), "has both `layers` and `manifests`"),
        (good.replace("\"more\"", "\"layers\""), "is malformed: duplicate key `layers`"),
        (good.replace("[{}]", r#"{"a":1,"a":2}"#), "is malformed: duplicate key `a`"),
        (good.replace("sha256:4", "sha256:G"), "is malformed: `sha256:G"),
        (good.replace("sha256:", "sha512:"), "is malformed: `sha512:"),
        (good.replace("sha256:4413", "sha256:../"), "is malformed: `sha256:../"),
        (size("-1"), "is malformed: invalid value"),
        (size("1.5"), "is malformed: invalid type"),
        (size("9223372036854775808"), "has the size 9223372036854775808"),
        (size("99999999999999999999"), "is malformed: invalid type"),
        (good.replace("\"config\"", "\"konfig\""), "is malformed: missing field `config`"),
        (good.replace("\"layers\"", "\"slayers\""), "is malformed: missing field `layers`"),
        (good.replace("[{}]", &"[".repeat(5000)), "is malformed: recursion limit"),
        (many, "has 300 entries in `layers`; at most 256 are allowed"),
        (
            format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{entries}]}}"#),
            "has 5000 entries in `manifests`; at most 4096 are allowed",
        ),
        (good.replace("[{}]", &format!("\"{}\"", "x".repeat(MAX_MANIFEST_BYTES))), "is longer"),
    ];
    for (text, message) in cases {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}, not {message}");
        assert!(error.len() < 300 && !error.contains('\n'), "{error}");
    }
}

#[test]
fn the_media_type_of_the_response_counts_too() {
    let good = manifest_of(&["application/wasm"]);
    let sent_as = |sent: &str| Document::parse(good.as_bytes(), Some(sent));
    assert!(sent_as("application/vnd.oci.image.manifest.v1+json; charset=utf-8").is_ok());
    assert!(sent_as("application/json").is_ok());
    let error = sent_as(INDEX).unwrap_err();
    assert!(matches!(error, ManifestError::Mismatch { .. }), "{error}");
    let bare = good.replace(&format!("\"mediaType\":\"{MANIFEST}\",\"config"), "\"config");
    let error = Document::parse(bare.as_bytes(), Some(INDEX)).unwrap_err();
    assert_eq!(error, ManifestError::Ambiguous);
    let error = Document::parse(bare.as_bytes(), Some("text/html")).unwrap_err();
    assert!(matches!(error, ManifestError::MediaType(_)), "{error}");
}

#[test]
fn exactly_one_layer_is_a_component() {
    let component = |layers: &[&str]| match parse(&manifest_of(layers)) {
        Ok(Document::Manifest(manifest)) => manifest.component().cloned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(component(&[]), Err(ManifestError::NoComponent));
    assert_eq!(component(&["text/x"]), Err(ManifestError::NoComponent));
    for kind in WASM_LAYERS {
        assert!(component(&["text/x", kind]).is_ok(), "{kind}");
    }
    assert_eq!(component(&WASM_LAYERS), Err(ManifestError::Components(3)));
}

#[test]
fn an_index_is_decided_only_if_one_entry_is_for_webassembly() {
    let entry = |more: &str| descriptor(MANIFEST).replace("\"size\"", &format!("{more}\"size\""));
    let wasm = entry(r#""platform":{"architecture":"wasm","os":"wasip2"},"#);
    let arm = entry(r#""platform":{"architecture":"arm64","os":"linux"},"#);
    let typed = entry(&format!(r#""artifactType":"{}","#, media_type::WASM_CONFIG));
    let choice = |entries: &[&str]| {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#,
            entries.join(",")
        );
        match parse(&text) {
            Ok(Document::Index(index)) => index.component().cloned(),
            other => panic!("{other:?}"),
        }
    };
    assert!(choice(&[&arm, &wasm, &typed]).is_ok());
    assert!(choice(&[&arm, &typed]).is_ok());
    assert_eq!(choice(&[&arm]), Err(ManifestError::NoChoice(0)));
    assert_eq!(choice(&[]), Err(ManifestError::NoChoice(0)));
    assert_eq!(choice(&[&wasm, &wasm]), Err(ManifestError::NoChoice(2)));
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Document::parse(&bytes, None);
    }

    #[test]
    fn no_change_of_one_byte_makes_the_parser_panic(at in 0_usize..400, byte in any::<u8>()) {
        let mut text = manifest_of(&["application/wasm"]).into_bytes();
        let at = at % text.len();
        text[at] = byte;
        if let Ok(Document::Manifest(manifest)) = Document::parse(&text, Some(MANIFEST)) {
            let again = Document::parse(&manifest.to_json(), Some(MANIFEST));
            prop_assert_eq!(again, Ok(Document::Manifest(manifest)));
        }
    }
}
