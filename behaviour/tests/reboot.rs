//! Tests that the reboot guests pass their cases, and that the documentation shows valid
//! cases.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use behaviour::cases::{self, Difference};
use behaviour::desk::{compile, engine};
use behaviour::{BuildOptions, build};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs the cases in a folder and returns their differences, one line each.
fn failures(component: &Path, folder: &Path) -> Vec<String> {
    let engine = engine(0).unwrap();
    let (_, compiled) = compile(&engine, component).unwrap();
    let found = cases::find(folder).unwrap();
    assert!(!found.is_empty(), "no cases in {}", folder.display());
    let mut failures = Vec::new();
    for cases::CaseFile { name, case } in found {
        match case.and_then(|case| case.run(&engine, "plugin", &compiled)) {
            Ok(verdict) => failures.extend(
                verdict
                    .differences()
                    .map(|difference: &Difference| format!("{name}: {difference}")),
            ),
            Err(reason) => failures.push(format!("{name}: {reason}")),
        }
    }
    failures
}

/// Builds a guest and checks that it passes the cases in these folders.
fn check(guest: &str, folders: &[&str]) {
    let component = build(&workspace().join(guest), &BuildOptions::default()).unwrap().path;
    for folder in folders {
        let failures = failures(&component, &workspace().join(folder));
        assert!(failures.is_empty(), "{folder}:\n{}", failures.join("\n"));
    }
}

#[test]
fn the_reboot_guest_passes_the_shared_cases_and_its_own() {
    check("guest-reboot", &["examples/cases", "guest-reboot/cases"]);
}

#[test]
fn the_guest_that_really_reboots_passes_its_cases() {
    check("guest-reboot/real", &["guest-reboot/real/cases"]);
}

#[test]
fn the_cases_in_the_documentation_are_valid() {
    for document in ["README.md", "docs/cases.md"] {
        let text = fs::read_to_string(workspace().join(document)).unwrap();
        let blocks = text.split("```json\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
        let blocks: Vec<_> = blocks.filter(|block| block.contains("\"method\"")).collect();
        assert!(!blocks.is_empty(), "{document} shows no case");
        for block in blocks {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("a.json"), block).unwrap();
            let found = cases::find(folder.path()).unwrap();
            assert!(found[0].case.is_ok(), "{document}: {:?}", found[0].case);
        }
    }
}
