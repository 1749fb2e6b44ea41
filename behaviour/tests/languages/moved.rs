//! Test of the how-to that moves a program of `azure-iot-device` to a plugin.

use std::fs;

use behaviour::{Language, build};

use super::{expect_cases, project, workspace};

/// Files that the page shows, each after its name, and their folders.
const FILES: [(&str, &str); 6] = [
    ("", "plugin.py"),
    ("wit", "mine.wit"),
    ("", "behaviour.toml"),
    ("", "cases/opens.json"),
    ("", "cases/follows-the-interval.json"),
    ("", "cases/refuses-a-text.json"),
];

/// Returns the block of the page that follows the name of a file.
fn block<'a>(page: &'a str, file: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("`{file}`:\n\n```")).expect(file);
    let (_, rest) = rest.split_once('\n').expect(file);
    rest.split_once("```").expect(file).0
}

#[test]
fn a_guest_in_python_that_was_moved_from_a_program_passes_the_cases_of_its_page() {
    let Some((folder, options)) = project(Language::Python) else { return };
    let dir = folder.path().join("script");
    let page = workspace().join("docs/how-to/move-from-azure-iot-device.md");
    let page = fs::read_to_string(page).unwrap();
    fs::remove_dir_all(dir.join("cases")).unwrap();
    fs::create_dir(dir.join("cases")).unwrap();
    for (in_folder, file) in FILES {
        fs::write(dir.join(in_folder).join(file), block(&page, file)).unwrap();
    }
    let built = build(&dir, &options)
        .unwrap_or_else(|error| panic!("{error}\n{}", error.output().unwrap_or_default()));
    expect_cases(&built.path, &dir.join("cases"));
}
