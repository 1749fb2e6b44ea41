/* Included before each file of Lua: configures it for a plugin, which has no operating
   system and no `setjmp`. */

#ifndef BEHAVIOUR_CONFIG_H
#define BEHAVIOUR_CONFIG_H

#include <stdio.h>
#include <time.h>

/* Lua defines this before it includes the file, which has macros for it. */
#define LUA_CORE
#include "luaconf.h"

/* The default is a stack of 16 MiB. */
#undef LUAI_MAXSTACK
#define LUAI_MAXSTACK 100000

/* An error of Lua unwinds the stack by returns. The build inserts a check after each
   call, except in `behaviour_try`. See `unwinding.rs`. */
#define luai_jmpbuf int
#define LUAI_TRY(L, c, a) behaviour_try((behaviour_function)(f), L, ud);
#define LUAI_THROW(L, c) behaviour_throw()
typedef void (*behaviour_function)(void *, void *);
void behaviour_try(behaviour_function function, void *state, void *data);
_Noreturn void behaviour_throw(void) __asm__("behaviour_unwind");

/* Otherwise, Lua would use files, signals, the time and random numbers of WASI. */
#define l_signalT int
#define l_randomizePivot() 0u
#define luai_makeseed(L) 1u
#undef lua_getlocaledecpoint
#define lua_getlocaledecpoint() '.'
#define lua_writestring(text, length) ((void)(text), (void)(length))
#define lua_writeline() ((void)0)
#define lua_writestringerror(format, value) ((void)(value))
#define time(at) ((time_t)0)
#define clock() ((clock_t)0)
#undef stdin
#undef getc
#undef feof
#define stdin ((FILE *)0)
#define fopen(name, mode) ((FILE *)0)
#define freopen(name, mode, file) ((FILE *)0)
#define fclose(file) ((void)(file))
#define ferror(file) 0
#define fread(to, size, count, file) ((size_t)0)
#define getc(file) EOF
#define feof(file) 1

#endif
