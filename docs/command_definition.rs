//! Tests of a program's command line by its definition: the examples in its help texts, and
//! its manual pages.
//!
//! Each program includes this file in its tests, since only the program itself knows its
//! definition.

use std::path::PathBuf;
use std::{env, fs};

use clap::Command;

/// Characters at which the shell's part of an example begins.
const OF_SHELL: [char; 3] = ['|', '<', '>'];

/// Checks that every command or its parent has examples, and that each example is a valid
/// command line.
pub(crate) fn check_examples(definition: &Command) {
    check_examples_of(definition, definition, true);
}

fn check_examples_of(definition: &Command, command: &Command, parent_has: bool) {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let examples = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    let examples: Vec<_> = examples.take_while(|line| !line.is_empty()).collect();
    let name = command.get_name();
    assert!(parent_has || !examples.is_empty(), "`{name}` has no examples");
    for example in &examples {
        let words = shlex::split(example).unwrap_or_else(|| panic!("quotes of `{example}`"));
        if words.first().map(String::as_str) != Some(definition.get_name()) {
            continue;
        }
        let of_shell = |word: &String| word.trim_start_matches('2').starts_with(OF_SHELL);
        let words = words.into_iter().take_while(|word| !of_shell(word));
        // The file of an argument does not exist.
        let words = words.map(|word| if word.starts_with('@') { "{}".to_owned() } else { word });
        if let Err(error) = definition.clone().try_get_matches_from(words) {
            panic!("`{example}`: {error}");
        }
    }
    for subcommand in command.get_subcommands() {
        let is_group = subcommand.has_subcommands();
        check_examples_of(definition, subcommand, is_group || !examples.is_empty());
    }
}

/// Writes the manual pages to the folder in the variable `MAN_DIR`, or else to a temporary
/// one. Checks that every command has a page with its description.
pub(crate) fn check_manual(definition: Command) {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = env::var_os("MAN_DIR").map_or(temporary.path().to_owned(), PathBuf::from);
    fs::create_dir_all(&folder).expect("the folder can be created");
    let definition = definition.disable_help_subcommand(true);
    clap_mangen::generate_to(definition.clone(), &folder).expect("the pages can be written");
    check_pages(&definition, definition.get_name(), &folder);
}

fn check_pages(command: &Command, name: &str, folder: &std::path::Path) {
    let page = folder.join(format!("{name}.1"));
    let page = fs::read_to_string(&page).unwrap_or_else(|_| panic!("`{}`", page.display()));
    for part in [".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
        assert!(page.contains(part), "{name}.1 has no `{part}`");
    }
    for subcommand in command.get_subcommands() {
        check_pages(subcommand, &format!("{name}-{}", subcommand.get_name()), folder);
    }
}
