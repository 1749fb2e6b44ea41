//! Answers the method `greet` with what it was sent, and tells the twin when.

const std = @import("std");
const behaviour = @import("behaviour.zig");
const clock = behaviour.clock;
const log = behaviour.log;
const twin = behaviour.twin;

comptime {
    _ = behaviour; // it exports what the host calls
}

/// `payload` is JSON text. To refuse is to return a case of `MethodError`.
pub fn invoke(name: []const u8, payload: behaviour.Json) behaviour.Result {
    if (!std.mem.eql(u8, name, "greet")) {
        return .{ .refused = .unknown_method };
    }
    log.line(.info, "greeted", .{.{ "with", payload }});
    const patch = text("{{\"lastGreeted\":\"{s}\"}}", clock.nowRfc3339());
    twin.queueReport(patch) catch return .{ .refused = .{ .failed = behaviour.reason } };
    return .{ .ok = .{ .status = 200, .payload = text("{{\"hello\":{s}}}", payload) } };
}

fn text(comptime format: []const u8, value: []const u8) []const u8 {
    return std.fmt.allocPrint(behaviour.allocator, format, .{value}) catch @trap();
}
