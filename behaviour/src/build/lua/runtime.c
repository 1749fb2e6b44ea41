/* Calls between the host and Lua: conversion of values, modules, errors and refusals. The
   host discards the instance after one call, so no memory is freed. */

#include "runtime.h"

#include <stdlib.h>
#include <string.h>

#include "lualib.h"

/* The metatable of an error of the host. */
#define HOST_ERROR "behaviour.error"

/* The place of a value, for messages: a function, its parameter, and fields of that. */
typedef struct Path {
  const struct Path *owner;
  const char *name;
  uint32_t index;
} Path;

static const char BOOT[] = {
#include "boot.inc"
    , 0};

/* Memory of a list. */
static char *allocated(lua_State *L, size_t size) {
  char *block = calloc(1, size ? size : 1);
  if (block == NULL) luaL_error(L, "not enough memory");
  return block;
}

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align,
                                                                size_t size) {
  (void)old_size;
  if (size == 0) return (void *)align;
  void *block = realloc(old, size);
  if (block == NULL) __builtin_trap();
  return block;
}

static void add_path(luaL_Buffer *text, const Path *at) {
  if (at->owner == NULL) {
    luaL_addchar(text, '`');
    luaL_addstring(text, at->name);
    luaL_addstring(text, "`: ");
    return;
  }
  add_path(text, at->owner);
  if (at->name == NULL) {
    char number[16];
    snprintf(number, sizeof number, "[%u]", (unsigned)at->index);
    luaL_addstring(text, number);
    return;
  }
  if (at->owner->owner != NULL) luaL_addchar(text, '.');
  luaL_addstring(text, at->name);
}

/* Raises an error about the value at `index`: `sleep_ms`: duration is -1, not ... */
static void invalid(lua_State *L, int index, const Path *at, const char *expected) {
  char found[64];
  size_t length;
  const char *text;
  switch (lua_type(L, index)) {
    case LUA_TSTRING:
      text = lua_tolstring(L, index, &length);
      snprintf(found, sizeof found, length > 40 ? "\"%.40s...\"" : "\"%.40s\"", text);
      break;
    case LUA_TNUMBER:
    case LUA_TBOOLEAN:
      text = luaL_tolstring(L, index, NULL);
      snprintf(found, sizeof found, "%s", text);
      lua_pop(L, 1);
      break;
    case LUA_TTABLE:
      snprintf(found, sizeof found, "a table of %u", (unsigned)lua_rawlen(L, index));
      break;
    case LUA_TNIL:
      snprintf(found, sizeof found, "nil");
      break;
    default:
      snprintf(found, sizeof found, "a %s", luaL_typename(L, index));
  }
  luaL_Buffer message;
  luaL_buffinit(L, &message);
  add_path(&message, at);
  luaL_addstring(&message, " is ");
  luaL_addstring(&message, found);
  luaL_addstring(&message, ", not ");
  luaL_addstring(&message, expected);
  luaL_pushresult(&message);
  luaL_where(L, 1);
  lua_insert(L, -2);
  lua_concat(L, 2);
  lua_error(L);
}

/* Returns the length of the UTF-8 character at `text`, or 0 if it is invalid. */
static size_t character(const unsigned char *text, size_t length) {
  unsigned lead = text[0];
  size_t size = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (size < 2) return size;
  /* The range of the second byte excludes overlong forms and surrogates. */
  unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (size > length) return 0;
  for (size_t at = 1; at < size; at++, low = 0x80, high = 0xbf) {
    if (text[at] < low || text[at] > high) return 0;
  }
  return size;
}

/* Stores a string. The host refuses invalid UTF-8, so it becomes U+FFFD. */
static void store_text(lua_State *L, const char *text, size_t length, char *to) {
  size_t wrong = 0;
  for (size_t at = 0; at < length;) {
    size_t size = character((const unsigned char *)text + at, length - at);
    wrong += size == 0;
    at += size ? size : 1;
  }
  if (wrong > 0) {
    char *fixed = allocated(L, length + 2 * wrong), *end = fixed;
    for (size_t at = 0; at < length;) {
      size_t size = character((const unsigned char *)text + at, length - at);
      memcpy(end, size ? text + at : "\xef\xbf\xbd", size ? size : 3);
      end += size ? size : 3;
      at += size ? size : 1;
    }
    text = fixed;
    length = end - fixed;
  }
  ((uint32_t *)to)[0] = (uint32_t)text;
  ((uint32_t *)to)[1] = length;
}

