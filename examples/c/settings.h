// The settings in [plugins.NAME.config]: delay_seconds, property (a dotted path) and
// report (an object with additional properties).

#ifndef SETTINGS_H
#define SETTINGS_H

#include "text.h"

typedef struct {
    double delay_seconds;
    text_t property, report;
} settings_t;

// Reads the settings. Returns false and sets `reason` if one is invalid.
bool settings_read(settings_t *settings, buffer_t *reason);

// Parses a number of seconds from 0 to 300. Returns false and sets `reason` for any other
// value.
bool settings_seconds(text_t value, double *seconds, buffer_t *reason);

// Returns a copy of `report` with the time at the path `property`. Returns false and sets
// `reason` if a value of `report` conflicts with this path.
bool settings_patch(const settings_t *settings, text_t time, buffer_t *patch, buffer_t *reason);

#endif
