//! The contract between a plugin and its host. `behaviour build` writes this file from
//! the project's WIT; changes to it are lost.
//!
//! The host discards the instance after one call, so no memory is freed.

const std = @import("std");

/// An allocator for memory that is used until the end of the call.
pub const allocator = std.heap.wasm_allocator;

/// UTF-8 JSON text.
pub const Json = []const u8;

/// The outcome of a function that can fail.
pub fn Result(comptime T: type, comptime E: type) type {
    return union(enum) { ok: T, err: E };
}

/// Returns one line about an error: its case and, if the payload is text, the text.
pub fn describe(err: anytype) []const u8 {
    switch (err) {
        inline else => |payload, case| {
            const name = comptime words: {
                var words = @tagName(case)[0..@tagName(case).len].*;
                for (&words) |*character| {
                    if (character.* == '_') character.* = ' ';
                }
                const final = words;
                break :words final;
            };
            if (@TypeOf(payload) != []const u8) return &name;
            return std.mem.concat(allocator, u8, &.{ &name, ": ", payload }) catch @trap();
        },
    }
}

/// The plugin's root file, which contains the exported functions.
const plugin = @import("root");

/// The canonical ABI of components: loads and stores values in the memory layout that the
/// host uses. An address is a 32-bit number.
const abi = struct {
    fn at(comptime T: type, place: usize) *align(1) T {
        return @ptrFromInt(place);
    }

    fn alignment(comptime T: type) usize {
        switch (@typeInfo(T)) {
            .void, .bool, .@"enum" => return 1,
            .int, .float => return @sizeOf(T),
            .pointer => return 4,
            .optional => |optional| return alignment(optional.child),
            inline .@"struct", .@"union" => |info| {
                var most: usize = 1;
                inline for (info.field_types) |Field| most = @max(most, alignment(Field));
                return most;
            },
            else => @compileError("no layout for " ++ @typeName(T)),
        }
    }

    fn size(comptime T: type) usize {
        switch (@typeInfo(T)) {
            .void => return 0,
            .bool, .@"enum" => return 1,
            .int, .float => return @sizeOf(T),
            .pointer => return 8,
            .optional => |optional| return rounded(alignment(T) + size(optional.child), alignment(T)),
            .@"struct" => |info| {
                var end: usize = 0;
                inline for (info.field_types) |Field| {
                    end = rounded(end, alignment(Field)) + size(Field);
                }
                return rounded(end, alignment(T));
            },
            .@"union" => |info| {
                var most: usize = 0;
                inline for (info.field_types) |Field| most = @max(most, size(Field));
                return rounded(alignment(T) + most, alignment(T));
            },
            else => @compileError("no layout for " ++ @typeName(T)),
        }
    }

    fn rounded(offset: usize, comptime multiple: usize) usize {
        return (offset + multiple - 1) / multiple * multiple;
    }

    fn load(comptime T: type, place: usize) T {
        switch (@typeInfo(T)) {
            .void => return {},
            .bool => return at(u8, place).* != 0,
            .int, .float => return at(T, place).*,
            .@"enum" => return @enumFromInt(at(u8, place).*),
            .pointer => |pointer| return list(pointer.child, at(u32, place).*, at(u32, place + 4).*),
            .optional => |optional| {
                if (at(u8, place).* == 0) return null;
                return load(optional.child, place + comptime alignment(T));
            },
            .@"struct" => |info| {
                var value: T = undefined;
                comptime var end: usize = 0;
                inline for (info.field_names, info.field_types) |name, Field| {
                    const offset = comptime rounded(end, alignment(Field));
                    @field(value, name) = load(Field, place + offset);
                    end = offset + comptime size(Field);
                }
                return value;
            },
            .@"union" => |info| {
                inline for (info.field_names, info.field_types, 0..) |name, Field, case| {
                    if (at(u8, place).* == case) {
                        return @unionInit(T, name, load(Field, place + comptime alignment(T)));
                    }
                }
                @trap();
            },
            else => @compileError("no layout for " ++ @typeName(T)),
        }
    }

    fn list(comptime T: type, place: usize, len: usize) []const T {
        if (len == 0) return &.{};
        if (T == u8) return @as([*]const u8, @ptrFromInt(place))[0..len];
        const items = allocator.alloc(T, len) catch @trap();
        for (items, 0..) |*item, index| item.* = load(T, place + index * comptime size(T));
        return items;
    }

    fn store(comptime T: type, place: usize, value: T) void {
        switch (@typeInfo(T)) {
            .void => {},
            .bool => at(u8, place).* = @intFromBool(value),
            .int, .float => at(T, place).* = value,
            .@"enum" => at(u8, place).* = @intFromEnum(value),
            .pointer => |pointer| {
                at(u32, place).* = lowered(pointer.child, value);
                at(u32, place + 4).* = value.len;
            },
            .optional => |optional| {
                at(u8, place).* = @intFromBool(value != null);
                if (value) |some| store(optional.child, place + comptime alignment(T), some);
            },
            .@"struct" => |info| {
                comptime var end: usize = 0;
                inline for (info.field_names, info.field_types) |name, Field| {
                    const offset = comptime rounded(end, alignment(Field));
                    store(Field, place + offset, @field(value, name));
                    end = offset + comptime size(Field);
                }
            },
            .@"union" => switch (value) {
                inline else => |payload, case| {
                    at(u8, place).* = @intFromEnum(case);
                    store(@TypeOf(payload), place + comptime alignment(T), payload);
                },
            },
            else => @compileError("no layout for " ++ @typeName(T)),
        }
    }

    /// Returns the address of a list's elements.
    fn lowered(comptime T: type, items: []const T) u32 {
        // The host also checks the address of an empty list, which may be undefined in Zig.
        if (items.len == 0) return 8;
        if (T == u8) return @intFromPtr(items.ptr);
        const block = allocator.alignedAlloc(u8, .@"8", items.len * comptime size(T)) catch @trap();
        for (items, 0..) |item, index| {
            store(T, @intFromPtr(block.ptr) + index * comptime size(T), item);
        }
        return @intFromPtr(block.ptr);
    }

    /// Stores the result of an exported function, and returns its address.
    fn returned(comptime T: type, value: T) u32 {
        const Place = struct {
            var bytes: [size(T)]u8 align(8) = undefined;
        };
        store(T, @intFromPtr(&Place.bytes), value);
        return @intFromPtr(&Place.bytes);
    }
};

/// Allocates memory for values that the host passes to the plugin.
export fn cabi_realloc(old: ?[*]u8, old_len: usize, alignment: usize, len: usize) [*]u8 {
    std.debug.assert(alignment <= 8);
    if (len == 0) return @ptrFromInt(alignment);
    const new = allocator.alignedAlloc(u8, .@"8", len) catch @trap();
    if (old) |bytes| @memcpy(new[0..@min(old_len, len)], bytes[0..@min(old_len, len)]);
    return new.ptr;
}
