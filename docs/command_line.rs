//! Comparison of the command-line reference with the `--help` output of a program.
//!
//! Each program's package includes this file in a test, since cargo provides the path of a
//! program only to tests of its package. `WRITE_DOCS=1` regenerates the program's part of
//! the page.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Checks a program's part of the page.
pub(crate) fn check(program: &str, path: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/command-line.md");
    let page = fs::read_to_string(&file).expect("the page exists");
    let start = format!("<!-- help: {program} -->\n");
    let from = page.find(&start).expect("the page has a part for the program") + start.len();
    let to = from + page[from..].find("<!-- end -->").expect("the part ends");
    let mut shown = String::new();
    describe(program, path, &[], &mut shown);
    if env::var_os("WRITE_DOCS").is_some() {
        let mut page = page;
        page.replace_range(from..to, &shown);
        fs::write(&file, page).expect("the page can be written");
    } else {
        assert!(
            page[from..to] == shown,
            "docs/reference/command-line.md differs from `{program} --help`: run with WRITE_DOCS=1"
        );
    }
}

/// Appends the help of a command and of its subcommands.
fn describe(program: &str, path: &str, command: &[&str], shown: &mut String) {
    let mut program_help = Command::new(path);
    program_help.args(command).arg("--help").env("COLUMNS", "100").env("NO_COLOR", "1");
    for variable in [
        "IOTHUB_CA_FILE",
        "IOTHUB_CONNECTION_STRING_FILE",
        "PROVISIONING_CONNECTION_STRING_FILE",
        "BEHAVIOUR_LOG",
        "BEHAVIOUR_CACHE_DIR",
    ] {
        program_help.env_remove(variable);
    }
    let output = program_help.output().expect("the program starts");
    let help = String::from_utf8(output.stdout).expect("help is UTF-8");
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    if !command.is_empty() {
        *shown += &format!("\n### {program} {}\n", command.join(" "));
    }
    *shown += &format!("\n```text\n{}\n```\n", help.join("\n").trim_end());
    let listed = help.iter().skip_while(|line| **line != "Commands:").skip(1);
    let names = listed.take_while(|line| !line.is_empty()).filter_map(|line| {
        // A description that continues on the next line is indented further.
        let name = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' '))?;
        name.split(' ').next()
    });
    for name in names.filter(|name| *name != "help") {
        describe(program, path, &[command, &[name]].concat(), shown);
    }
}