static void store(lua_State *L, int index, const Type *type, char *to, const Path *at);

static void store_integer(lua_State *L, int index, Kind kind, char *to, const Path *at) {
  static const struct {
    int64_t min, max;
    uint32_t size;
  } ranges[] = {
      [U8] = {0, UINT8_MAX, 1},          [U16] = {0, UINT16_MAX, 2},        [U32] = {0, UINT32_MAX, 4},
      [U64] = {0, INT64_MAX, 8},         [S8] = {INT8_MIN, INT8_MAX, 1},    [S16] = {INT16_MIN, INT16_MAX, 2},
      [S32] = {INT32_MIN, INT32_MAX, 4}, [S64] = {INT64_MIN, INT64_MAX, 8},
  };
  int fits = 0;
  lua_Integer value = lua_type(L, index) == LUA_TNUMBER ? lua_tointegerx(L, index, &fits) : 0;
  if (!fits || value < ranges[kind].min || value > ranges[kind].max) {
    char expected[80];
    snprintf(expected, sizeof expected, "an integer from %lld to %lld", (long long)ranges[kind].min,
             (long long)ranges[kind].max);
    invalid(L, index, at, expected);
  }
  memcpy(to, &value, ranges[kind].size);
}

static void expect_table(lua_State *L, int index, const Path *at, const char *expected) {
  if (lua_type(L, index) != LUA_TTABLE) invalid(L, index, at, expected);
}

static void store_names(lua_State *L, int index, const Type *type, char *to, const Path *at) {
  const char *name = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "";
  for (uint32_t i = 0; i < type->count; i++) {
    if (strcmp(name, type->members[i].name) == 0) {
      *(uint8_t *)to = i;
      return;
    }
  }
  luaL_Buffer names;
  luaL_buffinit(L, &names);
  luaL_addstring(&names, "one of ");
  for (uint32_t i = 0; i < type->count; i++) {
    luaL_addstring(&names, i ? ", " : "");
    luaL_addstring(&names, type->members[i].name);
  }
  luaL_pushresult(&names);
  invalid(L, index, at, lua_tostring(L, -1));
}

/* Stores the value at `index`, which has to be absolute. */
static void store(lua_State *L, int index, const Type *type, char *to, const Path *at) {
  luaL_checkstack(L, 8, NULL);
  const char *text;
  size_t length;
  switch (type->kind) {
    case BOOL:
      if (lua_type(L, index) != LUA_TBOOLEAN) invalid(L, index, at, "a boolean");
      *(uint8_t *)to = lua_toboolean(L, index);
      return;
    case F32:
    case F64:
      if (lua_type(L, index) != LUA_TNUMBER) invalid(L, index, at, "a number");
      if (type->kind == F32) *(float *)to = lua_tonumber(L, index);
      else *(double *)to = lua_tonumber(L, index);
      return;
    case CHAR: {
      text = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &length) : NULL;
      const unsigned char *octets = (const unsigned char *)text;
      if (text == NULL || length == 0 || character(octets, length) != length) {
        invalid(L, index, at, "a string of one character");
      }
      uint32_t point = length == 1 ? octets[0] : octets[0] & (0x7f >> length);
      for (size_t i = 1; i < length; i++) point = point << 6 | (octets[i] & 0x3f);
      *(uint32_t *)to = point;
      return;
    }
    case TEXT:
    case BYTES:
      if (lua_type(L, index) != LUA_TSTRING) invalid(L, index, at, "a string");
      text = lua_tolstring(L, index, &length);
      if (type->kind == TEXT) {
        store_text(L, text, length, to);
        return;
      }
      ((uint32_t *)to)[0] = (uint32_t)text;
      ((uint32_t *)to)[1] = length;
      return;
    case LIST: {
      expect_table(L, index, at, "a list");
      const Type *item = type->members[0].type;
      uint32_t count = lua_rawlen(L, index);
      char *block = allocated(L, (size_t)count * item->size);
      for (uint32_t i = 0; i < count; i++) {
        lua_rawgeti(L, index, i + 1);
        store(L, lua_gettop(L), item, block + i * item->size, &(Path){at, NULL, i + 1});
        lua_pop(L, 1);
      }
      ((uint32_t *)to)[0] = (uint32_t)block;
      ((uint32_t *)to)[1] = count;
      return;
    }
    case OPTION:
      *(uint8_t *)to = !lua_isnoneornil(L, index);
      if (*to) store(L, index, type->members[0].type, to + type->payload, at);
      return;
    case TUPLE: {
      char expected[32];
      snprintf(expected, sizeof expected, "a list of %u", (unsigned)type->count);
      expect_table(L, index, at, expected);
      if (lua_rawlen(L, index) != type->count) invalid(L, index, at, expected);
      for (uint32_t i = 0; i < type->count; i++) {
        lua_rawgeti(L, index, i + 1);
        store(L, lua_gettop(L), type->members[i].type, to + type->members[i].offset, &(Path){at, NULL, i + 1});
        lua_pop(L, 1);
      }
      return;
    }
    case RECORD:
      expect_table(L, index, at, "a table");
      for (uint32_t i = 0; i < type->count; i++) {
        const Member *field = &type->members[i];
        lua_getfield(L, index, field->name);
        store(L, lua_gettop(L), field->type, to + field->offset, &(Path){at, field->name, 0});
        lua_pop(L, 1);
      }
      return;
    case VARIANT: {
      expect_table(L, index, at, "a table with a `tag`");
      lua_getfield(L, index, "tag");
      store_names(L, lua_gettop(L), type, to, &(Path){at, "tag", 0});
      const Type *payload = type->members[*(uint8_t *)to].type;
      if (payload != NULL) {
        lua_getfield(L, index, "val");
        store(L, lua_gettop(L), payload, to + type->payload, &(Path){at, "val", 0});
        lua_pop(L, 1);
      }
      lua_pop(L, 1);
      return;
    }
    case ENUM:
      store_names(L, index, type, to, at);
      return;
    default:
      store_integer(L, index, type->kind, to, at);
  }
}

