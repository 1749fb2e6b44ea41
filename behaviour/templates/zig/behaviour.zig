//! The contract of a plugin with its host, as wit/ writes it down: what the host
//! lends, and the method that it calls. What each function does stands there.
//!
//! It is the canonical ABI of components by hand: a text is a pointer and a
//! length, and what does not fit into one number is written where the last
//! argument points to. An instance lives for one call, so nothing is ever freed.

const std = @import("std");

/// For whatever lives as long as the call.
pub const allocator = std.heap.wasm_allocator;

/// UTF-8 JSON text.
pub const Json = []const u8;

/// Why the host did not do what it was asked for.
pub const HostError = error{ Denied, Invalid, TooLarge, QuotaExceeded, Offline, Timeout, Throttled, Other };

/// What the host said of the last error, where it said something.
pub var reason: []const u8 = "";

pub const Response = struct { status: u16, payload: ?Json };

/// A refusal, which the host turns into a status and a JSON body.
pub const MethodError = union(enum) {
    invalid_payload: []const u8,
    unknown_method,
    busy: ?u32,
    failed: []const u8,
    other: []const u8,
};

pub const Result = union(enum) { ok: Response, refused: MethodError };

pub const Document = struct { body: Json, version: u64 };
pub const Pair = extern struct { key: Text, value: Text };

/// A text as the host sees it.
pub const Text = extern struct {
    ptr: [*]const u8,
    len: usize,

    pub fn of(text: []const u8) Text {
        return .{ .ptr = text.ptr, .len = text.len };
    }

    pub fn slice(text: Text) []const u8 {
        return text.ptr[0..text.len];
    }
};

pub const context = struct {
    extern "device:behaviour/context@0.1.0" fn @"plugin-name"(*Text) void;
    extern "device:behaviour/context@0.1.0" fn @"device-id"(*Text) void;
    extern "device:behaviour/context@0.1.0" fn @"call-id"(*Text) void;
    extern "device:behaviour/context@0.1.0" fn @"remaining-ms"() u32;
    extern "device:behaviour/context@0.1.0" fn attempt() u32;

    pub fn pluginName() []const u8 {
        return textFrom(@"plugin-name");
    }

    pub fn deviceId() []const u8 {
        return textFrom(@"device-id");
    }

    pub fn callId() []const u8 {
        return textFrom(@"call-id");
    }

    pub fn remainingMs() u32 {
        return @"remaining-ms"();
    }

    pub fn attemptNumber() u32 {
        return attempt();
    }
};

pub const clock = struct {
    extern "device:behaviour/clock@0.1.0" fn @"now-ms"() u64;
    extern "device:behaviour/clock@0.1.0" fn @"now-rfc3339"(*Text) void;
    extern "device:behaviour/clock@0.1.0" fn @"sleep-ms"(u32, *Returned) void;

    pub fn nowMs() u64 {
        return @"now-ms"();
    }

    pub fn nowRfc3339() []const u8 {
        return textFrom(@"now-rfc3339");
    }

    pub fn sleepMs(duration: u32) HostError!void {
        var returned: Returned = undefined;
        @"sleep-ms"(duration, &returned);
        try returned.check();
    }
};

pub const log = struct {
    pub const Level = enum(u32) { trace, debug, info, warn, @"error" };

    extern "device:behaviour/log@0.1.0" fn write(Level, [*]const u8, usize, [*]const Pair, usize) void;

    /// Fields as `.{ .{ "name", value }, ... }`.
    pub fn line(level: Level, message: []const u8, fields: anytype) void {
        var pairs: [fields.len]Pair = undefined;
        inline for (fields, 0..) |field, index| {
            pairs[index] = .{ .key = .of(field[0]), .value = .of(field[1]) };
        }
        write(level, message.ptr, message.len, &pairs, pairs.len);
    }
};

pub const config = struct {
    extern "device:behaviour/config@0.1.0" fn get([*]const u8, usize, *OptionalText) void;
    extern "device:behaviour/config@0.1.0" fn entries(*Pairs) void;
    const Pairs = extern struct { ptr: [*]const Pair, len: usize };

    pub fn setting(key: []const u8) ?[]const u8 {
        var found: OptionalText = undefined;
        get(key.ptr, key.len, &found);
        return found.slice();
    }

    pub fn all() []const Pair {
        var found: Pairs = undefined;
        entries(&found);
        return found.ptr[0..found.len];
    }
};

