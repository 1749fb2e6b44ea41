//! Answers the method `greet` with its payload, and reports the time to the twin.
//!
//! `behaviour build` generates gen/behaviour.zig from wit/.

const std = @import("std");
const behaviour = @import("gen/behaviour.zig");
const clock = behaviour.clock;
const log = behaviour.log;
const twin = behaviour.twin;

comptime {
    _ = behaviour; // exports the functions that the host calls
}

pub const panic = behaviour.panic; // writes the message to the log

/// `payload` is JSON text. To refuse the call, return a case of `MethodError` as `err`.
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