/* Pushes the value at `from`. */
static void load(lua_State *L, const Type *type, const char *from) {
  luaL_checkstack(L, 8, NULL);
  switch (type->kind) {
    case BOOL: lua_pushboolean(L, *(const uint8_t *)from); return;
    case U8: lua_pushinteger(L, *(const uint8_t *)from); return;
    case U16: lua_pushinteger(L, *(const uint16_t *)from); return;
    case U32: lua_pushinteger(L, *(const uint32_t *)from); return;
    case S8: lua_pushinteger(L, *(const int8_t *)from); return;
    case S16: lua_pushinteger(L, *(const int16_t *)from); return;
    case S32: lua_pushinteger(L, *(const int32_t *)from); return;
    case S64: lua_pushinteger(L, *(const int64_t *)from); return;
    case F32: lua_pushnumber(L, *(const float *)from); return;
    case F64: lua_pushnumber(L, *(const double *)from); return;
    case CHAR: lua_pushfstring(L, "%U", (long)*(const uint32_t *)from); return;
    case ENUM: lua_pushstring(L, type->members[*(const uint8_t *)from].name); return;
    case U64: {
      uint64_t value = *(const uint64_t *)from;
      if (value > INT64_MAX) lua_pushnumber(L, (double)value);
      else lua_pushinteger(L, (lua_Integer)value);
      return;
    }
    case TEXT:
    case BYTES:
      lua_pushlstring(L, (const char *)((const uint32_t *)from)[0], ((const uint32_t *)from)[1]);
      return;
    case LIST: {
      const Type *item = type->members[0].type;
      const char *block = (const char *)((const uint32_t *)from)[0];
      uint32_t count = ((const uint32_t *)from)[1];
      lua_createtable(L, count, 0);
      for (uint32_t i = 0; i < count; i++) {
        load(L, item, block + i * item->size);
        lua_rawseti(L, -2, i + 1);
      }
      return;
    }
    case OPTION:
      if (*from) load(L, type->members[0].type, from + type->payload);
      else lua_pushnil(L);
      return;
    case TUPLE:
    case RECORD:
      lua_newtable(L);
      for (uint32_t i = 0; i < type->count; i++) {
        load(L, type->members[i].type, from + type->members[i].offset);
        if (type->kind == TUPLE) lua_rawseti(L, -2, i + 1);
        else lua_setfield(L, -2, type->members[i].name);
      }
      return;
    case VARIANT: {
      const Member *member = &type->members[*(const uint8_t *)from];
      lua_newtable(L);
      lua_pushstring(L, member->name);
      lua_setfield(L, -2, "tag");
      if (member->type == NULL) return;
      load(L, member->type, from + type->payload);
      lua_setfield(L, -2, "val");
      return;
    }
  }
}