pub const twin = struct {
    extern "device:behaviour/twin@0.1.0" fn report([*]const u8, usize, *Returned) void;
    extern "device:behaviour/twin@0.1.0" fn @"report-and-wait"([*]const u8, usize, u32, *Wide) void;
    extern "device:behaviour/twin@0.1.0" fn desired(*Wide) void;
    extern "device:behaviour/twin@0.1.0" fn reported(*Wide) void;

    /// A result with a 64-bit number in it, which moves what follows by four.
    const Wide = extern struct {
        failed: u8,
        value: extern union { version: u64, document: extern struct { body: Text, version: u64 }, why: Why },

        fn check(wide: *const Wide) HostError!void {
            if (wide.failed != 0) return wide.value.why.told();
        }

        fn document(wide: *const Wide) HostError!Document {
            try wide.check();
            return .{ .body = wide.value.document.body.slice(), .version = wide.value.document.version };
        }
    };

    pub fn queueReport(patch: Json) HostError!void {
        var returned: Returned = undefined;
        report(patch.ptr, patch.len, &returned);
        try returned.check();
    }

    pub fn reportAndWait(patch: Json, timeout_ms: u32) HostError!u64 {
        var returned: Wide = undefined;
        @"report-and-wait"(patch.ptr, patch.len, timeout_ms, &returned);
        try returned.check();
        return returned.value.version;
    }

    pub fn desiredProperties() HostError!Document {
        var returned: Wide = undefined;
        desired(&returned);
        return returned.document();
    }

    pub fn reportedProperties() HostError!Document {
        var returned: Wide = undefined;
        reported(&returned);
        return returned.document();
    }
};

pub const telemetry = struct {
    extern "device:behaviour/telemetry@0.1.0" fn send([*]const u8, usize, [*]const u8, usize, [*]const Pair, usize, *Returned) void;

    pub fn message(body: []const u8, content_type: []const u8, properties: []const Pair) HostError!void {
        var returned: Returned = undefined;
        send(body.ptr, body.len, content_type.ptr, content_type.len, properties.ptr, properties.len, &returned);
        try returned.check();
    }
};

pub const state = struct {
    extern "device:behaviour/state@0.1.0" fn get([*]const u8, usize, *Returned) void;
    extern "device:behaviour/state@0.1.0" fn set([*]const u8, usize, [*]const u8, usize, *Returned) void;
    extern "device:behaviour/state@0.1.0" fn delete([*]const u8, usize, *Returned) void;
    extern "device:behaviour/state@0.1.0" fn keys([*]const u8, usize, u32, *Returned) void;
    extern "device:behaviour/state@0.1.0" fn swap([*]const u8, usize, u32, [*]const u8, usize, u32, [*]const u8, usize, *Returned) void;

    pub fn value(key: []const u8) HostError!?[]const u8 {
        var returned: Returned = undefined;
        get(key.ptr, key.len, &returned);
        try returned.check();
        return returned.value.optional.slice();
    }

    pub fn put(key: []const u8, bytes: []const u8) HostError!void {
        var returned: Returned = undefined;
        set(key.ptr, key.len, bytes.ptr, bytes.len, &returned);
        try returned.check();
    }

    pub fn remove(key: []const u8) HostError!void {
        var returned: Returned = undefined;
        delete(key.ptr, key.len, &returned);
        try returned.check();
    }

    pub fn keysWith(prefix: []const u8, limit: u32) HostError![]const Text {
        var returned: Returned = undefined;
        keys(prefix.ptr, prefix.len, limit, &returned);
        try returned.check();
        const texts: [*]const Text = @ptrCast(@alignCast(returned.value.text.ptr));
        return texts[0..returned.value.text.len];
    }

    pub fn swapped(key: []const u8, expected: ?[]const u8, new: ?[]const u8) HostError!bool {
        var returned: Returned = undefined;
        const old, const next = .{ expected orelse "", new orelse "" };
        swap(key.ptr, key.len, @intFromBool(expected != null), old.ptr, old.len, @intFromBool(new != null), next.ptr, next.len, &returned);
        try returned.check();
        return returned.value.yes != 0;
    }
};

