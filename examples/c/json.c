#include "json.h"

#include <stdlib.h>

static text_t trimmed(text_t value) {
    while (value.len > 0 && strchr(" \t\r\n", *value.at)) {
        value = text_from(value, value.at + 1);
    }
    while (value.len > 0 && strchr(" \t\r\n", value.at[value.len - 1])) {
        value.len--;
    }
    return value;
}

// Returns the end of the string that starts here.
static const char *after_string(const char *at, const char *end) {
    for (at++; at < end && *at != '"'; at++) {
        at += *at == '\\';
    }
    return at < end ? at + 1 : end;
}

// Returns the end of a value, which is followed by a comma, a bracket or the end.
static const char *after_value(const char *at, const char *end) {
    size_t depth = 0;
    while (at < end) {
        switch (*at) {
        case '"':
            at = after_string(at, end);
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (depth == 0) {
                return at;
            }
            depth--;
            break;
        case ',':
            if (depth == 0) {
                return at;
            }
            break;
        }
        at++;
    }
    return at;
}

bool json_is_object(text_t value) {
    value = trimmed(value);
    const char *end = value.at + value.len;
    return value.len >= 2 && *value.at == '{' && end[-1] == '}' && after_value(value.at, end) == end;
}

text_t json_get(text_t object, text_t key) {
    object = trimmed(object);
    const char *at = object.at + 1, *end = object.at + object.len - 1;
    text_t found = {NULL, 0};
    while (at < end && (at = memchr(at, '"', (size_t)(end - at)))) {
        const char *after = after_string(at, end);
        text_t name = {at + 1, (size_t)(after - at - 2)};
        at = memchr(after, ':', (size_t)(end - after));
        if (!at) {
            break;
        }
        after = after_value(at + 1, end);
        if (text_is(name, key)) {
            found = trimmed((text_t){at + 1, (size_t)(after - at - 1)});
        }
        at = after;
    }
    return found;
}

bool json_number(text_t value, double *number) {
    char digits[32] = {0}, *end;
    if (value.len == 0 || value.len >= sizeof digits) {
        return false;
    }
    memcpy(digits, value.at, value.len);
    // strtod also accepts hexadecimal digits, `inf` and a leading `+`, unlike JSON.
    if (strspn(digits, "0123456789+-.eE") != value.len || *digits == '+') {
        return false;
    }
    *number = strtod(digits, &end);
    return end == digits + value.len;
}

void json_add_string(buffer_t *buffer, text_t string) {
    static const char hex[] = "0123456789abcdef";
    buffer_add(buffer, text("\""));
    for (; string.len > 0; string = text_from(string, string.at + 1)) {
        unsigned char c = (unsigned char)*string.at;
        char escaped[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        if (c < 0x20) {
            buffer_add(buffer, (text_t){escaped, sizeof escaped});
        } else if (c == '"' || c == '\\') {
            buffer_add(buffer, (text_t){(char[]){'\\', (char)c}, 2});
        } else {
            buffer_add(buffer, (text_t){string.at, 1});
        }
    }
    buffer_add(buffer, text("\""));
}
