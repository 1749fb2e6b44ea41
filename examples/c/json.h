// Just enough JSON: to find a value in an object, and to put one in. The text is
// never unpacked, and what is not asked for is passed over, however deep it is.

#ifndef JSON_H
#define JSON_H

#include "text.h"

// Whether the text is one object and nothing else.
bool json_is_object(text_t value);

// The value of a key in an object, the last one if there are several; empty if
// there is none. Keys are compared as they are written, without escapes.
text_t json_get(text_t object, text_t key);

// Whether the text is a number, and which.
bool json_number(text_t value, double *number);

// Adds text as a JSON string.
void json_add_string(buffer_t *buffer, text_t string);

#endif
