# One line a folder:  module(store SOURCES a.c b.c NEEDS run base [LIBS PkgConfig::X] [DOORS store.h])
# makes the static library objm_store, visible to others only as "store/store.h".
function(module name)
    cmake_parse_arguments(M "" "" "SOURCES;NEEDS;LIBS;DOORS" ${ARGN})
    add_library(objm_${name} STATIC ${M_SOURCES})
    target_include_directories(objm_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
    list(TRANSFORM M_NEEDS PREPEND objm_)
    target_link_libraries(objm_${name} PUBLIC ${M_NEEDS} ${M_LIBS})
    foreach(door IN LISTS M_DOORS)
        list(APPEND doors ${CMAKE_CURRENT_SOURCE_DIR}/${door})
    endforeach()
    if(doors)
        target_sources(objm_${name} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/src FILES ${doors})
        # Compiles each door alone (target all_verify_interface_header_sets).
        set_target_properties(objm_${name} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
    endif()
endfunction()

# unit_test(store alloc_test.c ...): each file is one cmocka program, linked to its module and to
# tests/support, run by ctest.
function(unit_test module)
    foreach(file IN LISTS ARGN)
        get_filename_component(name ${file} NAME_WE)
        set(target unit_${module}_${name})
        add_executable(${target} ${file})
        target_link_libraries(${target} PRIVATE test_support objm_${module} cmocka)
        # cmocka's own headers and macros are not held to our warnings.
        target_compile_options(${target} PRIVATE -Wno-pedantic -Wno-frame-larger-than)
        add_test(NAME unit.${module}.${name} COMMAND ${target})
        set_tests_properties(unit.${module}.${name} PROPERTIES TIMEOUT 120 LABELS unit
            ENVIRONMENT "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp")
    endforeach()
endfunction()

# fuzz_target(h1 h1_fuzz.c http): a libFuzzer program with its kept corpus in fuzz/corpus/<name>.
function(fuzz_target name file module)
    add_executable(fuzz_${name} ${file})
    target_link_libraries(fuzz_${name} PRIVATE objm_${module})
    target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    # The first folder gets what is found; the kept corpus is only read.
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/found/${name})
    add_test(NAME fuzz.${name}
        COMMAND fuzz_${name} -runs=20000 -max_total_time=20 -seed=1 ${CMAKE_BINARY_DIR}/found/${name}
            ${PROJECT_SOURCE_DIR}/fuzz/corpus/${name})
    set_tests_properties(fuzz.${name} PROPERTIES TIMEOUT 120 LABELS fuzz)
endfunction()
