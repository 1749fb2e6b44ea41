;; The simulated reboot of the tutorial: waits, reports the time and answers. It behaves
;; like guest-reboot, which is written in Rust.
;;
;; This core module is wrapped into a component by `behaviour build`. A string is a
;; pointer and a length. A result that does not fit into one number is written to the
;; address in the last argument. JSON is not parsed; values are found in its text.
(module
  (import "device:behaviour/clock@0.1.2" "now-rfc3339" (func $now (param $text i32)))
  (import "device:behaviour/clock@0.1.2" "sleep-ms" (func $sleep (param $ms i32) (param $returned i32)))
  (import "device:behaviour/config@0.1.2" "entries" (func $entries (param $list i32)))
  (import "device:behaviour/log@0.1.2" "write"
    (func $write (param $level i32) (param $text i32) (param $len i32) (param $fields i32) (param $count i32)))
  (import "device:behaviour/twin@0.1.2" "report-and-wait"
    (func $report (param $patch i32) (param $len i32) (param $timeout i32) (param $returned i32)))

  (memory (export "memory") 2)
  ;; The bytes 0 to 63 are the buffer for results.
  (data (i32.const 64) "rebootDevice")
  (data (i32.const 80) "delaySeconds")
  (data (i32.const 96) "delay_seconds")
  (data (i32.const 112) "property")
  (data (i32.const 120) "report")
  (data (i32.const 128) "rebootTime")
  (data (i32.const 144) "{}")
  (data (i32.const 160) "Rebooting device")
  (data (i32.const 176) "Device rebooted")
  (data (i32.const 192) "Device twins updated with latest rebootTime")
  (data (i32.const 240) "Device twins will be updated when the hub answers again")
  (data (i32.const 304) "{\"Response\": \"This is the response from the device\"}")
  (data (i32.const 368) "delaySeconds: is not a number from 0 to 300")
  (data (i32.const 416) "configuration: delay_seconds: is not a number from 0 to 300")
  (data (i32.const 480) "configuration: property: is not a list of keys separated by dots")
  (data (i32.const 560) "configuration: report: is not a JSON object")
  (data (i32.const 608) "configuration: report: a value conflicts with property")
  (data (i32.const 672) "configuration: unknown key; expected delay_seconds, property or report")
  (data (i32.const 744) "reboot: the host ended the wait early")
  (data (i32.const 784) "reported properties: refused by the host")
  (data (i32.const 832) "\"\":{},")

  ;; Memory is never freed, since an instance lives for one call only.
  (global $free (mut i32) (i32.const 1024))

  ;; The settings delay_seconds, property and report.
  (global $delay (mut f64) (f64.const 20))
  (global $property (mut i32) (i32.const 128))
  (global $property_len (mut i32) (i32.const 10))
  (global $additional (mut i32) (i32.const 144))
  (global $additional_len (mut i32) (i32.const 2))

  ;; The last parsed number.
  (global $number (mut f64) (f64.const 0))

  ;; The patch that is being written.
  (global $patch (mut i32) (i32.const 0))
  (global $patch_len (mut i32) (i32.const 0))

  ;; ---- Memory and strings

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

  (func $same (param $a i32) (param $a_len i32) (param $b i32) (param $b_len i32) (result i32)
    (local $i i32)
    (if (i32.ne (local.get $a_len) (local.get $b_len)) (then (return (i32.const 0))))
    (block $end
      (loop $next
        (br_if $end (i32.eq (local.get $i) (local.get $a_len)))
        (if (i32.ne
              (i32.load8_u (i32.add (local.get $a) (local.get $i)))
              (i32.load8_u (i32.add (local.get $b) (local.get $i))))
          (then (return (i32.const 0))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (i32.const 1))

  ;; Returns the address of the first occurrence of a byte, or the end.
  (func $find (param $at i32) (param $end i32) (param $byte i32) (result i32)
    (block $found
      (loop $next
        (br_if $found (i32.ge_u (local.get $at) (local.get $end)))
        (br_if $found (i32.eq (i32.load8_u (local.get $at)) (local.get $byte)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (local.get $at))

  ;; Returns 1 for the whitespace of JSON: tab, line feed, carriage return and space.
  (func $is_space (param $c i32) (result i32)
    (i32.or
      (i32.or (i32.eq (local.get $c) (i32.const 0x20)) (i32.eq (local.get $c) (i32.const 0x0a)))
      (i32.or (i32.eq (local.get $c) (i32.const 0x0d)) (i32.eq (local.get $c) (i32.const 0x09)))))

  ;; Returns the address of the first byte that is not whitespace, or the end.
  (func $past_space (param $at i32) (param $end i32) (result i32)
    (block $found
      (loop $next
        (br_if $found (i32.ge_u (local.get $at) (local.get $end)))
        (br_if $found (i32.eqz (call $is_space (i32.load8_u (local.get $at)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (local.get $at))

  ;; Returns the address of the trailing whitespace, or the end.
  (func $before_space (param $at i32) (param $end i32) (result i32)
    (block $found
      (loop $next
        (br_if $found (i32.le_u (local.get $end) (local.get $at)))
        (br_if $found (i32.eqz (call $is_space (i32.load8_u (i32.sub (local.get $end) (i32.const 1))))))
        (local.set $end (i32.sub (local.get $end) (i32.const 1)))
        (br $next)))
    (local.get $end))

  ;; ---- JSON

  ;; Returns the end of the string that starts here.
  (func $past_string (param $at i32) (param $end i32) (result i32)
    (block $found
      (loop $next
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $found (i32.ge_u (local.get $at) (local.get $end)))
        (br_if $found (i32.eq (i32.load8_u (local.get $at)) (i32.const 0x22)))
        (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 0x5c))
          (then (local.set $at (i32.add (local.get $at) (i32.const 1)))))
        (br $next)))
    (i32.add (local.get $at) (i32.const 1)))

  ;; Returns the end of a value, which is followed by a comma, a bracket or the end.
  ;; Brackets and braces are not distinguished, since they occur in pairs. They differ by
  ;; 0x20: [ is 5b, { is 7b, ] is 5d and } is 7d.
  (func $past_value (param $at i32) (param $end i32) (result i32)
    (local $c i32)
    (local $depth i32)
    (block $found
      (loop $next
        (br_if $found (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $c (i32.load8_u (local.get $at)))
        (if (i32.eq (local.get $c) (i32.const 0x22))
          (then
            (local.set $at (call $past_string (local.get $at) (local.get $end)))
            (br $next)))
        (if (i32.eq (i32.or (local.get $c) (i32.const 0x20)) (i32.const 0x7b))
          (then (local.set $depth (i32.add (local.get $depth) (i32.const 1)))))
        (if (i32.eq (i32.or (local.get $c) (i32.const 0x20)) (i32.const 0x7d))
          (then
            (br_if $found (i32.eqz (local.get $depth)))
            (local.set $depth (i32.sub (local.get $depth) (i32.const 1)))))
        (br_if $found (i32.and
          (i32.eqz (local.get $depth))
          (i32.eq (local.get $c) (i32.const 0x2c))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (local.get $at))

  ;; Returns 1 if the text is a single object.
  (func $is_object (param $at i32) (param $len i32) (result i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $at) (local.get $len)))
    (local.set $at (call $past_space (local.get $at) (local.get $end)))
    (local.set $end (call $before_space (local.get $at) (local.get $end)))
    (if (i32.lt_u (i32.sub (local.get $end) (local.get $at)) (i32.const 2))
      (then (return (i32.const 0))))
    (i32.and
      (i32.and
        (i32.eq (i32.load8_u (local.get $at)) (i32.const 0x7b))
        (i32.eq (i32.load8_u (i32.sub (local.get $end) (i32.const 1))) (i32.const 0x7d)))
      (i32.eq (call $past_value (local.get $at) (local.get $end)) (local.get $end))))

  ;; Returns the value of a key in an object, or the last value if the key is repeated.
  ;; Returns 0 and 0 if the key is missing. Keys are compared without resolving escapes.
  (func $get (param $at i32) (param $len i32) (param $key i32) (param $key_len i32) (result i32 i32)
    (local $end i32)
    (local $name i32)
    (local $name_end i32)
    (local $found i32)
    (local $found_len i32)
    (local.set $end (i32.add (local.get $at) (local.get $len)))
    (local.set $at (i32.add (call $past_space (local.get $at) (local.get $end)) (i32.const 1)))
    (local.set $end (i32.sub (call $before_space (local.get $at) (local.get $end)) (i32.const 1)))
    (block $done
      (loop $next
        (local.set $name (call $find (local.get $at) (local.get $end) (i32.const 0x22)))
        (br_if $done (i32.ge_u (local.get $name) (local.get $end)))
        (local.set $name_end (call $past_string (local.get $name) (local.get $end)))
        (local.set $name (i32.add (local.get $name) (i32.const 1)))
        (local.set $at (i32.add
          (call $find (local.get $name_end) (local.get $end) (i32.const 0x3a))
          (i32.const 1)))
        (local.set $at (call $past_space (local.get $at) (local.get $end)))
        (if (call $same
              (local.get $name)
              (i32.sub (i32.sub (local.get $name_end) (local.get $name)) (i32.const 1))
              (local.get $key) (local.get $key_len))
          (then
            (local.set $found (local.get $at))
            (local.set $found_len (i32.sub
              (call $before_space
                (local.get $at)
                (call $past_value (local.get $at) (local.get $end)))
              (local.get $at)))))
        (local.set $at (call $past_value (local.get $at) (local.get $end)))
        (br $next)))
    (local.get $found)
    (local.get $found_len))

  ;; Parses digits as an integer into $number. Returns the end of the digits.
  (func $digits (param $at i32) (param $end i32) (result i32)
    (local $c i32)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $c (i32.sub (i32.load8_u (local.get $at)) (i32.const 0x30)))
        (br_if $done (i32.gt_u (local.get $c) (i32.const 9)))
        (global.set $number (f64.add
          (f64.mul (global.get $number) (f64.const 10))
          (f64.convert_i32_u (local.get $c))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (local.get $at))

  ;; Returns 1 if the text is a number of seconds from 0 to 300, and stores it in $number.
  (func $seconds (param $at i32) (param $len i32) (result i32)
    (local $end i32)
    (local $point i32)
    (local $places i32)
    (local $mantissa f64)
    (local $sign i32)
    (local.set $end (i32.add (local.get $at) (local.get $len)))
    (global.set $number (f64.const 0))
    (local.set $point (call $digits (local.get $at) (local.get $end)))
    ;; A valid number starts with a digit, since a number with a sign is negative.
    (if (i32.eq (local.get $point) (local.get $at)) (then (return (i32.const 0))))
    (local.set $at (local.get $point))
    (if (i32.and
          (i32.lt_u (local.get $at) (local.get $end))
          (i32.eq (i32.load8_u (local.get $at)) (i32.const 0x2e)))
      (then
        (local.set $at (call $digits
          (i32.add (local.get $at) (i32.const 1))
          (local.get $end)))
        (local.set $places (i32.sub (i32.sub (local.get $at) (local.get $point)) (i32.const 1)))))
    (if (i32.and
          (i32.lt_u (local.get $at) (local.get $end))
          (i32.eq (i32.or (i32.load8_u (local.get $at)) (i32.const 0x20)) (i32.const 0x65)))
      (then
        (local.set $mantissa (global.get $number))
        (global.set $number (f64.const 0))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $sign (i32.load8_u (local.get $at)))
        (if (i32.or
              (i32.eq (local.get $sign) (i32.const 0x2b))
              (i32.eq (local.get $sign) (i32.const 0x2d)))
          (then (local.set $at (i32.add (local.get $at) (i32.const 1)))))
        (local.set $at (call $digits (local.get $at) (local.get $end)))
        ;; With an exponent above some hundreds, the number is 0 or too large anyway.
        (local.set $places (i32.add
          (local.get $places)
          (i32.mul
            (i32.trunc_sat_f64_u (f64.min (global.get $number) (f64.const 400)))
            (select (i32.const 1) (i32.const -1)
              (i32.eq (local.get $sign) (i32.const 0x2d))))))
        (global.set $number (local.get $mantissa))))
    (if (i32.ne (local.get $at) (local.get $end)) (then (return (i32.const 0))))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $places)))
        (if (i32.gt_s (local.get $places) (i32.const 0))
          (then
            (global.set $number (f64.div (global.get $number) (f64.const 10)))
            (local.set $places (i32.sub (local.get $places) (i32.const 1))))
          (else
            (global.set $number (f64.mul (global.get $number) (f64.const 10)))
            (local.set $places (i32.add (local.get $places) (i32.const 1)))))
        (br $next)))
    (f64.le (global.get $number) (f64.const 300)))

  ;; ---- Settings

  ;; Returns 1 if a string is a list of keys separated by dots.
  (func $is_path (param $at i32) (param $len i32) (result i32)
    (local $end i32)
    (local $dot i32)
    (local $c i32)
    (local.set $end (i32.add (local.get $at) (local.get $len)))
    (loop $key
      (local.set $dot (call $find (local.get $at) (local.get $end) (i32.const 0x2e)))
      (if (i32.eq (local.get $at) (local.get $dot)) (then (return (i32.const 0))))
      (loop $next
        (local.set $c (i32.load8_u (local.get $at)))
        (if (i32.or
              (i32.le_u (local.get $c) (i32.const 0x20))
              (i32.or
                (i32.eq (local.get $c) (i32.const 0x24)) ;; $
                (i32.eq (local.get $c) (i32.const 0x7f))))
          (then (return (i32.const 0))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $at) (local.get $dot))))
      (if (i32.lt_u (local.get $dot) (local.get $end))
        (then
          (local.set $at (i32.add (local.get $dot) (i32.const 1)))
          (br $key))))
    (i32.const 1))

  ;; Stores a setting. Returns an error message, or 0 and 0 if the setting is valid.
  (func $set (param $key i32) (param $key_len i32) (param $at i32) (param $len i32) (result i32 i32)
    (if (call $same (local.get $key) (local.get $key_len) (i32.const 96) (i32.const 13))
      (then
        (if (i32.eqz (call $seconds (local.get $at) (local.get $len)))
          (then (return (i32.const 416) (i32.const 59))))
        (global.set $delay (global.get $number))
        (return (i32.const 0) (i32.const 0))))
    (if (call $same (local.get $key) (local.get $key_len) (i32.const 112) (i32.const 8))
      (then
        (if (i32.eqz (call $is_path (local.get $at) (local.get $len)))
          (then (return (i32.const 480) (i32.const 64))))
        (global.set $property (local.get $at))
        (global.set $property_len (local.get $len))
        (return (i32.const 0) (i32.const 0))))
    (if (call $same (local.get $key) (local.get $key_len) (i32.const 120) (i32.const 6))
      (then
        (if (i32.eqz (call $is_object (local.get $at) (local.get $len)))
          (then (return (i32.const 560) (i32.const 43))))
        (global.set $additional (local.get $at))
        (global.set $additional_len (local.get $len))
        (return (i32.const 0) (i32.const 0))))
    (i32.const 672)
    (i32.const 70))

  ;; Reads all settings. Returns an error message, or 0 and 0 if all are valid.
  (func $settings (result i32 i32)
    (local $pair i32)
    (local $end i32)
    (local $error i32)
    (local $error_len i32)
    (call $entries (i32.const 0))
    (local.set $pair (i32.load (i32.const 0)))
    (local.set $end (i32.add (local.get $pair) (i32.mul (i32.load (i32.const 4)) (i32.const 16))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $pair) (local.get $end)))
        (call $set
          (i32.load (local.get $pair)) (i32.load offset=4 (local.get $pair))
          (i32.load offset=8 (local.get $pair)) (i32.load offset=12 (local.get $pair)))
        (local.set $error_len)
        (local.set $error)
        (if (local.get $error) (then (return (local.get $error) (local.get $error_len))))
        (local.set $pair (i32.add (local.get $pair) (i32.const 16)))
        (br $next)))
    ;; Write a patch with any time, to detect a conflict before the reboot.
    (if (i32.eqz (call $write_patch (i32.const 144) (i32.const 2)))
      (then (return (i32.const 608) (i32.const 54))))
    (i32.const 0)
    (i32.const 0))

  ;; ---- The patch

  (func $add (param $at i32) (param $len i32)
    (memory.copy (i32.add (global.get $patch) (global.get $patch_len)) (local.get $at) (local.get $len))
    (global.set $patch_len (i32.add (global.get $patch_len) (local.get $len))))

  ;; Appends one of the punctuation characters at 832.
  (func $add_character (param $which i32)
    (call $add (i32.add (i32.const 832) (local.get $which)) (i32.const 1)))

  ;; Appends a key. Keys need no escapes, since paths have no such characters.
  (func $add_string (param $at i32) (param $len i32)
    (call $add_character (i32.const 0))
    (call $add (local.get $at) (local.get $len))
    (call $add_character (i32.const 0)))

  ;; Writes a copy of `report` with the time at the path `property`. Returns 0 if
  ;; another value conflicts with this path.
  (func $write_patch (param $time i32) (param $time_len i32) (result i32)
    (local $object i32)
    (local $object_len i32)
    (local $there i32)
    (local $there_len i32)
    (local $key i32)
    (local $dot i32)
    (local $end i32)
    (local $inside i32)
    (local $additional_end i32)
    (local $opened i32)
    ;; A key of one byte and its dot become six bytes: "k":{ and }.
    (global.set $patch (call $allocate (i32.add
      (i32.add (global.get $additional_len) (local.get $time_len))
      (i32.add (i32.mul (global.get $property_len) (i32.const 4)) (i32.const 16)))))
    (global.set $patch_len (i32.const 0))
    (local.set $additional_end (i32.add (global.get $additional) (global.get $additional_len)))

    ;; Find the innermost object of the report that the path leads to.
    (local.set $object (global.get $additional))
    (local.set $object_len (global.get $additional_len))
    (local.set $key (global.get $property))
    (local.set $end (i32.add (local.get $key) (global.get $property_len)))
    (block $no_further
      (loop $next
        (local.set $dot (call $find (local.get $key) (local.get $end) (i32.const 0x2e)))
        (call $get
          (local.get $object) (local.get $object_len)
          (local.get $key) (i32.sub (local.get $dot) (local.get $key)))
        (local.set $there_len)
        (local.set $there)
        (br_if $no_further (i32.eqz (local.get $there)))
        (if (i32.eq (local.get $dot) (local.get $end)) (then (return (i32.const 0))))
        (if (i32.eqz (call $is_object (local.get $there) (local.get $there_len)))
          (then (return (i32.const 0))))
        (local.set $object (local.get $there))
        (local.set $object_len (local.get $there_len))
        (local.set $key (i32.add (local.get $dot) (i32.const 1)))
        (br $next)))

    ;; Insert the remaining keys as the first member of that object.
    (local.set $inside (i32.add
      (call $find (local.get $object) (local.get $additional_end) (i32.const 0x7b))
      (i32.const 1)))
    (call $add (global.get $additional) (i32.sub (local.get $inside) (global.get $additional)))
    (block $last
      (loop $next
        (call $add_string (local.get $key) (i32.sub (local.get $dot) (local.get $key)))
        (call $add_character (i32.const 2)) ;; :
        (br_if $last (i32.eq (local.get $dot) (local.get $end)))
        (call $add_character (i32.const 3)) ;; {
        (local.set $opened (i32.add (local.get $opened) (i32.const 1)))
        (local.set $key (i32.add (local.get $dot) (i32.const 1)))
        (local.set $dot (call $find (local.get $key) (local.get $end) (i32.const 0x2e)))
        (br $next)))
    (call $add_string (local.get $time) (local.get $time_len))
    (block $closed
      (loop $next
        (br_if $closed (i32.eqz (local.get $opened)))
        (call $add_character (i32.const 4)) ;; }
        (local.set $opened (i32.sub (local.get $opened) (i32.const 1)))
        (br $next)))
    (if (i32.ne
          (i32.load8_u (call $past_space (local.get $inside) (local.get $additional_end)))
          (i32.const 0x7d))
      (then (call $add_character (i32.const 5)))) ;; ,
    (call $add (local.get $inside) (i32.sub (local.get $additional_end) (local.get $inside)))
    (i32.const 1))

  ;; ---- The method

  (func $log (param $text i32) (param $len i32)
    (call $write (i32.const 2) (local.get $text) (local.get $len) (i32.const 0) (i32.const 0)))

  ;; Returns a refusal with a case: 0 invalid-payload, 1 unknown-method, 3 failed.
  (func $refused (param $tag i32) (param $text i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 0) (i32.const 1))
    (i32.store8 (i32.const 4) (local.get $tag))
    (i32.store (i32.const 8) (local.get $text))
    (i32.store (i32.const 12) (local.get $len))
    (i32.const 0))

  ;; Reads the delay in the payload, if any. Returns 0 if it is invalid. Payloads that are
  ;; not objects have no delay.
  (func $take_delay (param $payload i32) (param $len i32) (result i32)
    (local $requested i32)
    (local $requested_len i32)
    (if (i32.eqz (call $is_object (local.get $payload) (local.get $len)))
      (then (return (i32.const 1))))
    (call $get (local.get $payload) (local.get $len) (i32.const 80) (i32.const 12))
    (local.set $requested_len)
    (local.set $requested)
    (if (i32.eqz (local.get $requested)) (then (return (i32.const 1))))
    (if (i32.eqz (call $seconds (local.get $requested) (local.get $requested_len)))
      (then (return (i32.const 0))))
    (global.set $delay (global.get $number))
    (i32.const 1))

  ;; Reports the patch, and logs the result. Returns 0 if the patch was refused.
  (func $report_time (result i32)
    (local $reason i32)
    (call $report (global.get $patch) (global.get $patch_len) (i32.const 5000) (i32.const 0))
    (if (i32.eqz (i32.load8_u (i32.const 0)))
      (then
        (call $log (i32.const 192) (i32.const 43))
        (return (i32.const 1))))
    (local.set $reason (i32.load8_u (i32.const 8)))
    ;; For 4 (offline) and 5 (timeout), the host keeps the report.
    (if (i32.eq (i32.and (local.get $reason) (i32.const 0xfe)) (i32.const 4))
      (then
        (call $log (i32.const 240) (i32.const 55))
        (return (i32.const 1))))
    (i32.const 0))

  (func (export "device:behaviour/methods@0.1.2#invoke")
    (param $name i32) (param $name_len i32) (param $payload i32) (param $len i32) (result i32)
    (local $error i32)
    (local $error_len i32)
    (if (i32.eqz (call $same (local.get $name) (local.get $name_len) (i32.const 64) (i32.const 12)))
      (then (return (call $refused (i32.const 1) (i32.const 0) (i32.const 0)))))
    (call $settings)
    (local.set $error_len)
    (local.set $error)
    (if (local.get $error)
      (then (return (call $refused (i32.const 3) (local.get $error) (local.get $error_len)))))
    (if (i32.eqz (call $take_delay (local.get $payload) (local.get $len)))
      (then (return (call $refused (i32.const 0) (i32.const 368) (i32.const 43)))))

    (call $log (i32.const 160) (i32.const 16))
    (call $sleep
      (i32.trunc_f64_u (f64.mul (global.get $delay) (f64.const 1000)))
      (i32.const 0))
    (if (i32.load8_u (i32.const 0))
      (then (return (call $refused (i32.const 3) (i32.const 744) (i32.const 37)))))
    (call $log (i32.const 176) (i32.const 15))

    (call $now (i32.const 0))
    (drop (call $write_patch (i32.load (i32.const 0)) (i32.load (i32.const 4))))
    (if (i32.eqz (call $report_time))
      (then (return (call $refused (i32.const 3) (i32.const 784) (i32.const 40)))))

    (i32.store8 (i32.const 0) (i32.const 0))
    (i32.store16 (i32.const 4) (i32.const 200))
    (i32.store8 (i32.const 8) (i32.const 1)) ;; with a payload
    (i32.store (i32.const 12) (i32.const 304))
    (i32.store (i32.const 16) (i32.const 52))
    (i32.const 0)))
