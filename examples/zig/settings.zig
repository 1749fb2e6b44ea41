//! The settings in [plugins.NAME.config]: delay_seconds, property (a dotted path) and
//! report (an object with additional properties).

const std = @import("std");
const behaviour = @import("gen/behaviour.zig");
const allocator = behaviour.allocator;
const Value = std.json.Value;

pub const Settings = struct {
    delay_seconds: f64 = 20,
    property: []const u8 = "rebootTime",
    report: Value = .{ .object = .empty },

    /// Reads the settings. Sets `reason` and returns `error.Wrong` if one is invalid.
    pub fn read(reason: *[]const u8) error{Wrong}!Settings {
        var settings: Settings = .{};
        for (behaviour.config.entries()) |entry| {
            const key, const text = entry;
            settings.set(key, text) catch |wrong| {
                reason.* = print("configuration: {s}: {s} {s}", .{ key, text, switch (wrong) {
                    error.NoSetting => "belongs to an unknown setting; expected delay_seconds, property or report",
                    error.NoSeconds => "is not a number from 0 to 300",
                    error.NoPath => "is not a list of keys separated by dots",
                    error.NoObject => "is not a JSON object",
                } });
                return error.Wrong;
            };
        }
        _ = settings.patch("now") catch {
            reason.* = print("configuration: report: a value conflicts with property {s}", .{settings.property});
            return error.Wrong;
        };
        return settings;
    }

    fn set(settings: *Settings, key: []const u8, text: []const u8) !void {
        if (std.mem.eql(u8, key, "delay_seconds")) {
            settings.delay_seconds = try seconds(parsed(text) orelse return error.NoSeconds);
        } else if (std.mem.eql(u8, key, "property")) {
            var keys = std.mem.splitScalar(u8, text, '.');
            while (keys.next()) |part| if (!isKey(part)) return error.NoPath;
            settings.property = text;
        } else if (std.mem.eql(u8, key, "report")) {
            settings.report = parsed(text) orelse return error.NoObject;
            if (settings.report != .object) return error.NoObject;
        } else {
            return error.NoSetting;
        }
    }

    /// Returns a copy of `report`, as JSON text, with the time at the path `property`.
    pub fn patch(settings: Settings, time: []const u8) error{Conflict}![]const u8 {
        var keys = std.mem.splitScalar(u8, settings.property, '.');
        const whole = try with(settings.report, &keys, time);
        return std.json.Stringify.valueAlloc(allocator, whole, .{}) catch @trap();
    }
};

/// Returns a number of seconds from 0 to 300.
pub fn seconds(value: Value) error{NoSeconds}!f64 {
    const found: f64 = switch (value) {
        .integer => |whole| @floatFromInt(whole),
        .float => |number| number,
        else => return error.NoSeconds,
    };
    return if (found >= 0 and found <= 300) found else error.NoSeconds;
}

pub fn parsed(text: []const u8) ?Value {
    return std.json.parseFromSliceLeaky(Value, allocator, text, .{
        .duplicate_field_behavior = .use_last,
    }) catch null;
}

pub fn print(comptime format: []const u8, values: anytype) []const u8 {
    return std.fmt.allocPrint(allocator, format, values) catch @trap();
}

/// Returns a copy of an object with the time at the path of the keys.
fn with(value: Value, keys: *std.mem.SplitIterator(u8, .scalar), time: []const u8) error{Conflict}!Value {
    const key = keys.next() orelse return .{ .string = time };
    if (value != .object) return error.Conflict;
    var object = value.object.clone(allocator) catch @trap();
    const there = object.get(key);
    if (there != null and (keys.peek() == null or there.? != .object)) return error.Conflict;
    const inner = try with(there orelse .{ .object = .empty }, keys, time);
    object.put(allocator, key, inner) catch @trap();
    return .{ .object = object };
}

fn isKey(key: []const u8) bool {
    for (key) |c| if (c <= ' ' or c == 0x7f or c == '$') return false;
    return key.len > 0;
}
