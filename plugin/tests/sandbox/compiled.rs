//! Plugins that were compiled elsewhere.

use behaviour_plugin::{
    CompiledCode, Limits, LoadError, Plugin, PluginSettings, TARGET, compile_for, is_compiled,
};

use sha2::{Digest as _, Sha256};

use crate::rig::{Host, engine};

fn compiled(target: &str) -> Result<Vec<u8>, LoadError> {
    compile_for(target, &fixtures::guest("misbehaves.wat"), &Limits::default())
}

/// Loads a file with the grants of `PluginSettings::default`.
fn load(file: &[u8]) -> Result<Plugin, LoadError> {
    let code = CompiledCode::parse(file)?;
    engine().load_compiled("p", code, PluginSettings::default())
}

/// Writes the digest of changed code to the file, as an attacker would.
fn seal(file: &mut [u8]) {
    let digest = Sha256::digest(&file[48..]);
    file[16..48].copy_from_slice(&digest);
}

#[tokio::test]
async fn a_plugin_compiled_for_this_target_answers_like_its_component() {
    let (engine, code) = (engine(), compiled(TARGET).unwrap());
    assert!(is_compiled(&code));
    let ready = CompiledCode::parse(&code).unwrap();
    let ready = engine.load_compiled("p", ready, PluginSettings::default()).unwrap();
    let component = fixtures::guest("misbehaves.wat");
    let component = engine.load("p", &component, PluginSettings::default()).unwrap();

    for plugin in [&ready, &component] {
        let answer = Host::default().call(plugin, "echo", "{\"a\": [1, 2]}").await.unwrap();
        assert_eq!(answer.payload.unwrap().get(), "{\"a\": [1, 2]}");
    }
    assert_eq!((ready.imports(), ready.exports()), (component.imports(), component.exports()));
}

#[test]
fn compiled_code_is_no_component() {
    let error = engine().load("p", &compiled(TARGET).unwrap(), PluginSettings::default());
    let error = error.err().unwrap().to_string();
    assert_eq!(error, "not WebAssembly: a plugin that is compiled already");
}

#[test]
fn damaged_code_is_refused_before_it_can_run() {
    let code = compiled(TARGET).unwrap();
    // Each damage would crash the process in a call, or be mistaken for code of another host.
    let mut zeroed = code.clone();
    for page in zeroed[4096..].chunks_mut(4096) {
        page.iter_mut().take(64).for_each(|byte| *byte = 0);
    }
    let mut settings = code.clone();
    let version = env!("BEHAVIOUR_WASMTIME").as_bytes();
    let start = code.windows(version.len()).position(|bytes| bytes == version).unwrap();
    settings[start + version.len() + 40] ^= 1;
    for damaged in [&zeroed, &settings, &code[..code.len() / 2], &code[..20], &code[..8]] {
        assert!(is_compiled(damaged));
        let error = load(damaged).err().unwrap().to_string();
        assert_eq!(error, "damaged: the file does not match the digest that it contains");
    }
}

#[test]
fn code_of_wasmtime_itself_is_refused_since_it_has_no_digest() {
    let code = compiled(TARGET).unwrap();
    let error = engine().load("p", &code[48..], PluginSettings::default()).err().unwrap();
    let expected = "not WebAssembly: code of wasmtime without the digest of `behaviour compile`";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn an_import_of_compiled_code_that_is_not_granted_is_refused() {
    let code = compile_for(TARGET, &fixtures::guest("boots.wat"), &Limits::default()).unwrap();
    let error = load(&code).err().unwrap();
    assert!(matches!(error, LoadError::NotGranted { .. }), "{error}");
}

#[test]
fn code_of_another_patch_release_of_wasmtime_is_refused() {
    let (mut code, version) = (compiled(TARGET).unwrap(), env!("BEHAVIOUR_WASMTIME").as_bytes());
    let start = code.windows(version.len()).position(|bytes| bytes == version).unwrap();
    code[start + version.len() - 1] ^= 1;
    seal(&mut code);
    let error = load(&code).err().unwrap();
    let (reason, hint) = (error.to_string(), error.hint().unwrap());
    let expected = "compiled for another host: it was compiled with incompatible version '";
    assert!(reason.starts_with(expected), "{reason}");
    assert!(hint.contains("of this host's release"), "{hint}");
}

#[cfg(target_pointer_width = "64")]
#[test]
fn code_for_hosts_of_32_bits_is_refused_by_others() {
    let code = compiled("pulley32").unwrap();
    assert!(is_compiled(&code));
    let error = load(&code).err().unwrap();
    assert!(error.to_string().starts_with("compiled for another host: "), "{error}");
}

#[test]
fn a_target_without_a_code_generator_is_refused_with_the_others() {
    let error = compiled("mips-unknown-linux-gnu").unwrap_err();
    assert!(error.to_string().starts_with("no code for the target `mips-unknown-linux-gnu`: "));
    assert!(error.hint().unwrap().contains("x86_64-unknown-linux-gnu"));
}
