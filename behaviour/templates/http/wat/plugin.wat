;; Answers the method `fetch` with the response to a GET request to the URL in its payload.
;;
;; This core module is wrapped into a component by `behaviour build`. A string is a
;; pointer and a length, and so is a list. The fields of a record are separate parameters. A
;; result that does not fit into one number is written to the address in the last argument.
(module
  (import "device:behaviour/http@0.1.2" "send"
    (func $send
      (param $method i32) (param $method_len i32) (param $url i32) (param $url_len i32)
      (param $headers i32) (param $headers_count i32) (param $body i32) (param $body_len i32)
      (param $has_timeout i32) (param $timeout_ms i32) (param $returned i32)))

  (memory (export "memory") 2)
  ;; The bytes 0 to 63 are the buffer for results.
  (data (i32.const 64) "fetch")
  (data (i32.const 72) "GET")
  (data (i32.const 80) "accept")
  (data (i32.const 88) "application/json")
  (data (i32.const 104) "expected a URL in quotes")
  ;; The only header: a pair of strings, which are four numbers in little-endian order.
  (data (i32.const 128) "\50\00\00\00\06\00\00\00\58\00\00\00\10\00\00\00")

  ;; Memory is never freed, since an instance lives for one call only.
  (global $free (mut i32) (i32.const 1024))

  ;; Allocates memory for values that the host passes to the plugin.
  (func (export "cabi_realloc") (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
    (local $start i32)
    (local.set $start (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $start) (local.get $len)))
    (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const 65536)))
      (then
        (drop (memory.grow (i32.add (i32.div_u (local.get $len) (i32.const 65536)) (i32.const 1))))))
    (local.get $start))

  (func $is_fetch (param $name i32) (param $len i32) (result i32)
    (i32.and
      (i32.eq (local.get $len) (i32.const 5))
      (i32.and
        (i32.eq (i32.load (local.get $name)) (i32.load (i32.const 64)))
        (i32.eq (i32.load8_u offset=4 (local.get $name)) (i32.load8_u (i32.const 68))))))

  ;; Writes a refusal with a message, and returns its address.
  (func $refusal (param $case i32) (param $text i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 0) (i32.const 1))
    (i32.store8 (i32.const 4) (local.get $case))
    (i32.store (i32.const 8) (local.get $text))
    (i32.store (i32.const 12) (local.get $len))
    (i32.const 0))

  ;; `payload` is JSON text. Returns the address of the result: a byte that is 0 for an
  ;; answer and 1 for a refusal, followed by the fields of the answer or refusal.
  (func (export "device:behaviour/methods@0.1.2#invoke")
    (param $name i32) (param $name_len i32) (param $payload i32) (param $len i32) (result i32)
    (if (i32.eqz (call $is_fetch (local.get $name) (local.get $name_len)))
      (then (return (call $refusal (i32.const 1) (i32.const 0) (i32.const 0))))) ;; unknown-method
    (if (i32.ne (i32.load8_u (local.get $payload)) (i32.const 34)) ;; a quote
      (then (return (call $refusal (i32.const 0) (i32.const 104) (i32.const 24))))) ;; invalid-payload

    (call $send
      (i32.const 72) (i32.const 3)
      (i32.add (local.get $payload) (i32.const 1)) (i32.sub (local.get $len) (i32.const 2))
      (i32.const 128) (i32.const 1)
      (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0)
      (i32.const 16))
    ;; Each case of the error has a message.
    (if (i32.load8_u (i32.const 16))
      (then
        (return (call $refusal (i32.const 3) (i32.load (i32.const 24)) (i32.load (i32.const 28)))))) ;; failed

    ;; The body must be JSON, since it is the answer's payload.
    (i32.store8 (i32.const 0) (i32.const 0))
    (i32.store16 (i32.const 4) (i32.load16_u (i32.const 20)))
    (i32.store8 (i32.const 8) (i32.const 1)) ;; with a payload
    (i32.store (i32.const 12) (i32.load (i32.const 32)))
    (i32.store (i32.const 16) (i32.load (i32.const 36)))
    (i32.const 0)))
