//! Answers the method `greet` with what it was sent, and tells the twin when.
//!
//! gen/behaviour.zig is made from wit/ by `behaviour build`.

const std = @import("std");
const behaviour = @import("gen/behaviour.zig");
const clock = behaviour.clock;
const log = behaviour.log;
const twin = behaviour.twin;

comptime {
    _ = behaviour; // it exports what the host calls
}

pub const panic = behaviour.panic; // it writes the message to the log

/// `payload` is JSON text. To refuse is to return a case of `MethodError` as `err`.
pub fn invoke(name: []const u8, payload: behaviour.Json) behaviour.Result(behaviour.Response, behaviour.MethodError) {
    if (!std.mem.eql(u8, name, "greet")) {
        return .{ .err = .unknown_method };
    }
    log.write(.info, "greeted", &.{.{ "with", payload }});
    switch (twin.report(text("{{\"lastGreeted\":\"{s}\"}}", clock.nowRfc3339()))) {
        .ok => {},
        .err => |err| return .{ .err = .{ .failed = behaviour.describe(err) } },
    }
    return .{ .ok = .{ .status = 200, .payload = text("{{\"hello\":{s}}}", payload) } };
}

fn text(comptime format: []const u8, value: []const u8) []const u8 {
    return std.fmt.allocPrint(behaviour.allocator, format, .{value}) catch @trap();
}
