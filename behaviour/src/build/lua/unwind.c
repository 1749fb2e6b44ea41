/* The two ends of an unwinding: `behaviour_unwind` starts it, and `behaviour_try` ends it. */

#include "config.h"

__asm__(".globaltype __stack_pointer, i32\n");

static int unwinding;

/* Returns, although its callers know it as a function that does not. The check behind the
   call makes the caller return as well. */
void behaviour_unwind(void) {
  unwinding = 1;
}

/* Returns the address that the inserted checks read. */
__attribute__((export_name("behaviour_unwinding"))) int *behaviour_unwinding(void) {
  return &unwinding;
}

/* Calls a function that can throw. The callee may not have restored the stack pointer. */
__attribute__((noinline, export_name("behaviour_try"))) void behaviour_try(behaviour_function function, void *state,
                                                                           void *data) {
  void *stack;
  __asm__ volatile("global.get __stack_pointer\n\tlocal.set %0" : "=r"(stack));
  function(state, data);
  __asm__ volatile("local.get %0\n\tglobal.set __stack_pointer" : : "r"(stack) : "memory");
  unwinding = 0;
}
