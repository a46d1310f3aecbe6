// The text of functions.lua, embedded when the build is configured.
#ifndef MERGANSER_COMMON_STORE_REDIS_FUNCTIONS_LUA_H_
#define MERGANSER_COMMON_STORE_REDIS_FUNCTIONS_LUA_H_

namespace merganser {

// Of functions.lua (its VERSION); a server with an older library, or none, is given this one.
inline constexpr int kRedisLibraryVersion = 3;

extern const char kRedisFunctions[];

}  // namespace merganser

#endif  // MERGANSER_COMMON_STORE_REDIS_FUNCTIONS_LUA_H_
