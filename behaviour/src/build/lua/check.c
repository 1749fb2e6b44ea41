/* Reports the first syntax error of each file. */

#include <stdio.h>

#include "lauxlib.h"

int main(int count, char **files) {
  lua_State *L = luaL_newstate();
  if (L == NULL) return 2;
  int failed = 0;
  for (int i = 1; i < count; i++) {
    if (luaL_loadfilex(L, files[i], "t") != LUA_OK) {
      fprintf(stderr, "%s\n", lua_tostring(L, -1));
      failed = 1;
    }
    lua_settop(L, 0);
  }
  return failed;
}
