# What every file of the project is compiled with.
add_compile_definitions(_GNU_SOURCE)
add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wcast-qual -Wstrict-prototypes
    -Wmissing-prototypes -Wvla -Wundef -Wno-unused-command-line-argument -Werror
    -fno-strict-aliasing)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-Wduplicated-cond -Wlogical-op -Walloca)
endif()
if(NOT CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
    # Readable stacks where speed is not the point.
    add_compile_options(-fno-omit-frame-pointer)
endif()
if(OBJM_SANITIZE)
    add_compile_options(-fsanitize=${OBJM_SANITIZE} -fno-sanitize-recover=all -O1)
    add_link_options(-fsanitize=${OBJM_SANITIZE})
else()
    # Sanitizers put their red zones into frames, so the limit holds where there are none.
    add_compile_options(-Wframe-larger-than=2048)
endif()
if(OBJM_SANITIZE MATCHES "thread" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
    # gcc warns that its sanitizer does not model atomic_thread_fence.
    add_compile_options(-Wno-tsan)
endif()
if(OBJM_FUZZ)
    # Without it the fuzzer would see its own target's branches only, not those of the code under test.
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()
