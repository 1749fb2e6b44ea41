#include "text.h"

#include <stdlib.h>

void buffer_add(buffer_t *buffer, text_t more) {
    if (buffer->len + more.len > buffer->room) {
        buffer->room = 2 * (buffer->len + more.len);
        buffer->at = realloc(buffer->at, buffer->room);
        if (!buffer->at) {
            abort();
        }
    }
    memcpy(buffer->at + buffer->len, more.at, more.len);
    buffer->len += more.len;
}
