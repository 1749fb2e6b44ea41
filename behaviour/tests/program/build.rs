//! `behaviour build`, with tools that do not do what they should.

use std::fs;

use crate::program::rig::Rig;

#[cfg(unix)]
#[test]
fn a_tool_that_hangs_is_stopped_and_the_way_out_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::with(&[]);
    rig.write("door/plugin.js", "export const methods = { invoke() {} };");
    let esbuild = rig.write("tools/esbuild", "#!/bin/sh\nsleep 1000 &\nwait\n");
    fs::set_permissions(&esbuild, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", esbuild.parent().unwrap().display());

    let mut build = rig.command(&["build", "door"]);
    build.env("PATH", path).env("BEHAVIOUR_CACHE_DIR", rig.path().join("cache"));
    let ended = build.env("BEHAVIOUR_STEP_LIMIT", "100ms").output().unwrap();

    let said = String::from_utf8(ended.stderr).unwrap();
    let lines: Vec<_> = said.lines().collect();
    let [doing, error, hint] = lines[..] else { panic!("{said}") };
    assert_eq!((doing, ended.status.code()), ("bundling door", Some(1)));
    assert!(error.starts_with("error: bundling door: `esbuild "), "{said}");
    assert!(error.ends_with("did not end within 100ms and was stopped"), "{said}");
    assert_eq!(hint, "hint: check the network, or allow more time: BEHAVIOUR_STEP_LIMIT=60m");
}
