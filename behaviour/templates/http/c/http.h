// Sends HTTP requests.
#pragma once

#include <stdbool.h>

#include "plugin.h"

typedef struct {
    uint16_t status;
    plugin_string_t body;
} http_response_t;

// Sends a request to an absolute URL, and waits for the response. `body` can be NULL. Returns false
// if there is no response, with the reason in `reason`. The host refuses URLs whose hosts are not
// in `hosts` of host.toml.
bool http_send(uint8_t method, plugin_string_t url, const plugin_string_t *body,
               http_response_t *response, plugin_string_t *reason);
