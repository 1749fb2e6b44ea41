
/// A panic handler that writes the message to the log before the trap. To use it, add
/// `pub const panic = behaviour.panic;` to the root file.
pub const panic = std.debug.FullPanic(panicked);

var panicking = false;

fn panicked(message: []const u8, _: ?usize) noreturn {
    // Writing allocates memory, and the panic may be due to a lack of memory.
    if (!panicking) {
        panicking = true;
        log.write(.@"error", message, &.{});
    }
    @trap();
}