pub const jobs = struct {
    extern "device:behaviour/jobs@0.1.0" fn @"after-response"([*]const u8, usize, [*]const u8, usize, *Returned) void;
    extern "device:behaviour/jobs@0.1.0" fn @"after-delay"([*]const u8, usize, [*]const u8, usize, u32, *Returned) void;
    extern "device:behaviour/jobs@0.1.0" fn @"after-boot"([*]const u8, usize, [*]const u8, usize, u32, *Returned) void;
    extern "device:behaviour/jobs@0.1.0" fn cancel([*]const u8, usize, *Returned) void;
    extern "device:behaviour/jobs@0.1.0" fn @"boot-outcome-of-current"() BootOutcome;

    pub const BootOutcome = enum(u32) { not_waited_for, rebooted, host_restarted_only, expired };

    pub fn afterResponse(name: []const u8, payload: Json) HostError![]const u8 {
        var returned: Returned = undefined;
        @"after-response"(name.ptr, name.len, payload.ptr, payload.len, &returned);
        try returned.check();
        return returned.value.text.slice();
    }

    pub fn afterDelay(name: []const u8, payload: Json, delay_ms: u32) HostError![]const u8 {
        var returned: Returned = undefined;
        @"after-delay"(name.ptr, name.len, payload.ptr, payload.len, delay_ms, &returned);
        try returned.check();
        return returned.value.text.slice();
    }

    pub fn afterBoot(name: []const u8, payload: Json, within_ms: u32) HostError![]const u8 {
        var returned: Returned = undefined;
        @"after-boot"(name.ptr, name.len, payload.ptr, payload.len, within_ms, &returned);
        try returned.check();
        return returned.value.text.slice();
    }

    pub fn cancelled(id: []const u8) HostError!bool {
        var returned: Returned = undefined;
        cancel(id.ptr, id.len, &returned);
        try returned.check();
        return returned.value.yes != 0;
    }

    pub fn bootOutcome() BootOutcome {
        return @"boot-outcome-of-current"();
    }
};

const OptionalText = extern struct {
    there: u8,
    text: Text,

    fn slice(optional: OptionalText) ?[]const u8 {
        return if (optional.there != 0) optional.text.slice() else null;
    }
};

/// An error of the host: which, and what it says of it.
const Why = extern struct {
    tag: u8,
    text: Text,

    fn told(why: Why) HostError {
        const errors = [_]HostError{ error.Denied, error.Invalid, error.TooLarge, error.QuotaExceeded, error.Offline, error.Timeout, error.Throttled, error.Other };
        const found = errors[why.tag];
        reason = switch (found) {
            error.Offline => "the device is offline",
            error.Timeout => "the hub did not answer in time",
            error.Throttled => "throttled by the hub",
            else => why.text.slice(),
        };
        return found;
    }
};

/// What most functions write where the last argument points to.
const Returned = extern struct {
    failed: u8,
    value: extern union { text: Text, optional: OptionalText, yes: u8, why: Why },

    fn check(returned: *const Returned) HostError!void {
        if (returned.failed != 0) return returned.value.why.told();
    }
};

fn textFrom(function: *const fn (*Text) callconv(.c) void) []const u8 {
    var text: Text = undefined;
    function(&text);
    return text.slice();
}

/// The host asks for memory here, for what it passes in.
export fn cabi_realloc(old: ?[*]u8, old_len: usize, alignment: usize, len: usize) [*]u8 {
    std.debug.assert(alignment <= 8);
    // What Zig allocates for nothing is outside of the memory, which the host checks.
    if (len == 0) return @ptrFromInt(alignment);
    const new = allocator.alignedAlloc(u8, .@"8", len) catch @trap();
    if (old) |bytes| @memcpy(new[0..@min(old_len, len)], bytes[0..@min(old_len, len)]);
    return new.ptr;
}

/// What the host calls, in the plugin's root file: `pub fn invoke(name: []const
/// u8, payload: Json) Result`.
const plugin = @import("root");

const Returning = extern struct {
    refused: u8,
    value: extern union {
        response: extern struct { status: u16, payload: OptionalText },
        refusal: extern struct {
            tag: u8,
            value: extern union { text: Text, retry: extern struct { there: u8, ms: u32 } },
        },
    },
};

var returning: Returning = undefined;

fn invoke(name: [*]const u8, name_len: usize, payload: [*]const u8, payload_len: usize) callconv(.c) *Returning {
    switch (plugin.invoke(name[0..name_len], payload[0..payload_len])) {
        .ok => |response| {
            const text = response.payload orelse "";
            returning = .{ .refused = 0, .value = .{ .response = .{
                .status = response.status,
                .payload = .{ .there = @intFromBool(response.payload != null), .text = .of(text) },
            } } };
        },
        .refused => |refusal| {
            returning = .{ .refused = 1, .value = .{ .refusal = .{
                .tag = @intFromEnum(refusal),
                .value = switch (refusal) {
                    .invalid_payload, .failed, .other => |text| .{ .text = .of(text) },
                    .unknown_method => .{ .text = .of("") },
                    .busy => |ms| .{ .retry = .{ .there = @intFromBool(ms != null), .ms = ms orelse 0 } },
                },
            } } };
        },
    }
    return &returning;
}

comptime {
    @export(&invoke, .{ .name = "device:behaviour/methods@0.1.0#invoke" });
}
