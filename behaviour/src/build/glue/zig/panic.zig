
/// Writes the message of a panic to the log before the trap, if the root file has
/// `pub const panic = behaviour.panic;`.
pub const panic = std.debug.FullPanic(panicked);

var panicking = false;

fn panicked(message: []const u8, _: ?usize) noreturn {
    // Writing needs memory, which may be what is missing.
    if (!panicking) {
        panicking = true;
        log.write(.@"error", message, &.{});
    }
    @trap();
}
