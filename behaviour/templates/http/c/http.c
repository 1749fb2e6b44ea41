#include "http.h"

#include <stdlib.h>
#include <string.h>

// The host accepts this many bytes of a body at once.
#define CHUNK 4096

static bool failed(plugin_string_t *reason, const char *text) {
    plugin_string_dup(reason, text);
    return false;
}

// The host refuses a request with a text, except for an untrusted certificate.
static bool refused(plugin_string_t *reason, const wasi_http_types_error_code_t *error) {
    switch (error->tag) {
    case WASI_HTTP_TYPES_ERROR_CODE_INTERNAL_ERROR:
        if (!error->val.internal_error.is_some) break;
        *reason = error->val.internal_error.val;
        return false;
    case WASI_HTTP_TYPES_ERROR_CODE_TLS_CERTIFICATE_ERROR:
        return failed(reason, "the certificate is not trusted");
    }
    return failed(reason, "no response");
}

// Removes a prefix from the text. Returns false if the text does not begin with it.
static bool skip(plugin_string_t *text, const char *prefix) {
    size_t len = strlen(prefix);
    if (text->len < len || memcmp(text->ptr, prefix, len) != 0) return false;
    text->ptr += len;
    text->len -= len;
    return true;
}

static bool set_url(wasi_http_types_borrow_outgoing_request_t request, plugin_string_t url) {
    wasi_http_types_scheme_t scheme = {.tag = WASI_HTTP_TYPES_SCHEME_HTTPS};
    if (skip(&url, "http://")) {
        scheme.tag = WASI_HTTP_TYPES_SCHEME_HTTP;
    } else if (!skip(&url, "https://")) {
        return false;
    }
    size_t len = 0;
    while (len < url.len && url.ptr[len] != '/') len++;
    plugin_string_t authority = {url.ptr, len}, path = {url.ptr + len, url.len - len};
    if (path.len == 0) plugin_string_set(&path, "/");
    return wasi_http_types_method_outgoing_request_set_scheme(request, &scheme) &&
           wasi_http_types_method_outgoing_request_set_authority(request, &authority) &&
           wasi_http_types_method_outgoing_request_set_path_with_query(request, &path);
}

static bool write_all(wasi_http_types_own_outgoing_body_t to, const plugin_string_t *body) {
    wasi_http_types_own_output_stream_t stream;
    if (!wasi_http_types_method_outgoing_body_write(wasi_http_types_borrow_outgoing_body(to), &stream))
        return false;
    bool written = true;
    for (size_t at = 0; body && written && at < body->len; at += CHUNK) {
        size_t left = body->len - at;
        plugin_list_u8_t chunk = {body->ptr + at, left < CHUNK ? left : CHUNK};
        wasi_io_streams_stream_error_t error;
        written = wasi_io_streams_method_output_stream_blocking_write_and_flush(
            wasi_io_streams_borrow_output_stream(stream), &chunk, &error);
    }
    // The body ends only after its stream.
    wasi_io_streams_output_stream_drop_own(stream);
    wasi_http_types_error_code_t error;
    return wasi_http_types_static_outgoing_body_finish(to, NULL, &error) && written;
}

static bool read_all(wasi_http_types_borrow_incoming_response_t from, plugin_string_t *body) {
    wasi_http_types_own_incoming_body_t incoming;
    wasi_http_types_own_input_stream_t stream;
    *body = (plugin_string_t){NULL, 0};
    if (!wasi_http_types_method_incoming_response_consume(from, &incoming) ||
        !wasi_http_types_method_incoming_body_stream(wasi_http_types_borrow_incoming_body(incoming),
                                                     &stream))
        return false;
    plugin_list_u8_t chunk;
    wasi_io_streams_stream_error_t end;
    while (wasi_io_streams_method_input_stream_blocking_read(
        wasi_io_streams_borrow_input_stream(stream), 65536, &chunk, &end)) {
        body->ptr = realloc(body->ptr, body->len + chunk.len);
        if (!body->ptr) abort();
        memcpy(body->ptr + body->len, chunk.ptr, chunk.len);
        body->len += chunk.len;
        plugin_list_u8_free(&chunk);
    }
    return end.tag == WASI_IO_STREAMS_STREAM_ERROR_CLOSED;
}

bool http_send(uint8_t method, plugin_string_t url, const plugin_string_t *body,
               http_response_t *response, plugin_string_t *reason) {
    wasi_http_types_list_tuple2_field_name_field_value_t no_headers = {NULL, 0};
    wasi_http_types_own_fields_t headers;
    wasi_http_types_header_error_t invalid;
    if (!wasi_http_types_static_fields_from_list(&no_headers, &headers, &invalid))
        return failed(reason, "invalid headers");
    wasi_http_types_own_outgoing_request_t request =
        wasi_http_types_constructor_outgoing_request(headers);
    wasi_http_types_borrow_outgoing_request_t borrowed =
        wasi_http_types_borrow_outgoing_request(request);
    wasi_http_types_method_t with = {.tag = method};
    wasi_http_types_own_outgoing_body_t outgoing;
    if (!wasi_http_types_method_outgoing_request_set_method(borrowed, &with) ||
        !set_url(borrowed, url) ||
        !wasi_http_types_method_outgoing_request_body(borrowed, &outgoing))
        return failed(reason, "invalid URL");

    wasi_http_types_own_future_incoming_response_t future;
    wasi_http_types_error_code_t error;
    if (!wasi_http_outgoing_handler_handle(request, NULL, &future, &error))
        return refused(reason, &error);
    // A refused request has no body; the future has the reason.
    write_all(outgoing, body);
    wasi_http_types_borrow_future_incoming_response_t waiting =
        wasi_http_types_borrow_future_incoming_response(future);
    wasi_io_poll_method_pollable_block(wasi_io_poll_borrow_pollable(
        wasi_http_types_method_future_incoming_response_subscribe(waiting)));
    wasi_http_types_result_result_own_incoming_response_error_code_void_t arrived;
    if (!wasi_http_types_method_future_incoming_response_get(waiting, &arrived) || arrived.is_err)
        return failed(reason, "no response");
    if (arrived.val.ok.is_err) return refused(reason, &arrived.val.ok.val.err);

    wasi_http_types_borrow_incoming_response_t found =
        wasi_http_types_borrow_incoming_response(arrived.val.ok.val.ok);
    response->status = wasi_http_types_method_incoming_response_status(found);
    return read_all(found, &response->body) || failed(reason, "the response is incomplete");
}
