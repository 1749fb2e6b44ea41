//! Tests of `behaviour build` with a tool that hangs.

use std::fs;

use crate::program::rig::Rig;

#[cfg(unix)]
#[test]
fn a_tool_that_hangs_is_stopped_and_a_hint_is_printed() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::with(&[]);
    rig.write("door/plugin.js", "export const methods = { invoke() {} };");
    let esbuild = rig.write("tools/esbuild", "#!/bin/sh\nsleep 1000 &\nwait\n");
    fs::set_permissions(&esbuild, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", esbuild.parent().unwrap().display());

    let mut build = rig.command(&["build", "door"]);
    build.env("PATH", path).env("BEHAVIOUR_CACHE_DIR", rig.path().join("cache"));
    let output = build.env("BEHAVIOUR_STEP_LIMIT", "100ms").output().unwrap();

    let stderr = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = stderr.lines().collect();
    let [step, error, hint] = lines[..] else { panic!("{stderr}") };
    assert_eq!((step, output.status.code()), ("bundling door", Some(1)));
    assert!(error.starts_with("error: bundling door: `esbuild "), "{stderr}");
    assert!(error.ends_with("did not end within 100ms and was stopped"), "{stderr}");
    assert_eq!(hint, "hint: check the network, or allow more time: BEHAVIOUR_STEP_LIMIT=60m");
}
