;; A component of tests/e2e/test_wasm.sh: a command, and functions of scalars and strings.
;; command.wasm is made with:  jco parse command.wat -o command.wasm
(component
  (core module $code
    (memory (export "memory") 1)
    (global $free (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $free)
      (global.set $free (i32.add (global.get $free) (local.get 3))))
    (func (export "succeed") (result i32) (i32.const 0)) ;; ok
    (func $add (export "add") (param i32 i32) (result i32)
      (i32.extend8_s (i32.add (local.get 0) (local.get 1))))
    (func $divide (param f64 i64) (result i64)
      (i64.div_u (i64.trunc_f64_u (local.get 0)) (local.get 1)))
    (func (export "quotient") (param f64 i64) (result i64)
      (i64.add (call $divide (local.get 0) (local.get 1)) (i64.const 0)))
    ;; The text itself, as pointer and length.
    (func (export "echo") (param i32 i32) (result i32)
      (i32.store (i32.const 8) (local.get 0))
      (i32.store (i32.const 12) (local.get 1))
      (i32.const 8)))
  (core instance $i (instantiate $code))
  (alias core export $i "memory" (core memory $memory))
  (alias core export $i "realloc" (core func $realloc))
  (func $run (result (result)) (canon lift (core func $i "succeed")))
  (func (export "add") (param "a" s8) (param "b" s8) (result s8)
    (canon lift (core func $i "add")))
  (func (export "quotient") (param "a" f64) (param "b" u64) (result u64)
    (canon lift (core func $i "quotient")))
  (func (export "echo") (param "text" string) (result string)
    (canon lift (core func $i "echo") (memory $memory) (realloc (core func $realloc))))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command))
)
