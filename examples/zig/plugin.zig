//! The simulated reboot of the tutorial: waits, reports the time and answers. It behaves
//! like guest-reboot, which is written in Rust.

const std = @import("std");
const behaviour = @import("gen/behaviour.zig");
const Settings = @import("settings.zig").Settings;
const parsed = @import("settings.zig").parsed;
const print = @import("settings.zig").print;
const seconds = @import("settings.zig").seconds;
const clock = behaviour.clock;
const twin = behaviour.twin;
const Result = behaviour.Result(behaviour.Response, behaviour.MethodError);

comptime {
    _ = behaviour; // exports the functions that the host calls
}

pub const panic = behaviour.panic; // writes the message to the log

pub fn invoke(name: []const u8, payload: behaviour.Json) Result {
    if (!std.mem.eql(u8, name, "rebootDevice")) {
        return .{ .err = .unknown_method };
    }
    var reason: []const u8 = "";
    const settings = Settings.read(&reason) catch return .{ .err = .{ .failed = reason } };
    const delay = requestedDelay(payload) catch {
        return .{ .err = .{ .invalid_payload = "delaySeconds: is not a number from 0 to 300" } };
    };

    log("Rebooting device");
    const milliseconds: u32 = @intFromFloat((delay orelse settings.delay_seconds) * 1000);
    switch (clock.sleepMs(milliseconds)) {
        .ok => {},
        .err => |err| return failed("reboot", err),
    }
    log("Device rebooted");

    const patch = settings.patch(clock.nowRfc3339()) catch unreachable; // `read` has checked it
    switch (twin.reportAndWait(patch, 5000)) {
        .ok => log("Device twins updated with latest rebootTime"),
        .err => |err| switch (err) {
            .offline, .timeout => log("Device twins will be updated when the hub answers again"),
            else => return failed("reported properties", err),
        },
    }
    const answer = "{\"Response\": \"This is the response from the device\"}";
    return .{ .ok = .{ .status = 200, .payload = answer } };
}

/// Returns the delay in the payload, if any. Payloads that are not objects have none.
fn requestedDelay(payload: behaviour.Json) error{NoSeconds}!?f64 {
    const requested = parsed(payload) orelse return null;
    if (requested != .object) return null;
    return try seconds(requested.object.get("delaySeconds") orelse return null);
}

fn failed(what: []const u8, err: behaviour.Error) Result {
    return .{ .err = .{ .failed = print("{s}: {s}", .{ what, behaviour.describe(err) }) } };
}

fn log(message: []const u8) void {
    behaviour.log.write(.info, message, &.{});
}
