# builtin.vcl as an array of bytes, so that the daemon needs no file beside it.
file(READ ${CMAKE_CURRENT_SOURCE_DIR}/builtin.vcl text HEX)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/builtin.vcl)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," text "${text}")
file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/builtin_text.c CONTENT
"#include \"vcl/cc.h\"\nconst char vcl__builtin_text[] = {@text@0};\n" @ONLY)
