;; A plugin for `device:behaviour@0.1.2`. Never change this file: README.md says why.
;;
;; It has every export, and imports functions of several interfaces. `invoke`
;; answers with its payload, with status 200 if the host says that this is the
;; first attempt, knows the time, returns no value for a missing key, takes a
;; report and has no trace context; with status 500 otherwise. It updates a counter, a gauge and a
;; histogram with the labels {"missing": "{}"}. The other exports succeed. It also imports
;; `http`, which it does not call.
(component
  (import "device:behaviour/types@0.1.2" (instance $types
    (type $error' (variant
      (case "denied" string) (case "invalid" string) (case "too-large" string)
      (case "quota-exceeded" string) (case "offline") (case "timeout")
      (case "throttled" (option u32)) (case "other" string)))
    (export "error" (type (eq $error')))))
  (alias export $types "error" (type $error))
  (import "device:behaviour/context@0.1.2" (instance $context
    (export "attempt" (func (result u32)))
    (export "trace-parent" (func (result (option string))))))
  (import "device:behaviour/clock@0.1.2" (instance $clock
    (export "now-ms" (func (result u64)))))
  (import "device:behaviour/state@0.1.2" (instance $state
    (alias outer 1 $error (type $error'))
    (export "error" (type $error (eq $error')))
    (export "get" (func (param "key" string)
      (result (result (option (list u8)) (error $error)))))))
  (import "device:behaviour/twin@0.1.2" (instance $twin
    (alias outer 1 $error (type $error'))
    (export "error" (type $error (eq $error')))
    (export "report" (func (param "patch" string) (result (result (error $error)))))))

  (import "device:behaviour/http@0.1.2" (instance $http
    (type $request' (record
      (field "method" string) (field "url" string) (field "headers" (list (tuple string string)))
      (field "body" (list u8)) (field "timeout-ms" (option u32))))
    (export "request" (type $request (eq $request')))
    (type $response' (record
      (field "status" u16) (field "headers" (list (tuple string string)))
      (field "body" (list u8))))
    (export "response" (type $response (eq $response')))
    (type $request-error' (variant
      (case "not-allowed" string) (case "invalid-request" string)
      (case "quota-exceeded" string) (case "too-large" string) (case "unreachable" string)
      (case "not-trusted" string) (case "timed-out" string) (case "other" string)))
    (export "request-error" (type $request-error (eq $request-error')))
    (export "send" (func (param "request" $request)
      (result (result $response (error $request-error)))))))
  (import "device:behaviour/metrics@0.1.2" (instance $metrics
    (export "add" (func
      (param "name" string) (param "amount" float64) (param "labels" (list (tuple string string)))))
    (export "set" (func
      (param "name" string) (param "value" float64) (param "labels" (list (tuple string string)))))
    (export "observe" (func
      (param "name" string) (param "value" float64) (param "labels" (list (tuple string string)))))
    (export "set-bounds" (func (param "name" string) (param "bounds" (list float64))))))
  (core module $heap
    (memory (export "memory") 4)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      ;; One place for all texts: the payload comes last and is what is kept.
      (i32.const 1024)))
  (core instance $heap (instantiate $heap))
  (core func $attempt (canon lower (func $context "attempt")))
  (core func $trace (canon lower (func $context "trace-parent")
    (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))
  (core func $add (canon lower (func $metrics "add") (memory (core memory $heap "memory"))))
  (core func $set (canon lower (func $metrics "set") (memory (core memory $heap "memory"))))
  (core func $observe (canon lower (func $metrics "observe") (memory (core memory $heap "memory"))))
  (core func $bounds (canon lower (func $metrics "set-bounds") (memory (core memory $heap "memory"))))
  (core func $now (canon lower (func $clock "now-ms")))
  (core func $get (canon lower (func $state "get")
    (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))
  (core func $report (canon lower (func $twin "report")
    (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))

  (core module $code
    (import "heap" "memory" (memory 4))
    (import "host" "attempt" (func $attempt (result i32)))
    (import "host" "trace-parent" (func $trace (param i32)))
    (import "host" "add" (func $add (param i32 i32 f64 i32 i32)))
    (import "host" "set" (func $set (param i32 i32 f64 i32 i32)))
    (import "host" "observe" (func $observe (param i32 i32 f64 i32 i32)))
    (import "host" "set-bounds" (func $bounds (param i32 i32 i32 i32)))
    (import "host" "now-ms" (func $now (result i64)))
    (import "host" "get" (func $get (param i32 i32 i32)))
    (import "host" "report" (func $report (param i32 i32 i32)))
    (data (i32.const 512) "missing{}countergaugehistogram")
    ;; Labels, and 1 as a bound.
    (data (i32.const 576) "\00\02\00\00\07\00\00\00\07\02\00\00\02\00\00\00")
    (data (i32.const 592) "\00\00\00\00\00\00\f0\3f")
    (func $works (result i32)
      (call $get (i32.const 512) (i32.const 7) (i32.const 128))
      (call $report (i32.const 519) (i32.const 2) (i32.const 160))
      (call $trace (i32.const 192))
      (call $add (i32.const 521) (i32.const 7) (f64.const 1) (i32.const 576) (i32.const 1))
      (call $set (i32.const 528) (i32.const 5) (f64.const 1) (i32.const 576) (i32.const 1))
      (call $bounds (i32.const 533) (i32.const 9) (i32.const 592) (i32.const 1))
      (call $observe (i32.const 533) (i32.const 9) (f64.const 1) (i32.const 576) (i32.const 1))
      (i32.and
        (i32.and
          (i32.eq (call $attempt) (i32.const 1))
          (i64.gt_u (call $now) (i64.const 0)))
        (i32.eqz (i32.or
          (i32.or (i32.load8_u (i32.const 128)) (i32.load8_u (i32.const 132)))
          (i32.or (i32.load8_u (i32.const 160)) (i32.load8_u (i32.const 192)))))))
    (func (export "invoke") (param i32 i32 i32 i32) (result i32)
      (i32.store (i32.const 4) (select (i32.const 200) (i32.const 500) (call $works)))
      (i32.store (i32.const 8) (i32.const 1))
      (i32.store (i32.const 12) (local.get 2))
      (i32.store (i32.const 16) (local.get 3))
      (i32.const 0))
    ;; Each result is at 64, where all bytes are zero: success.
    (func (export "run") (param i32 i32 i32 i32) (result i32) (i32.const 64))
    (func (export "receive") (param i32 i32 i32 i32) (result i32) (i32.const 64))
    (func (export "changed") (param i32 i32 i64) (result i32) (i32.const 64))
    (func (export "start") (param i32 i32 i32) (result i32) (i32.const 64))
    (func (export "stop")))
  (core instance $code (instantiate $code
    (with "heap" (instance $heap))
    (with "host" (instance
      (export "attempt" (func $attempt))
      (export "trace-parent" (func $trace))
      (export "add" (func $add))
      (export "set" (func $set))
      (export "observe" (func $observe))
      (export "set-bounds" (func $bounds))
      (export "now-ms" (func $now))
      (export "get" (func $get))
      (export "report" (func $report))))))

  (type $response (record (field "status" u16) (field "payload" (option string))))
  (type $method-error (variant
    (case "invalid-payload" string) (case "unknown-method") (case "busy" (option u32))
    (case "failed" string) (case "other" string)))
  (func $invoke (param "name" string) (param "payload" string)
      (result (result $response (error $method-error)))
    (canon lift (core func $code "invoke")
      (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))
  (component $methods
    (type $response' (record (field "status" u16) (field "payload" (option string))))
    (import "response" (type $response (eq $response')))
    (type $method-error' (variant
      (case "invalid-payload" string) (case "unknown-method") (case "busy" (option u32))
      (case "failed" string) (case "other" string)))
    (import "method-error" (type $method-error (eq $method-error')))
    (import "invoke" (func $invoke (param "name" string) (param "payload" string)
      (result (result $response (error $method-error)))))
    (export $response-out "response" (type $response))
    (export $method-error-out "method-error" (type $method-error))
    (export "invoke" (func $invoke) (func (param "name" string) (param "payload" string)
      (result (result $response-out (error $method-error-out))))))
  (instance $methods (instantiate $methods
    (with "response" (type $response))
    (with "method-error" (type $method-error))
    (with "invoke" (func $invoke))))
  (export "device:behaviour/methods@0.1.2" (instance $methods))

  (type $job-error (variant
    (case "retry" (option u32)) (case "reject" string) (case "other" string)))
  (func $run (param "name" string) (param "payload" string)
      (result (result (error $job-error)))
    (canon lift (core func $code "run")
      (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))
  (component $deferred
    (type $job-error' (variant
      (case "retry" (option u32)) (case "reject" string) (case "other" string)))
    (import "job-error" (type $job-error (eq $job-error')))
    (import "run" (func $run (param "name" string) (param "payload" string)
      (result (result (error $job-error)))))
    (export $job-error-out "job-error" (type $job-error))
    (export "run" (func $run) (func (param "name" string) (param "payload" string)
      (result (result (error $job-error-out))))))
  (instance $deferred (instantiate $deferred
    (with "job-error" (type $job-error)) (with "run" (func $run))))
  (export "device:behaviour/deferred@0.1.2" (instance $deferred))

  (func $changed (param "patch" string) (param "version" u64)
      (result (result (error $job-error)))
    (canon lift (core func $code "changed")
      (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))
  (component $desired
    (type $job-error' (variant
      (case "retry" (option u32)) (case "reject" string) (case "other" string)))
    (import "job-error" (type $job-error (eq $job-error')))
    (import "changed" (func $changed (param "patch" string) (param "version" u64)
      (result (result (error $job-error)))))
    (export $job-error-out "job-error" (type $job-error))
    (export "changed" (func $changed) (func (param "patch" string) (param "version" u64)
      (result (result (error $job-error-out))))))
  (instance $desired (instantiate $desired
    (with "job-error" (type $job-error)) (with "changed" (func $changed))))
  (export "device:behaviour/desired@0.1.2" (instance $desired))

  (func $receive (param "body" (list u8)) (param "properties" (list (tuple string string)))
      (result (result (error $job-error)))
    (canon lift (core func $code "receive")
      (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))
  (component $messages
    (type $job-error' (variant
      (case "retry" (option u32)) (case "reject" string) (case "other" string)))
    (import "job-error" (type $job-error (eq $job-error')))
    (import "receive" (func $receive
      (param "body" (list u8)) (param "properties" (list (tuple string string)))
      (result (result (error $job-error)))))
    (export $job-error-out "job-error" (type $job-error))
    (export "receive" (func $receive) (func
      (param "body" (list u8)) (param "properties" (list (tuple string string)))
      (result (result (error $job-error-out))))))
  (instance $messages (instantiate $messages
    (with "job-error" (type $job-error)) (with "receive" (func $receive))))
  (export "device:behaviour/messages@0.1.2" (instance $messages))

  (func $start (param "previous-version" (option string)) (result (result (error string)))
    (canon lift (core func $code "start")
      (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))
  (func $stop (canon lift (core func $code "stop")))
  (instance $lifecycle (export "start" (func $start)) (export "stop" (func $stop)))
  (export "device:behaviour/lifecycle@0.1.2" (instance $lifecycle)))
