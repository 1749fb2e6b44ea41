// A borrowed string.

#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct {
    const char *at;
    size_t len;
} text_t;

static inline text_t text(const char *literal) {
    return (text_t){literal, strlen(literal)};
}

static inline bool text_is(text_t a, text_t b) {
    return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

static inline text_t text_from(text_t a, const char *at) {
    return (text_t){at, (size_t)(a.at + a.len - at)};
}

// A growable string. It is never freed, since an instance lives for one call only.
typedef struct {
    char *at;
    size_t len, capacity;
} buffer_t;

void buffer_add(buffer_t *buffer, text_t more);

static inline text_t buffer_text(buffer_t buffer) {
    return (text_t){buffer.at, buffer.len};
}

#endif