void behaviour_arguments(lua_State *L, const char *function, const Type *parameters, char *to) {
  lua_settop(L, parameters->count);
  Path owner = {NULL, function, 0};
  for (uint32_t i = 0; i < parameters->count; i++) {
    const Member *parameter = &parameters->members[i];
    store(L, i + 1, parameter->type, to + parameter->offset, &(Path){&owner, parameter->name, 0});
  }
}

static int is_outcome(const Type *type) {
  return type->kind == VARIANT && type->count == 2 && strcmp(type->members[0].name, "ok") == 0 &&
         strcmp(type->members[1].name, "err") == 0;
}

int behaviour_result(lua_State *L, const char *function, const Type *result, const char *from) {
  if (!is_outcome(result)) {
    load(L, result, from);
    return 1;
  }
  const Type *payload = result->members[*(const uint8_t *)from].type;
  if (*from == 0) {
    if (payload != NULL) load(L, payload, from + result->payload);
    return payload != NULL;
  }
  if (payload == NULL) return luaL_error(L, "`%s` failed", function);
  load(L, payload, from + result->payload);
  if (lua_type(L, -1) == LUA_TTABLE) {
    lua_pushstring(L, function);
    lua_setfield(L, -2, "function");
    luaL_setmetatable(L, HOST_ERROR);
  }
  return lua_error(L);
}

static int describe_error(lua_State *L) {
  lua_getfield(L, 1, "function");
  lua_getfield(L, 1, "tag");
  lua_getfield(L, 1, "val");
  lua_pushfstring(L, "`%s`: %s", luaL_tolstring(L, 2, NULL), luaL_tolstring(L, 3, NULL));
  if (lua_isnil(L, 4)) return 1;
  lua_pushfstring(L, "%s: %s", lua_tostring(L, -1), luaL_tolstring(L, 4, NULL));
  return 1;
}

/* Returns a module of the host, or the text and file of a module of the plugin. */
static int find_module(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  for (const Source *source = behaviour_sources; source->name != NULL; source++) {
    if (strcmp(source->name, name) == 0) {
      lua_pushlstring(L, source->text, source->length);
      lua_pushstring(L, source->file);
      return 2;
    }
  }
  lua_newtable(L);
  int functions = 0;
  for (const Import *import = behaviour_imports; import->module != NULL; import++) {
    if (strcmp(import->module, name) == 0) {
      lua_pushcfunction(L, import->function);
      lua_setfield(L, -2, import->name);
      functions++;
    }
  }
  return functions > 0;
}

static int boot(lua_State *L) {
  static const luaL_Reg libraries[] = {
      {LUA_GNAME, luaopen_base},       {LUA_STRLIBNAME, luaopen_string},   {LUA_TABLIBNAME, luaopen_table},
      {LUA_MATHLIBNAME, luaopen_math}, {LUA_UTF8LIBNAME, luaopen_utf8},    {LUA_COLIBNAME, luaopen_coroutine},
      {LUA_DBLIBNAME, luaopen_debug},  {NULL, NULL},
  };
  for (const luaL_Reg *library = libraries; library->func != NULL; library++) {
    luaL_requiref(L, library->name, library->func, 1);
    lua_pop(L, 1);
  }
  luaL_newmetatable(L, HOST_ERROR);
  lua_pushcfunction(L, describe_error);
  lua_setfield(L, -2, "__tostring");
  if (luaL_loadbufferx(L, BOOT, sizeof BOOT - 1, "=behaviour", "t") != LUA_OK) return lua_error(L);
  lua_pushcfunction(L, find_module);
  lua_call(L, 1, 0);
  return 0;
}

/* Calls the function of the plugin: the arguments are the export, its parameters and the
   place for its result. */
static int call(lua_State *L) {
  const Export *function = lua_touserdata(L, 1);
  const char *from = lua_touserdata(L, 2);
  char *to = lua_touserdata(L, 3);
  lua_getglobal(L, "require");
  lua_pushstring(L, behaviour_sources[0].name);
  lua_call(L, 1, 1);
  int found = lua_type(L, -1) == LUA_TTABLE && lua_getfield(L, -1, function->owner) == LUA_TTABLE &&
              lua_getfield(L, -1, function->name) == LUA_TFUNCTION;
  if (!found) {
    return luaL_error(L, "%s returns no table with a function `%s.%s`", behaviour_sources[0].file, function->owner,
                      function->name);
  }
  for (uint32_t i = 0; i < function->parameters->count; i++) {
    const Member *parameter = &function->parameters->members[i];
    load(L, parameter->type, from + parameter->offset);
  }
  lua_call(L, function->parameters->count, 1);
  const Type *result = function->result;
  if (result == NULL) return 0;
  Path owner = {NULL, function->name, 0};
  if (is_outcome(result)) {
    *to = 0;
    to += result->payload;
    result = result->members[0].type;
  }
  if (result != NULL) store(L, lua_gettop(L), result, to, &(Path){&owner, "answer", 0});
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, "behaviour.answer");
  return 0;
}

