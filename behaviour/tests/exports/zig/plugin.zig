//! Uses every interface and has every optional export, as ../cases expects.

const std = @import("std");
const behaviour = @import("gen/behaviour.zig");
const clock = behaviour.clock;
const config = behaviour.config;
const context = behaviour.context;
const jobs = behaviour.jobs;
const log = behaviour.log;
const metrics = behaviour.metrics;
const power = behaviour.power;
const state = behaviour.state;
const telemetry = behaviour.telemetry;
const twin = behaviour.twin;

comptime {
    _ = behaviour; // exports the functions that the host calls
}

pub fn invoke(name: []const u8, payload: behaviour.Json) behaviour.Result(behaviour.Response, behaviour.MethodError) {
    if (is(name, "host")) return answer(host(payload));
    if (is(name, "nothing")) return .{ .ok = .{ .status = 204 } };
    if (is(name, "invalid")) return .{ .err = .{ .invalid_payload = payload } };
    if (is(name, "busy")) return .{ .err = .{ .busy = 7 } };
    if (is(name, "failed")) {
        return .{ .err = .{ .failed = behaviour.describe(twin.report("[]").err) } };
    }
    if (is(name, "other")) return .{ .err = .{ .other = "" } };
    return .{ .err = .unknown_method };
}

pub fn run(name: []const u8, payload: behaviour.Json) behaviour.Result(void, behaviour.JobError) {
    if (is(name, "later")) return .{ .err = .{ .retry = 5000 } };
    if (is(name, "some-time")) return .{ .err = .{ .retry = null } };
    if (is(name, "never")) return .{ .err = .{ .reject = payload } };
    if (is(name, "odd")) return .{ .err = .{ .other = "odd" } };
    const fields = text("{d} {d}", .{ @intFromEnum(jobs.bootOutcomeOfCurrent()), context.attempt() });
    log.write(.debug, name, &.{.{ payload, fields }});
    return .{ .ok = {} };
}

pub fn changed(patch: behaviour.Json, version: u64) behaviour.Result(void, behaviour.JobError) {
    log.write(.info, patch, &.{.{ "version", text("{d}", .{version}) }});
    return .{ .ok = {} };
}

pub fn start(previous_version: ?[]const u8) behaviour.Result(void, []const u8) {
    const previous = previous_version orelse return .{ .ok = {} };
    return .{ .err = text("not after {s}", .{previous}) };
}

pub fn stop() void {
    log.write(.warn, "stopped", &.{});
}

/// Returns one line about each answer of the host.
fn host(payload: behaviour.Json) []const u8 {
    log.write(.@"error", "a", &.{ .{ "b", "c" }, .{ "ü", "" } });
    var lines: std.ArrayList(u8) = .empty;
    line(&lines, "{s} {s} {s} {d} {d}", .{ context.pluginName(), context.deviceId(), context.callId(), context.remainingMs(), context.attempt() });
    _ = clock.sleepMs(1500);
    line(&lines, "{s} {d}", .{ clock.nowRfc3339(), clock.nowMs() });
    line(&lines, "{?s} {?s}", .{ config.get("text"), config.get("missing") });
    for (config.entries()) |entry| line(&lines, "{s}={s}", .{ entry[0], entry[1] });
    line(&lines, "{d}", .{twin.reportAndWait("{\"a\":1}", 1000).ok});
    const desired = twin.desired().ok;
    const reported = twin.reported().ok;
    line(&lines, "{s} {d} {s} {d}", .{ desired.body, desired.version, reported.body, reported.version });
    _ = telemetry.send(payload, "application/json", &.{.{ "x", "y" }});
    _ = state.set("k1", "one");
    _ = state.set("k2", "");
    line(&lines, "{?s} {?s} {?s}", .{ state.get("k1").ok, state.get("k2").ok, state.get("k3").ok });
    line(&lines, "{} {}", .{ state.swap("k1", "two", null).ok, state.swap("k1", "one", "1").ok });
    line(&lines, "{} {}", .{ state.swap("k3", null, "three").ok, state.swap("k2", "", null).ok });
    const keys = state.keys("k", 9).ok;
    line(&lines, "{s} {s} {d}", .{ keys[0], keys[1], keys.len });
    _ = state.delete("k1");
    const job = jobs.afterDelay("first", "1", 2000).ok;
    _ = jobs.afterBoot("second", "2", 60000);
    _ = jobs.afterResponse("third", "3");
    line(&lines, "{s} {} {}", .{ job, jobs.cancel("none").ok, jobs.cancel(job).ok });
    line(&lines, "{s}", .{@tagName(power.requestReboot(10, "because"))});
    line(&lines, "{s}", .{behaviour.describe(power.requestReboot(10, "again").err)});
    metrics.add("opened", 2, &.{.{ "door", "front" }});
    metrics.add("opened", 0.5, &.{.{ "door", "front" }});
    metrics.set("heat", -1.5, &.{});
    metrics.setBounds("wait_seconds", &.{ 0.5, 1 });
    metrics.observe("wait_seconds", 0.25, &.{});
    line(&lines, "{?s}", .{context.traceParent()});
    return lines.items;
}

fn answer(lines: []const u8) behaviour.Result(behaviour.Response, behaviour.MethodError) {
    const json = std.json.Stringify.valueAlloc(behaviour.allocator, lines, .{}) catch @trap();
    return .{ .ok = .{ .status = 200, .payload = json } };
}

fn line(lines: *std.ArrayList(u8), comptime format: []const u8, values: anytype) void {
    lines.appendSlice(behaviour.allocator, text(format ++ "\n", values)) catch @trap();
}

fn text(comptime format: []const u8, values: anytype) []const u8 {
    return std.fmt.allocPrint(behaviour.allocator, format, values) catch @trap();
}

fn is(name: []const u8, other: []const u8) bool {
    return std.mem.eql(u8, name, other);
}
