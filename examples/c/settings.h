// The settings in [plugins.NAME.config]: delay_seconds, property (a dotted path) and
// report (an object with additional properties).

#ifndef SETTINGS_H
#define SETTINGS_H

#include "text.h"

typedef struct {
    double delay_seconds;
    text_t property, report;
} settings_t;

// Reads the settings. Returns false and sets `why` if one is invalid.
bool settings_read(settings_t *settings, buffer_t *why);

// Parses a number of seconds from 0 to 300. Returns false and sets `why` for any other
// value.
bool settings_seconds(text_t value, double *seconds, buffer_t *why);

// Returns a copy of `report` with the time at the path `property`. Returns false and sets
// `why` if another value is in the way.
bool settings_patch(const settings_t *settings, text_t time, buffer_t *patch, buffer_t *why);

#endif
