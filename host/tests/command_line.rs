//! Checks that the command-line reference shows this program's help.

#[path = "../../docs/command_line.rs"]
mod command_line;

#[test]
fn the_page_shows_the_help_of_this_program() {
    command_line::check("behaviour-host", env!("CARGO_BIN_EXE_behaviour-host"));
}
