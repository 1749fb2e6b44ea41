//! The reboot of the tutorial: wait, report the time, answer. It plays a reboot;
//! what happens and in which order is guest-reboot's, in another language.

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
    _ = behaviour; // it exports what the host calls
}

pub const panic = behaviour.panic; // it writes the message to the log

pub fn invoke(name: []const u8, payload: behaviour.Json) Result {
    if (!std.mem.eql(u8, name, "rebootDevice")) {
        return .{ .err = .unknown_method };
    }
    var why: []const u8 = "";
    const settings = Settings.read(&why) catch return .{ .err = .{ .failed = why } };
    const delay = askedDelay(payload) catch {
        return .{ .err = .{ .invalid_payload = "delaySeconds: is not a number from 0 to 300" } };
    };

    log("Rebooting device");
    const milliseconds: u32 = @intFromFloat((delay orelse settings.delay_seconds) * 1000);
    switch (clock.sleepMs(milliseconds)) {
        .ok => {},
        .err => |err| return failed("reboot", err),
    }
    log("Device rebooted");

    const patch = settings.patch(clock.nowRfc3339()) catch unreachable; // tried when it was read
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

/// Any JSON is a legal payload; only an object can ask for a delay.
fn askedDelay(payload: behaviour.Json) error{NoSeconds}!?f64 {
    const asked = parsed(payload) orelse return null;
    if (asked != .object) return null;
    return try seconds(asked.object.get("delaySeconds") orelse return null);
}

fn failed(what: []const u8, err: behaviour.Error) Result {
    return .{ .err = .{ .failed = print("{s}: {s}", .{ what, behaviour.describe(err) }) } };
}

fn log(message: []const u8) void {
    behaviour.log.write(.info, message, &.{});
}
