//! Rule for files: they are small and named after their contents.

use std::path::Path;

use super::expect_none;
use super::source::sources;

/// The maximum number of lines of a product file.
const MAX_LINES: usize = 400;

/// The maximum number of lines of a test file.
const MAX_TEST_LINES: usize = 500;

/// The maximum number of lines of `host/src/main.rs`, since the program's commands are
/// modules.
const MAX_MAIN_LINES: usize = 60;

/// File names that do not describe the contents.
const EMPTY_NAMES: &[&str] =
    &["utils", "util", "common", "helpers", "helper", "misc", "manager", "mod"];

#[test]
fn files_are_small_and_named_after_their_contents() {
    let mut violations = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        let max = match source.path.as_str() {
            "host/src/main.rs" => MAX_MAIN_LINES,
            _ if source.is_product() => MAX_LINES,
            _ => MAX_TEST_LINES,
        };
        if lines > max {
            violations.push(format!("{}:{lines}: more than {max} lines", source.path));
        }
        let name = Path::new(&source.path).file_stem().unwrap().to_string_lossy().into_owned();
        if EMPTY_NAMES.contains(&name.as_str()) {
            violations.push(format!("{}:1: `{name}` does not describe the contents", source.path));
        }
    }
    expect_none(&violations);
}
