/* For functions of an addon that JavaScript calls. Define ADDON, its name in errors, first. */
#include <stdbool.h>

#include <node_api.h>

/* Returns from the function with an exception where a call of Node-API failed. */
#define CHECK(env, call)                                                   \
  do {                                                                     \
    if ((call) != napi_ok) {                                               \
      bool pending_ = false;                                               \
      napi_is_exception_pending(env, &pending_);                           \
      if (!pending_) napi_throw_error(env, NULL, ADDON ": " #call);        \
      return NULL;                                                         \
    }                                                                      \
  } while (0)
