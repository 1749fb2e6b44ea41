/* The types of the contract, and the functions that the generated `bindings.c` uses. */

#ifndef BEHAVIOUR_RUNTIME_H
#define BEHAVIOUR_RUNTIME_H

#include <stdint.h>

#include "lauxlib.h"
#include "lua.h"

typedef enum {
  BOOL, U8, U16, U32, U64, S8, S16, S32, S64, F32, F64, CHAR,
  TEXT, BYTES, LIST, OPTION, TUPLE, RECORD, VARIANT, ENUM
} Kind;

typedef struct Type Type;

/* A field, case or element of a type. `name` and `type` may be NULL. */
typedef struct {
  const char *name;
  const Type *type;
  uint32_t offset;
} Member;

/* A type with its layout in memory. `payload` is the offset behind the tag. */
struct Type {
  Kind kind;
  uint32_t size, payload, count;
  const Member *members;
};

/* A function of the host, and the module that it belongs to. */
typedef struct {
  const char *module, *name;
  lua_CFunction function;
} Import;

/* A function of the plugin. */
typedef struct {
  const char *owner, *name;
  const Type *parameters, *result;
} Export;

/* A module of the plugin. */
typedef struct {
  const char *name, *file, *text;
  uint32_t length;
} Source;

extern const Import behaviour_imports[];
extern const Source behaviour_sources[];

/* Stores the arguments of a Lua call at `to`, which has to be zeroed. */
void behaviour_arguments(lua_State *L, const char *function, const Type *parameters, char *to);

/* Pushes the result of a function of the host, or raises its error. */
int behaviour_result(lua_State *L, const char *function, const Type *result, const char *from);

/* Calls a function of the plugin with the parameters at `from`, and returns its result. */
char *behaviour_call(const Export *function, const char *from);

#endif
