// A minimal JSON library, which finds and inserts values in the text of an object. It
// does not parse other values and accepts any depth.

#ifndef JSON_H
#define JSON_H

#include "text.h"

// Returns true if the text is a single object.
bool json_is_object(text_t value);

// Returns the value of a key in an object, or the last value if the key is repeated. The
// value is empty if the key is missing. Keys are compared without resolving escapes.
text_t json_get(text_t object, text_t key);

// Parses the text as a number. Returns false if it is not a number.
bool json_number(text_t value, double *number);

// Appends text as a JSON string.
void json_add_string(buffer_t *buffer, text_t string);

#endif
