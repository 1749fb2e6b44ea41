#include "text.h"

#include <stdlib.h>

void buffer_add(buffer_t *buffer, text_t more) {
    if (buffer->len + more.len > buffer->capacity) {
        buffer->capacity = 2 * (buffer->len + more.len);
        buffer->at = realloc(buffer->at, buffer->capacity);
        if (!buffer->at) {
            abort();
        }
    }
    memcpy(buffer->at + buffer->len, more.at, more.len);
    buffer->len += more.len;
}