/* Stores a refusal: the arguments are the error, its type, the place for it and the name of
   the function. Returns `false` if the error is none. */
static int refuse(lua_State *L) {
  const Type *type = lua_touserdata(L, 2);
  char *to = lua_touserdata(L, 3);
  if (type->kind == VARIANT) {
    /* An error of the host has a metatable. */
    if (lua_type(L, 1) != LUA_TTABLE || lua_getmetatable(L, 1)) return 0;
  } else if (lua_type(L, 1) != LUA_TSTRING) {
    return 0;
  }
  Path owner = {NULL, lua_touserdata(L, 4), 0};
  store(L, 1, type, to, &(Path){&owner, "refusal", 0});
  lua_pushvalue(L, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, "behaviour.answer");
  lua_pushboolean(L, 1);
  return 1;
}

/* Keeps the stack of an error, which is lost after the protected call. */
static int handle(lua_State *L) {
  luaL_traceback(L, L, NULL, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, "behaviour.stack");
  lua_settop(L, 1);
  return 1;
}

/* Writes an unexpected error to the log, and returns its message. */
static int accident(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  lua_getglobal(L, "require");
  lua_pushstring(L, "behaviour.log");
  if (lua_pcall(L, 1, 1, 0) == LUA_OK) {
    lua_getfield(L, -1, "write");
    lua_pushstring(L, "error");
    lua_pushvalue(L, 2);
    lua_createtable(L, 1, 0);
    lua_createtable(L, 2, 0);
    lua_pushstring(L, "stack");
    lua_rawseti(L, -2, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, "behaviour.stack");
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, 1);
    lua_call(L, 3, 0);
  }
  lua_settop(L, 2);
  return 1;
}

char *behaviour_call(const Export *function, const char *from) {
  lua_State *L = luaL_newstate();
  if (L == NULL) __builtin_trap();
  const Type *result = function->result;
  char *to = calloc(1, result ? result->size + 8 : 8);
  if (to == NULL) __builtin_trap();
  lua_pushcfunction(L, handle);
  lua_pushcfunction(L, boot);
  int status = lua_pcall(L, 0, 0, 1);
  if (status == LUA_OK) {
    lua_pushcfunction(L, call);
    lua_pushlightuserdata(L, (void *)function);
    lua_pushlightuserdata(L, (void *)from);
    lua_pushlightuserdata(L, to);
    status = lua_pcall(L, 3, 0, 1);
  }
  if (status == LUA_OK) return to;

  const Type *type = result && is_outcome(result) ? result->members[1].type : NULL;
  if (type != NULL) {
    *to = 1;
    lua_pushcfunction(L, refuse);
    lua_pushvalue(L, -2);
    lua_pushlightuserdata(L, (void *)type);
    lua_pushlightuserdata(L, to + result->payload);
    lua_pushlightuserdata(L, (void *)function->name);
    status = lua_pcall(L, 4, 1, 1);
    if (status == LUA_OK && lua_toboolean(L, -1)) return to;
    /* An invalid refusal is the error; otherwise, the error is below the result. */
    if (status == LUA_OK) lua_pop(L, 1);
  }
  lua_pushcfunction(L, accident);
  lua_insert(L, -2);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK && !lua_isstring(L, -1)) lua_pushstring(L, "unknown error");
  if (type == NULL) __builtin_trap();

  /* The case for accidents is `failed`, or else `other`. */
  char *text = to + result->payload;
  if (type->kind == VARIANT) {
    uint32_t chosen = 0;
    for (uint32_t i = 0; i < type->count; i++) {
      int named = strcmp(type->members[i].name, "failed") == 0 || strcmp(type->members[i].name, "other") == 0;
      if (named && (chosen == 0 || strcmp(type->members[i].name, "failed") == 0)) chosen = i;
    }
    if (type->members[chosen].type == NULL || type->members[chosen].type->kind != TEXT) __builtin_trap();
    *(uint8_t *)text = chosen;
    text += type->payload;
  } else if (type->kind != TEXT) {
    __builtin_trap();
  }
  size_t length;
  const char *why = lua_tolstring(L, -1, &length);
  store_text(L, why, length, text);
  return to;
}
