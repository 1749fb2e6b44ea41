//! Test that the reference of the command lines contains this program's help.

#[path = "../../docs/command_line.rs"]
mod command_line;

#[test]
fn the_reference_contains_the_help_of_this_program() {
    command_line::check("behaviour", env!("CARGO_BIN_EXE_behaviour"));
}
