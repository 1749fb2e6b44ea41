;; A whole plugin as text, without any tool: answers every method with 200 and
;; its payload. The inner component gives the types their names, which an
;; exported function must have.
(component
  (core module $code
    (memory (export "memory") 4)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      ;; One place for both texts: the payload comes last and is what is kept.
      (i32.const 1024))
    (func (export "invoke") (param i32 i32 i32 i32) (result i32)
      (i32.store (i32.const 4) (i32.const 200))
      (i32.store (i32.const 8) (i32.const 1))
      (i32.store (i32.const 12) (local.get 2))
      (i32.store (i32.const 16) (local.get 3))
      (i32.const 0)))
  (core instance $code (instantiate $code))

  (type $response (record (field "status" u16) (field "payload" (option string))))
  (type $method-error (variant
    (case "invalid-payload" string) (case "unknown-method") (case "busy" (option u32))
    (case "failed" string) (case "other" string)))
  (func $invoke (param "name" string) (param "payload" string)
      (result (result $response (error $method-error)))
    (canon lift (core func $code "invoke")
      (memory (core memory $code "memory")) (realloc (core func $code "realloc"))))

  (component $named
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
  (instance $methods (instantiate $named
    (with "response" (type $response))
    (with "method-error" (type $method-error))
    (with "invoke" (func $invoke))))
  (export "device:behaviour/methods@0.1.0" (instance $methods)))
