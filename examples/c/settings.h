// What the operator may change about the reboot, in [plugins.NAME.config]:
// delay_seconds, property (dots nest) and report (what stands beside the time).

#ifndef SETTINGS_H
#define SETTINGS_H

#include "text.h"

typedef struct {
    double delay_seconds;
    text_t property, report;
} settings_t;

// Reads them. False says in `why` which is wrong.
bool settings_read(settings_t *settings, buffer_t *why);

// A number of seconds from 0 to 300. False says in `why` what was found instead.
bool settings_seconds(text_t value, double *seconds, buffer_t *why);

// What to report: `report`, with the time in it where `property` says. False
// says in `why` what is in the time's way.
bool settings_patch(const settings_t *settings, text_t time, buffer_t *patch, buffer_t *why);

#endif
