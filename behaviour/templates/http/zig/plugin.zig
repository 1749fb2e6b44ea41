//! Answers the method `fetch` with the response to a GET request to the URL in its payload.
//!
//! `behaviour build` generates gen/behaviour.zig from wit/.

const std = @import("std");
const behaviour = @import("gen/behaviour.zig");
const http = behaviour.http;

comptime {
    _ = behaviour; // exports the functions that the host calls
}

pub const panic = behaviour.panic; // writes the message to the log

/// `payload` is JSON text. To refuse the call, return a case of `MethodError` as `err`.
pub fn invoke(name: []const u8, payload: behaviour.Json) behaviour.Result(behaviour.Response, behaviour.MethodError) {
    if (!std.mem.eql(u8, name, "fetch")) {
        return .{ .err = .unknown_method };
    }
    if (payload.len < 2 or payload[0] != '"') {
        return .{ .err = .{ .invalid_payload = "expected a URL in quotes" } };
    }
    const request = http.Request{
        .method = "GET",
        .url = payload[1 .. payload.len - 1],
        .headers = &.{.{ "accept", "application/json" }},
        .body = "",
        .timeout_ms = null,
    };
    return switch (http.send(request)) {
        // The body must be JSON, since it is the answer's payload.
        .ok => |response| .{ .ok = .{ .status = response.status, .payload = response.body } },
        .err => |err| .{ .err = .{ .failed = behaviour.describe(err) } },
    };
}
