;; Answers the method `greet` with its payload, and reports the time to the twin.
;;
;; This core module is wrapped into a component by `behaviour build`. A string is a
;; pointer and a length. A result that does not fit into one number is written to the
;; address in the last argument.
(module
  (import "device:behaviour/clock@0.1.2" "now-rfc3339" (func $now (param $text i32)))
  (import "device:behaviour/log@0.1.2" "write"
    (func $log (param $level i32) (param $text i32) (param $len i32) (param $fields i32) (param $count i32)))
  (import "device:behaviour/twin@0.1.2" "report"
    (func $report (param $patch i32) (param $len i32) (param $returned i32)))

  (memory (export "memory") 2)
  ;; The bytes 0 to 63 are the buffer for results.
  (data (i32.const 64) "greet")
  (data (i32.const 72) "greeted")
  (data (i32.const 80) "{\"lastGreeted\":\"")
  (data (i32.const 96) "\"}")
  (data (i32.const 104) "{\"hello\":")
  (data (i32.const 120) "the report was refused")
  (data (i32.const 144) "with")

  ;; Memory is never freed, since an instance lives for one call only.
  (global $free (mut i32) (i32.const 1024))

  (func $allocate (param $len i32) (result i32)
    (local $start i32)
    (local.set $start (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $start) (local.get $len)))
    (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const 65536)))
      (then
        (drop (memory.grow (i32.add (i32.div_u (local.get $len) (i32.const 65536)) (i32.const 1))))))
    (local.get $start))

  ;; Allocates memory for values that the host passes to the plugin.
  (func (export "cabi_realloc") (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
    (call $allocate (local.get $len)))

  ;; Returns a new string that concatenates three strings.
  (func $joined (param $head i32) (param $head_len i32) (param $text i32) (param $len i32) (param $tail i32) (param $tail_len i32) (result i32)
    (local $whole i32)
    (local.set $whole (call $allocate
      (i32.add (local.get $head_len) (i32.add (local.get $len) (local.get $tail_len)))))
    (memory.copy (local.get $whole) (local.get $head) (local.get $head_len))
    (memory.copy (i32.add (local.get $whole) (local.get $head_len)) (local.get $text) (local.get $len))
    (memory.copy
      (i32.add (local.get $whole) (i32.add (local.get $head_len) (local.get $len)))
      (local.get $tail) (local.get $tail_len))
    (local.get $whole))

  (func $is_greet (param $name i32) (param $len i32) (result i32)
    (i32.and
      (i32.eq (local.get $len) (i32.const 5))
      (i32.and
        (i32.eq (i32.load (local.get $name)) (i32.load (i32.const 64)))
        (i32.eq (i32.load8_u offset=4 (local.get $name)) (i32.load8_u (i32.const 68))))))

  ;; `payload` is JSON text. Returns the address of the result: a byte that is 0 for an
  ;; answer and 1 for a refusal, followed by the fields of the answer or refusal.
  (func (export "device:behaviour/methods@0.1.2#invoke")
    (param $name i32) (param $name_len i32) (param $payload i32) (param $len i32) (result i32)
    (if (i32.eqz (call $is_greet (local.get $name) (local.get $name_len)))
      (then
        (i32.store8 (i32.const 0) (i32.const 1))
        (i32.store8 (i32.const 4) (i32.const 1)) ;; unknown-method
        (return (i32.const 0))))

    ;; The only field is "with", a pair of strings, which are four numbers.
    (i32.store (i32.const 32) (i32.const 144))
    (i32.store (i32.const 36) (i32.const 4))
    (i32.store (i32.const 40) (local.get $payload))
    (i32.store (i32.const 44) (local.get $len))
    (call $log (i32.const 2) (i32.const 72) (i32.const 7) (i32.const 32) (i32.const 1))

    (call $now (i32.const 0))
    (call $report
      (call $joined
        (i32.const 80) (i32.const 16)
        (i32.load (i32.const 0)) (i32.load (i32.const 4))
        (i32.const 96) (i32.const 2))
      (i32.add (i32.load (i32.const 4)) (i32.const 18))
      (i32.const 8))
    (if (i32.load8_u (i32.const 8))
      (then
        (i32.store8 (i32.const 0) (i32.const 1))
        (i32.store8 (i32.const 4) (i32.const 3)) ;; failed
        (i32.store (i32.const 8) (i32.const 120))
        (i32.store (i32.const 12) (i32.const 22))
        (return (i32.const 0))))

    (i32.store8 (i32.const 0) (i32.const 0))
    (i32.store16 (i32.const 4) (i32.const 200))
    (i32.store8 (i32.const 8) (i32.const 1)) ;; with a payload
    (i32.store (i32.const 12)
      (call $joined
        (i32.const 104) (i32.const 9)
        (local.get $payload) (local.get $len)
        (i32.const 97) (i32.const 1)))
    (i32.store (i32.const 16) (i32.add (local.get $len) (i32.const 10)))
    (i32.const 0)))
