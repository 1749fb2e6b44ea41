//! Checks that the command-line reference contains this program's `--help` output.

#[path = "../../docs/command_line.rs"]
mod command_line;

#[test]
fn the_reference_contains_the_help_text_of_this_program() {
    command_line::check("behaviour-hub", env!("CARGO_BIN_EXE_behaviour-hub"));
}
