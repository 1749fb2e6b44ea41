#include "settings.h"

#include "behaviour.h"
#include "json.h"

static text_t of(behaviour_string_t string) {
    return (text_t){(const char *)string.ptr, string.len};
}

static bool wrong(buffer_t *reason, text_t what, const char *is) {
    buffer_add(reason, what);
    buffer_add(reason, text(is));
    return false;
}

// Returns the first key of a path, and sets `rest` to the remaining keys.
static text_t first_key(text_t path, text_t *rest) {
    const char *dot = memchr(path.at, '.', path.len);
    *rest = dot ? text_from(path, dot + 1) : (text_t){NULL, 0};
    return (text_t){path.at, dot ? (size_t)(dot - path.at) : path.len};
}

static bool is_path(text_t path) {
    bool more = true;
    while (more) {
        text_t rest, key = first_key(path, &rest);
        for (size_t i = 0; i < key.len; i++) {
            unsigned char c = (unsigned char)key.at[i];
            if (c <= ' ' || c == 0x7f || c == '$') {
                return false;
            }
        }
        if (key.len == 0) {
            return false;
        }
        more = rest.at != NULL;
        path = rest;
    }
    return true;
}

static bool read_one(settings_t *settings, text_t key, text_t value, buffer_t *reason) {
    if (text_is(key, text("delay_seconds"))) {
        buffer_add(reason, text("delay_seconds: "));
        return settings_seconds(value, &settings->delay_seconds, reason);
    }
    if (text_is(key, text("property"))) {
        settings->property = value;
        buffer_add(reason, text("property: "));
        return is_path(value) || wrong(reason, value, " is not a list of keys separated by dots");
    }
    if (text_is(key, text("report"))) {
        settings->report = value;
        buffer_add(reason, text("report: "));
        return json_is_object(value) || wrong(reason, value, " is not a JSON object");
    }
    return wrong(reason, key, ": unknown setting; expected delay_seconds, property or report");
}

bool settings_read(settings_t *settings, buffer_t *reason) {
    *settings = (settings_t){20, text("rebootTime"), text("{}")};
    behaviour_list_tuple2_string_string_t entries;
    device_behaviour_config_entries(&entries);
    for (size_t i = 0; i < entries.len; i++) {
        reason->len = 0;
        buffer_add(reason, text("configuration: "));
        if (!read_one(settings, of(entries.ptr[i].f0), of(entries.ptr[i].f1), reason)) {
            return false;
        }
    }
    reason->len = 0;
    buffer_add(reason, text("configuration: report: "));
    buffer_t patch = {0};
    return settings_patch(settings, text("now"), &patch, reason);
}

bool settings_seconds(text_t value, double *seconds, buffer_t *reason) {
    if (json_number(value, seconds) && *seconds >= 0 && *seconds <= 300) {
        return true;
    }
    return wrong(reason, value.len <= 40 ? value : text("a long value"), " is not a number from 0 to 300");
}

bool settings_patch(const settings_t *settings, text_t time, buffer_t *patch, buffer_t *reason) {
    // Find the innermost object of the report that the path leads to.
    text_t object = settings->report, rest, key = first_key(settings->property, &rest);
    text_t there = json_get(object, key);
    while (there.at && rest.at && json_is_object(there)) {
        object = there;
        key = first_key(rest, &rest);
        there = json_get(object, key);
    }
    if (there.at) {
        return wrong(reason, key, " conflicts with property");
    }

    // Insert the remaining keys as the first member of that object.
    const char *inside = (const char *)memchr(object.at, '{', object.len) + 1;
    buffer_add(patch, (text_t){settings->report.at, (size_t)(inside - settings->report.at)});
    json_add_string(patch, key);
    buffer_add(patch, text(":"));
    size_t opened = 0;
    for (; rest.at; opened++) {
        key = first_key(rest, &rest);
        buffer_add(patch, text("{"));
        json_add_string(patch, key);
        buffer_add(patch, text(":"));
    }
    json_add_string(patch, time);
    for (; opened > 0; opened--) {
        buffer_add(patch, text("}"));
    }
    text_t after = text_from(settings->report, inside);
    bool alone = after.at[strspn(after.at, " \t\r\n")] == '}';
    buffer_add(patch, text(alone ? "" : ","));
    buffer_add(patch, after);
    return true;
}
