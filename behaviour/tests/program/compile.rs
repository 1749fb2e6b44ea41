//! Tests of `behaviour compile`.

use std::fs;

use oci::Digest;
use oci::signature::{Bundle, PublicKey, verify};

use crate::program::rig::Rig;

#[test]
fn a_plugin_is_compiled_and_signed() {
    let rig = Rig::with(&["answers.wat"]);
    assert_eq!(rig.run(&["keygen", "release"]).code, Some(0));
    let arguments = ["compile", "answers.wasm", "--key", "release.key", "-o", "out", "--json"];
    let output = rig.run(&arguments);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(output.json()["target"], plugin::TARGET);

    let read = |name: &str| fs::read(rig.path().join(name)).unwrap();
    let (code, bundle) = (read("out"), Bundle::new(read("out.sigstore.json")));
    let keys = PublicKey::all_from_pem(&read("release.pub")).unwrap();
    assert!(plugin::is_compiled(&code));
    assert!(verify(&[bundle], &Digest::of(&code), &keys).is_ok());
}

#[test]
fn an_unknown_target_is_a_wrong_command_line() {
    let rig = Rig::with(&["answers.wat"]);
    let output =
        rig.run(&["compile", "answers.wasm", "--target", "mips-unknown-linux-gnu", "-o", "out"]);
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(
        output.stderr.contains("no code for the target `mips-unknown-linux-gnu`"),
        "{output:?}"
    );
    assert!(!rig.path().join("out").exists());
}

#[test]
fn a_plugin_is_compiled_for_each_supported_processor() {
    let rig = Rig::with(&["answers.wat"]);
    // Machines of ELF headers (elf(5), `e_machine`).
    for (target, machine) in
        [("x86_64-unknown-linux-gnu", 62_u16), ("aarch64-unknown-linux-gnu", 183)]
    {
        let output = rig.run(&["compile", "answers.wasm", "--target", target, "-o", target]);
        assert_eq!(output.code, Some(0), "{output:?}");
        let code = fs::read(rig.path().join(target)).unwrap();
        assert!(plugin::is_compiled(&code));
        // Behind the mark and the digest of the file.
        let elf = &code[48..];
        assert_eq!(u16::from_le_bytes([elf[18], elf[19]]), machine, "{target}");
    }
}
