//! Comparison of the command-line reference with the help of this program.

#[path = "../../docs/command_line.rs"]
mod command_line;

#[test]
fn the_reference_shows_the_help_of_this_program() {
    command_line::check("behaviour-hub", env!("CARGO_BIN_EXE_behaviour-hub"));
}
